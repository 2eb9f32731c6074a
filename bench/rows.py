"""The yardstick on disk: the rows of sealed entries, put straight into the same tables."""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ledger.entry import entry_hash
from ledger.store.sqlite import SqliteStore
from ledger.store.transaction import postings

SINGLE_COMMITS = 200


class Rows(NamedTuple):
    """What one commit writes: rows of entries, refs and terms, in the order of their keys."""

    entries: list[tuple[Any, ...]]
    refs: list[tuple[Any, ...]]
    terms: list[tuple[Any, ...]]


def rows_of(first: int, entries: Sequence[bytes]) -> Rows:
    """The rows of `entries`, the first of which has the index `first`."""
    rows = Rows([], [], [])
    for index, data in enumerate(entries, first):
        entry = json.loads(data)
        rows.entries.append((index, data, entry_hash(data)))
        rows.refs.append((entry["platform"], entry["statement"]["ref"], index))
    terms = [
        (*term, first, json.dumps(indexes)) for term, indexes in postings(first, entries).items()
    ]
    return Rows(rows.entries, sorted(rows.refs), sorted(terms))


class RawTables:
    """A database with the ledger's tables and settings, and nothing of its software."""

    def __init__(self, path: Path) -> None:
        SqliteStore.create(path).close()
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        self._connection.close()

    def insert(self, commits: Sequence[Rows]) -> float:
        """Entries a second, each of `commits` being one transaction."""
        start = time.perf_counter()
        for rows in commits:
            self._commit(rows)
        return sum(len(rows.entries) for rows in commits) / (time.perf_counter() - start)

    def single_commit_ms(self, start: int, entries: Sequence[bytes]) -> float:
        """How long the commit of one entry takes, the median of them."""
        waits = []
        for index, data in enumerate(entries, start):
            rows = rows_of(index, [data])._replace(terms=[])  # these follow in bulk
            begin = time.perf_counter()
            self._commit(rows)
            waits.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(waits)

    def _commit(self, rows: Rows) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows.entries)
        self._connection.executemany("INSERT INTO refs VALUES (?, ?, ?)", rows.refs)
        self._connection.executemany("INSERT INTO terms VALUES (?, ?, ?, ?)", rows.terms)
        self._connection.execute("COMMIT")
