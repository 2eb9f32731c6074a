"""Disclosures in the database: texts beside the log, until they are erased.

They do not follow from the log, which holds their digests only, so `rebuild` leaves them alone.
Every connection that writes overwrites what it deletes (`make_durable`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from ledger.errors import Unavailable


class Erasure(NamedTuple):
    """That the disclosure of entry `index` was erased, for good."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here
    erased_at: str
    reason: str


class Beside(NamedTuple):
    """What the database keeps beside an entry; whether it is what was sealed is not asked."""

    disclosure: str | None
    erasure: Erasure | None


# As bytes: what was written past us may be no UTF-8, which only concerns who asks for it.
_TEXT = 'SELECT CAST(disclosure AS BLOB) FROM disclosures WHERE "index" = ?'
_ERASURE = 'SELECT CAST(erased_at AS BLOB), CAST(reason AS BLOB) FROM erasures WHERE "index" = ?'


def beside(row: Callable[[str, int], tuple[bytes, ...] | None], index: int) -> Beside:
    """What stands beside an entry. row: the first that a statement of SQL finds for an index."""
    text, erased = row(_TEXT, index), row(_ERASURE, index)
    return Beside(
        text[0].decode(errors="replace") if text else None,
        Erasure(index, *(value.decode(errors="replace") for value in erased)) if erased else None,
    )


def erase(connection: sqlite3.Connection, erasure: Erasure) -> None:
    """Delete a disclosure and say so, in the transaction that is open."""
    others = 'SELECT "index", disclosure FROM disclosures WHERE "index" <> ? ORDER BY 1'
    kept = connection.execute(others, (erasure.index,)).fetchall()
    # All go, and the others come again: where rows were moved from page to page, SQLite may have
    # left pieces of them, which only goes when the whole page does.
    connection.execute("DELETE FROM disclosures")
    connection.executemany("INSERT INTO disclosures VALUES (?, ?)", kept)
    connection.execute("INSERT OR REPLACE INTO erasures VALUES (?, ?, ?)", erasure)


def forget(connection: sqlite3.Connection) -> None:
    """Bring what was committed to the database itself and empty the write-ahead log, which
    still holds what it was before. Raises Unavailable when somebody is reading there."""
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise Unavailable(
            "the text is erased, but the write-ahead log still holds it while somebody reads in "
            "the database; run the same command again, or stop the service first"
        )
