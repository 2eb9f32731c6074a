"""One write transaction: the state the books ask of, and the rows a batch of entries makes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ledger.books import Books, Fund, Movement, Position, Registration, fund_of, movement_of
from ledger.chain import Linked, Tip
from ledger.entry import NO_PREV
from ledger.spans import Span
from ledger.tlog.merkle import HASH_SIZE, Frontier
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile
from schemas.check import mentions


class NewEntry(NamedTuple):
    """An entry as it is sealed, with what it was made of."""

    linked: Linked
    platform: str
    statement: dict[str, Any]
    totals: list[dict[str, Any]]

    def terms(self) -> set[tuple[str, str]]:
        """(kind, id) of everything the filters find this entry by."""
        terms = mentions(self.statement)
        terms.update(("fund", total["fund"]) for total in self.totals)
        terms.add(("type", self.statement["type"]))
        terms.add(("platform", self.platform))
        return terms


class Transaction:
    """What a writer sees and does while it holds the write lock. Satisfies `books.State`.

    What it looks up it keeps, since nobody else can change it before the lock is let go.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: dict[tuple[str, str], Any] = {}
        self._currencies: dict[str, int] | None = None

    def _row(self, sql: str, *parameters: Any) -> Any:
        return self._connection.execute(sql, parameters).fetchone()

    # -- the log

    def tip(self) -> Tip:
        row = self._row("SELECT size, prev, recorded_at, frontier FROM head")
        if row is None:
            return Tip(Frontier(), NO_PREV, "")
        size, prev, recorded_at, packed = row
        hashes = [packed[i : i + HASH_SIZE] for i in range(0, len(packed), HASH_SIZE)]
        return Tip(Frontier(size, hashes), prev, recorded_at)

    def tile(self, tile: Tile) -> bytes:
        sql = 'SELECT hashes FROM tiles WHERE level = ? AND "index" = ?'
        row = self._row(sql, tile.level, tile.index)
        return bytes(row[0][: tile.width * HASH_SIZE]) if row else b""

    def indexes_of_refs(self, platform: str, refs: Sequence[str]) -> dict[str, int]:
        """ref -> index, of those refs that the platform has used before."""
        # CROSS, or the planner walks all refs of the platform to look them up in the array.
        sql = (
            'SELECT ref, "index" FROM json_each(?) CROSS JOIN refs ON platform = ? AND ref = value'
        )
        return dict(self._connection.execute(sql, (json.dumps(refs), platform)).fetchall())

    def entry_bytes(self, index: int) -> bytes | None:
        """The bytes of a committed entry; None for one that this transaction is yet to write."""
        row = self._row('SELECT bytes FROM entries WHERE "index" = ?', index)
        return bytes(row[0]) if row else None

    def _entry(self, index: int) -> Any:
        data = self.entry_bytes(index)
        return json.loads(data) if data else None

    # -- books.State

    @property
    def currencies(self) -> dict[str, int]:
        """This ledger's currency table: ISO code -> exponent; empty before the genesis."""
        if self._currencies is None:
            has_genesis = self._row("SELECT 1 FROM head") is not None
            self._currencies = self._entry(0)["statement"]["currencies"] if has_genesis else {}
        return self._currencies

    def party(self, party_id: str) -> Registration | None:
        return self._registration("parties", party_id)

    def programme(self, programme_id: str) -> Registration | None:
        return self._registration("programmes", programme_id)

    def _registration(self, table: str, item_id: str) -> Registration | None:
        key = (table, item_id)
        if key not in self._seen:
            row = self._row(f'SELECT "index", platform FROM {table} WHERE id = ?', item_id)  # noqa: S608 - a fixed word
            self._seen[key] = Registration(*row) if row else None
        found: Registration | None = self._seen[key]
        return found

    def fund(self, fund_id: str) -> Fund | None:
        return self._fund(fund_id)[0]

    def position(self, fund_id: str) -> Position | None:
        return self._fund(fund_id)[1]

    def _fund(self, fund_id: str) -> tuple[Fund | None, Position | None]:
        key = ("funds", fund_id)
        if key not in self._seen:
            row = self._row(
                'SELECT "index", platform, n, last, cursor_minor, counters_minor FROM funds '
                "WHERE id = ?",
                fund_id,
            )
            self._seen[key] = self._read_fund(row) if row else (None, None)
        found: tuple[Fund | None, Position | None] = self._seen[key]
        return found

    def _read_fund(self, row: Any) -> tuple[Fund, Position]:
        index, platform, n, last, cursor, counters = row
        fund = fund_of(index, platform, self._entry(index)["statement"])
        return fund, Position(n, last, cursor, json.loads(counters))

    def movement(self, index: int) -> Movement | None:
        entry = self._entry(index)
        if entry is None:
            return None
        movement = movement_of(entry["statement"], entry.get("totals", []), self.currencies)
        undone = self._row(
            "SELECT amount_minor, platform_fees_minor, payment_fees_minor FROM undone "
            "WHERE target = ?",
            index,
        )
        if movement is None or undone is None:
            return movement
        amount, platform_fees, payment_fees = undone
        return movement._replace(
            undone=amount, platform_fees_undone=platform_fees, payment_fees_undone=payment_fees
        )

    def holes(self, fund_id: str, start: int) -> Iterable[Span]:
        # A cursor, not a list: whoever asks stops as soon as the amount is found.
        return self._connection.execute(
            "SELECT from_minor, to_minor FROM holes WHERE fund = ? AND to_minor > ? "
            "ORDER BY to_minor",
            (fund_id, start),
        )

    # -- writing

    def append(self, tip: Tip, sealed: Sequence[NewEntry]) -> None:
        """Store sealed entries and move the head to `tip`."""
        linked = [entry.linked for entry in sealed]
        entries = [(entry.index, entry.entry_bytes) for entry in linked]
        self._many("INSERT INTO entries VALUES (?, ?)", entries)
        # In the order of their keys, so that neighbours find the page still at hand.
        refs = sorted((e.platform, e.statement["ref"], e.linked.index) for e in sealed)
        self._many("INSERT INTO refs VALUES (?, ?, ?)", refs)
        terms = sorted((*term, e.linked.index) for e in sealed for term in e.terms())
        self._many("INSERT INTO terms VALUES (?, ?, ?)", terms)
        self._append_hashes(linked)
        packed = b"".join(tip.frontier.hashes)
        self._connection.execute(
            "INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?)",
            (tip.size, tip.root, tip.prev, tip.recorded_at, packed),
        )

    def _append_hashes(self, linked: Sequence[Linked]) -> None:
        """Add each completed subtree of height 0, 8, 16, ... to the last tile of its level."""
        levels = -(-max(len(entry.completed) for entry in linked) // TILE_HEIGHT)
        for level in range(levels):
            height = level * TILE_HEIGHT
            hashes = [e.completed[height] for e in linked if len(e.completed) > height]
            first = linked[0].index >> height  # how many this level had before
            tile_index, width = divmod(first, TILE_WIDTH)
            data = self.tile(Tile(level, tile_index, width)) if width else b""
            data += b"".join(hashes)
            full = TILE_WIDTH * HASH_SIZE
            rows = [
                (level, tile_index + i, data[i * full : (i + 1) * full])
                for i in range(-(-len(data) // full))
            ]
            self._many("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)", rows)

    def save_books(self, books: Books) -> None:
        """Store everything `books`, which lie on this transaction, have changed."""
        for table, registrations in (("parties", books.parties), ("programmes", books.programmes)):
            rows = [(item_id, r.platform, r.index) for item_id, r in registrations.items()]
            self._many(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)  # noqa: S608 - a fixed word
        funds = [self._fund_row(books, fund_id) for fund_id in {*books.funds, *books.positions}]
        self._many("INSERT OR REPLACE INTO funds VALUES (?, ?, ?, ?, ?, ?, ?)", funds)
        undone = [
            (target, m.undone, m.platform_fees_undone, m.payment_fees_undone)
            for target, m in books.movements.items()
            if m.undone
        ]
        self._many("INSERT OR REPLACE INTO undone VALUES (?, ?, ?, ?)", undone)
        holes = [(fund_id, h[1], h[0]) for fund_id, hs in books.new_holes.items() for h in hs]
        self._many("INSERT INTO holes VALUES (?, ?, ?)", holes)

    def _fund_row(self, books: Books, fund_id: str) -> tuple[Any, ...]:
        fund, position = books.fund(fund_id), books.position(fund_id) or Position()
        assert fund is not None, "a position is of a fund that is registered"
        counters = json.dumps(position.counters, separators=(",", ":"))
        row = (fund_id, fund.platform, fund.index, position.n, position.last, position.cursor)
        return (*row, counters)

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint; empty before the first."""
        row = self._row("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return bytes(row[0]) if row else b""

    def commit(self) -> None:
        """Put everything on disk. Without this, the end of the transaction undoes it."""
        self._connection.execute("COMMIT")

    def add_checkpoint(self, size: int, note: bytes) -> None:
        self._connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (size, note))

    def add_key(
        self, key_id: str, platform: str, scopes: Sequence[str], key_hash: bytes, created_at: str
    ) -> None:
        self._connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL)",
            (key_id, platform, json.dumps(list(scopes)), key_hash, created_at),
        )

    def revoke_key(self, key_id: str, revoked_at: str) -> bool:
        """Whether there was such a key, not revoked yet."""
        sql = "UPDATE keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL"
        return self._connection.execute(sql, (revoked_at, key_id)).rowcount == 1

    def _many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._connection.executemany(sql, rows)
