"""Rows on disk for exports that must know what comes later, so that memory stays bounded."""

from __future__ import annotations

import sqlite3


class Scratch:
    """An unnamed SQLite database that vanishes with the export."""

    def __init__(self, *tables: str) -> None:
        """tables: what follows CREATE TABLE for each."""
        self._connection = sqlite3.connect("", isolation_level=None)
        # Nothing here outlives a crash, so nothing is worth the waiting.
        self._connection.execute("PRAGMA journal_mode = OFF")
        for table in tables:
            self._connection.execute(f"CREATE TABLE {table}")
        self.execute = self._connection.execute

    def close(self) -> None:
        self._connection.close()
