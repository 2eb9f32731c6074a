"""Everything that follows from the log, made anew from its entries.

`derive` folds the entries again and writes what they lead to through the same `Transaction`
that a post is written by, so there is one way from entries to tables. `rebuild` does it in
place; `Comparison` does it in a scratch database and holds the two against each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from ledger.books import Books
from ledger.chain import Linked, Tip, verify
from ledger.entry import INTEGER_MAX, entry_hash
from ledger.errors import LogMismatch, SetupError
from ledger.rules import check_form, content_of, post_again, read_entry
from ledger.scratch import LeafFile
from ledger.store.transaction import Head, NewEntry, Recall, Transaction
from ledger.store.views import VIEW_TABLES
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Frontier

# All tables but `entries`, which they follow from, and those that are not of the log: `keys`,
# `disclosures` and `erasures`.
_OF_THE_BOOKS = tuple(
    "tiles head refs terms parties key_owners programmes funds undone acknowledged holes "
    "stocks".split()
)
DERIVED = (*_OF_THE_BOOKS, *VIEW_TABLES)
CHUNK = 1_024  # entries folded at once: whole tiles, so that no leaf hash is asked of the table
# Inserts go all over the trees of refs and terms, which would come and go from the disk.
CACHE_KIB = 65_536

Progress = Callable[[int, int], None]  # (entries done, entries in all)


def rebuild(tx: Transaction, checkpoint: Checkpoint, note: bytes, progress: Progress) -> None:
    """Make every derived table anew from the entries that `note` covers; commits.

    checkpoint: what `note`, the newest one stored, says. Raises LogMismatch and changes
    nothing when the entries are not those it covers.
    """
    tx.widen_cache(CACHE_KIB)
    tx.empty(DERIVED)
    for start in range(0, checkpoint.size, CHUNK):
        entries = tx.entries(start, start + CHUNK)
        tx.mend_leaf_hashes((i, entry_hash(data)) for i, data in enumerate(entries, start))
    derive(tx, checkpoint, note, progress, checkpoint.size)
    tx.commit()


def derive(
    tx: Transaction, checkpoint: Checkpoint, note: bytes, progress: Progress, viewed: int
) -> None:
    """Fill the derived tables, which are empty, from the entries that `note` covers.

    viewed: how many of them the views are to hold. Raises LogMismatch when the entries are not
    those it covers.
    """
    tip = Tip(Frontier())
    with closing(LeafFile()) as leaves:
        while tip.size < checkpoint.size:
            # What a transaction looked up it keeps, and the chunk before has written over it.
            tx = tx.anew(leaves.root_at)
            _derive_chunk(tx, tip, min(tip.size + CHUNK, checkpoint.size), note, leaves)
            views = tx.views()
            views.save(views.fold(min(tip.size, viewed)))
            progress(tip.size, checkpoint.size)
    if tip.root != checkpoint.root:
        raise LogMismatch(None, "root of all entries", checkpoint.root.hex(), tip.root.hex())
    if tx.entries(tip.size, tip.size + CHUNK):
        raise LogMismatch(tip.size, "entry", "none beyond the signed checkpoint", "one or more")


def _derive_chunk(tx: Transaction, tip: Tip, end: int, note: bytes, leaves: LeafFile) -> None:
    """Fold the entries from `tip`, which moves on, up to `end`. leaves: those before `tip`."""
    start = tip.size
    books = Books(tx, tx.currencies)
    sealed = []
    for data in tx.entries(start, end):
        sealed.append(_fold(books, tip, data))
        leaves.add(sealed[-1].linked.leaf_hash)
    if tip.size < end:
        raise LogMismatch(tip.size, "entry", "one in its place", "none")
    try:
        tx.follow(Head(tip, note, start), sealed)
    except sqlite3.IntegrityError as error:
        raise LogMismatch(start, "refs from here on", "each used once", str(error)) from error
    tx.save_books(books)
    tx.index_terms()


def _fold(books: Books, tip: Tip, data: bytes) -> NewEntry:
    """The entry that follows `tip`, which moves on, as the writer had it when it was sealed."""
    index = tip.size
    entry = read_entry(index, data)
    content = content_of(entry)
    check_form(index, content, data, books.currencies)
    post_again(books, index, content)
    linked = Linked(index, data, verify(tip, entry, data))
    return NewEntry(linked, entry.platform, entry.statement)


class Comparison:
    """A ledger's derived tables beside what its log says, at one moment, in bounded memory.

    What the log says is made in a scratch database of SQLite's own, which vanishes with it.
    The ledger is only read, in one read transaction.
    """

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect("", uri=True, isolation_level=None)
        try:
            self._begin(database)
        except BaseException:
            self.close()
            raise

    def _begin(self, database: Path) -> None:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        self._run("ATTACH ? AS log", uri)
        self._run("PRAGMA main.journal_mode = OFF")
        self._run(f"PRAGMA main.cache_size = -{CACHE_KIB}")
        self._run("BEGIN")
        for table in DERIVED:
            row = self._run("SELECT sql FROM log.sqlite_master WHERE name = ?", table).fetchone()
            if row is None:
                raise SetupError(f"{database} has no table {table!r}")
            self._run(*row)

    def close(self) -> None:
        self._connection.close()

    def _run(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)

    def note(self) -> bytes:
        """The newest signed checkpoint; b"" when there is none."""
        row = self._run("SELECT checkpoint FROM log.head").fetchone()
        return bytes(row[0]) if row else b""

    def derive(self, checkpoint: Checkpoint, note: bytes, progress: Progress) -> None:
        """Fold the log, of which `note` says `checkpoint`. Raises LogMismatch."""
        # There is no other table `entries` here, so the name means the ledger's.
        row = self._run("SELECT size FROM log.viewed").fetchone()
        viewed = row[0] if row else 0  # how far they follow is the writer's choice
        derive(Transaction(self._connection, Recall()), checkpoint, note, progress, viewed)

    def leaf_hashes(self) -> str | None:
        """The first entry that has not its own hash beside it; None when all have."""
        sql = 'SELECT "index", bytes, leaf_hash FROM log.entries ORDER BY "index"'
        for index, data, stored in self._run(sql):
            if entry_hash(data) != stored:
                return f"entry {index} has the leaf hash {_shown(stored)} beside it"
        return None

    def table(self, name: str) -> str | None:
        """The first difference in a derived table, for people; None when there is none."""
        if name == "terms":
            return self._terms()
        info = self._run(f"PRAGMA main.table_info({name})").fetchall()
        keys = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        columns = [row[1] for row in info if row[1] != "checkpoint"]  # that is signed, not derived
        columns.sort(key=lambda column: column not in keys)
        # How far the terms reach is the writer's choice, as long as it is not beyond the log.
        values = _names(columns).replace('"indexed"', "max(indexed, size)")
        query = f"SELECT {values} FROM {{}}.{name} ORDER BY {_names(keys)}"  # noqa: S608 - names of our own tables
        wanted, found = self._run(query.format("main")), self._run(query.format("log"))
        return _first_difference(wanted, found, columns, len(keys))

    def _terms(self) -> str | None:
        """`table` for the terms, which the writer puts into runs of lengths of its own."""
        query = "SELECT t.kind, t.id, value FROM {}.terms AS t, json_each(t.indexes)"
        reach = " WHERE value < (SELECT indexed FROM log.head)"  # which is the writer's choice
        order = " ORDER BY 1, 2, 3"
        try:
            wanted = self._run(query.format("main") + reach + order)
            found = self._run(query.format("log") + order)
            difference = _first_difference(wanted, found, ["kind", "id", "index"], 3)
            return difference or self._first_stray_run()
        except sqlite3.OperationalError as error:
            return f"the indexes of a run cannot be read: {error}"

    def _first_stray_run(self) -> str | None:
        """The first run that holds an index before its own beginning or behind the next one's."""
        starts = [row[0] for row in self._run("SELECT DISTINCT run FROM log.terms ORDER BY 1")]
        ends = dict(pairwise([*starts, INTEGER_MAX]))
        query = (
            "SELECT kind, t.id, run, min(value), max(value) FROM log.terms AS t, "
            "json_each(t.indexes) GROUP BY kind, t.id, run"
        )
        for kind, item_id, run, first, last in self._run(query):
            if first < run or last >= ends[run]:
                return f"kind {kind}, id {item_id}, run {run} holds the indexes {first} to {last}"
        return None


def _first_difference(
    wanted: Iterable[Any], found: Iterable[Any], columns: list[str], key_length: int
) -> str | None:
    """Both are rows in the order of their keys, which are their first `key_length` columns."""
    for want, have in zip_longest(wanted, found):
        if want == have:
            continue
        if have is None or (want is not None and want[:key_length] < have[:key_length]):
            return f"no row {_row(columns, want)}"
        if want is None or have[:key_length] < want[:key_length]:
            return f"a row that nothing led to: {_row(columns, have)}"
        return f"{_row(columns, have)} should be {_row(columns, want)}"
    return None


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _row(columns: Iterable[str], values: Iterable[Any]) -> str:
    return ", ".join(f"{c} {_shown(v)}" for c, v in zip(columns, values, strict=True))


def _shown(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
