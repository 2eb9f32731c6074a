"""What the checks look at, and what they say."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ledger.audit import Progress
from ledger.errors import NotFound
from ledger.rules import genesis_key
from ledger.store.files import Paths
from ledger.store.rebuild import Comparison
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import VerifierKey

FINE, NOTED, WRONG, SKIPPED = "ok", "note", "wrong", "skipped"


class Verdict(NamedTuple):
    """What a check found. repair: what to do, when something is wrong."""

    status: str
    detail: str
    repair: str = ""


class Finding(NamedTuple):
    """The line of one check."""

    name: str
    status: str
    detail: str
    repair: str


def fine(detail: str) -> Verdict:
    return Verdict(FINE, detail)


def noted(detail: str, repair: str) -> Verdict:
    """Worth knowing, and nothing that is wrong with this ledger."""
    return Verdict(NOTED, detail, repair)


def wrong(detail: str, repair: str) -> Verdict:
    return Verdict(WRONG, detail, repair)


class Case:
    """One ledger, looked at. url: where it is served, if that was said."""

    def __init__(
        self,
        database: Path,
        environment: Mapping[str, str],
        url: str | None = None,
        progress: Progress = lambda done, size: None,
    ) -> None:
        self.paths = Paths.of(database)
        self.environment, self.url, self.progress = environment, url, progress
        self.checkpoint: Checkpoint | None = None  # the newest one, once its signature is checked
        self._connection: sqlite3.Connection | None = None
        self._comparison: Comparison | None = None

    def close(self) -> None:
        for opened in (self._connection, self._comparison):
            if opened is not None:
                opened.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, to be read only."""
        if self._connection is None:
            uri = f"{self.paths.database.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        return self._connection

    @property
    def comparison(self) -> Comparison:
        if self._comparison is None:
            self._comparison = Comparison(self.paths.database)
        return self._comparison

    def genesis_key(self) -> VerifierKey:
        """Raises LogMismatch."""
        return genesis_key(lambda: self.value('SELECT bytes FROM entries WHERE "index" = 0')[0])

    def value(self, sql: str) -> tuple[Any, ...]:
        """The first row that `sql` finds in the database. Raises NotFound."""
        row: tuple[Any, ...] | None = self.connection.execute(sql).fetchone()
        if row is None:
            raise NotFound(f"the database answers nothing to: {sql}")
        return row


Check = Callable[[Case], Verdict]
