"""One write transaction: the state the books ask of, and the rows a batch of entries makes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ledger.books import Books
from ledger.chain import Linked, Tip
from ledger.entry import NO_PREV, entry_hash
from ledger.goods import Stock, StockKey
from ledger.spans import Span
from ledger.state import (
    Fund,
    Movement,
    Party,
    Position,
    Registration,
    Statement,
    fund_of,
    movement_of,
)
from ledger.store.texts import Beside, Erasure, beside, erase, forget
from ledger.store.views import ViewTables
from ledger.tlog.merkle import HASH_SIZE, Frontier, root_at
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, TileHashes, middle_row
from schemas.check import mentions

FUNDS_RECALLED = 10_000
LEAF_HASHES = 'SELECT leaf_hash FROM entries WHERE "index" >= ? AND "index" < ? ORDER BY "index"'


def _read_party(index: int, platform: str, keys: str, signed_only: int) -> Party:
    # Nearly all have none, and parties are looked up for every post.
    vkeys = () if keys == "[]" else tuple(msgspec.json.decode(keys, type=list[str]))
    return Party(index, platform, vkeys, bool(signed_only))


def _party_row(party_id: str, party: Party) -> tuple[Any, ...]:
    keys = msgspec.json.encode(party.keys).decode()
    return (party_id, party.platform, party.index, keys, party.signed_only)


class NewEntry(NamedTuple):
    """An entry as it is sealed, with the statement it holds and who posted it."""

    linked: Linked
    platform: str
    statement: dict[str, Any]
    disclosures: Sequence[str] = ()


class Head(NamedTuple):
    """Where the log ends. checkpoint: the signed note that covers it, empty before the first.
    indexed: entries below it are found by their terms."""

    tip: Tip
    checkpoint: bytes
    indexed: int


def terms_of(entry_bytes: bytes) -> set[tuple[str, str]]:
    """(kind, id) of everything the filters find an entry by."""
    entry = msgspec.json.decode(entry_bytes)
    statement = entry["statement"]
    terms = mentions(statement)
    terms.update(("fund", total["fund"]) for total in entry.get("totals", ()))
    terms.add(("type", statement["type"]))
    terms.add(("platform", entry["platform"]))
    return terms


def postings(first: int, entries: Iterable[bytes]) -> dict[tuple[str, str], list[int]]:
    """term -> indexes it applies to, ascending, of `entries`, of which the first is `first`."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, data in enumerate(entries, first):
        for term in terms_of(data):
            found.setdefault(term, []).append(index)
    return found


class Recall:
    """What transactions on one ledger may keep, since it never changes: its genesis, and what a
    fund statement at an index says."""

    def __init__(self) -> None:
        self.genesis: Statement = {}
        self.funds: dict[int, Fund] = {}

    def keep_fund(self, fund: Fund) -> None:
        if len(self.funds) >= FUNDS_RECALLED:
            self.funds.clear()
        self.funds[fund.index] = fund


class Transaction:
    """What a writer sees and does while it holds the write lock. Satisfies `state.State`.

    What it looks up it keeps, since nobody else can change it before the lock is let go.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        recall: Recall,
        root_at: Callable[[int], bytes | None] | None = None,
    ) -> None:
        """root_at: where the roots of earlier sizes come from, if not from the tiles."""
        self._connection = connection
        self._recall = recall
        self._root_at = root_at or self._root_of_tiles
        self._seen: dict[tuple[str, str], Any] = {}

    def _row(self, sql: str, *parameters: Any) -> Any:
        return self._connection.execute(sql, parameters).fetchone()

    # -- the log

    def head(self) -> Head:
        """The tip, the checkpoint that covers it, and how far the terms reach."""
        row = self._row("SELECT size, prev, recorded_at, frontier, checkpoint, indexed FROM head")
        if row is None:
            return Head(Tip(Frontier(), NO_PREV, ""), b"", 0)
        size, prev, recorded_at, packed, checkpoint, indexed = row
        hashes = [packed[i : i + HASH_SIZE] for i in range(0, len(packed), HASH_SIZE)]
        return Head(Tip(Frontier(size, hashes), prev, recorded_at), checkpoint, indexed)

    def tile(self, tile: Tile) -> bytes:
        """The tile's hashes, as many as are committed of the width asked for."""
        sql = 'SELECT hashes FROM tiles WHERE level = ? AND "index" = ?'
        row = self._row(sql, tile.level, tile.index)
        if row is not None:
            return bytes(row[0][: tile.width * HASH_SIZE])
        start = tile.index * TILE_WIDTH
        return self._leaf_hashes(start, start + tile.width) if tile.level == 0 else b""

    def _leaf_hashes(self, start: int, end: int) -> bytes:
        return b"".join(row[0] for row in self._connection.execute(LEAF_HASHES, (start, end)))

    def entries(self, start: int, end: int) -> list[bytes]:
        """The bytes of the committed entries [start, end)."""
        sql = 'SELECT bytes FROM entries WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
        return [row[0] for row in self._connection.execute(sql, (start, end))]

    def indexes_of_refs(self, platform: str, refs: Sequence[str]) -> dict[str, int]:
        """ref -> index, of those refs that the platform has used before."""
        # CROSS, or the planner walks all refs of the platform to look them up in the array.
        sql = (
            'SELECT ref, "index" FROM json_each(?) CROSS JOIN refs ON platform = ? AND ref = value'
        )
        return dict(
            self._connection.execute(sql, (msgspec.json.encode(refs).decode(), platform)).fetchall()
        )

    def entry_bytes(self, index: int) -> bytes | None:
        """The bytes of a committed entry; None for one that this transaction is yet to write."""
        row = self._row('SELECT bytes FROM entries WHERE "index" = ?', index)
        return bytes(row[0]) if row else None

    def _entry(self, index: int) -> Any:
        data = self.entry_bytes(index)
        return msgspec.json.decode(data) if data else None

    # -- state.State

    @property
    def currencies(self) -> Mapping[str, int]:
        """This ledger's currency table: ISO code -> exponent; empty before the genesis."""
        currencies: Mapping[str, int] = self._genesis().get("currencies", {})
        return currencies

    @property
    def origin(self) -> str:
        origin: str = self._genesis().get("origin", "")
        return origin

    def _genesis(self) -> Statement:
        if not self._recall.genesis and (genesis := self._entry(0)) is not None:
            self._recall.genesis = genesis["statement"]
        return self._recall.genesis

    def leaf_hash(self, index: int) -> bytes | None:
        # Of its bytes: what stands beside them may be what is to be mended.
        data = self.entry_bytes(index)
        return entry_hash(data) if data else None

    def root_at(self, size: int) -> bytes | None:
        return self._root_at(size)

    def _root_of_tiles(self, size: int) -> bytes | None:
        (held,) = self._row("SELECT size FROM head") or (0,)
        return root_at(size, TileHashes(self.tile, held).node) if size <= held else None

    def party(self, party_id: str) -> Party | None:
        key = ("parties", party_id)
        if key not in self._seen:
            sql = 'SELECT "index", platform, keys, signed_only FROM parties WHERE id = ?'
            row = self._row(sql, party_id)
            self._seen[key] = _read_party(*row) if row else None
        found: Party | None = self._seen[key]
        return found

    def key_owner(self, public: bytes) -> str | None:
        row = self._row("SELECT party FROM key_owners WHERE public = ?", public)
        return row[0] if row else None

    def programme(self, programme_id: str) -> Registration | None:
        key = ("programmes", programme_id)
        if key not in self._seen:
            row = self._row('SELECT "index", platform FROM programmes WHERE id = ?', programme_id)
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
        fund = self._recall.funds.get(index)
        if fund is None:
            fund = fund_of(index, platform, self._entry(index)["statement"], self.currencies)
            self._recall.keep_fund(fund)
        return fund, Position.stored(n, last, cursor, msgspec.json.decode(counters))

    def movement(self, index: int) -> Movement | None:
        entry = self._entry(index)
        if entry is None:
            return None
        movement = movement_of(entry["statement"], entry.get("totals", []), self.currencies)
        if movement is None:
            return None
        undone = self._row(
            "SELECT amount_minor, platform_fees_minor, payment_fees_minor FROM undone "
            "WHERE target = ?",
            index,
        )
        if undone is not None:
            names = ("undone", "platform_fees_undone", "payment_fees_undone")
            movement = movement._replace(**dict(zip(names, undone, strict=True)))
        if movement.kind == "donation":
            return movement  # nobody acknowledges one, and many are refunded
        acknowledged = self._row(
            'SELECT "index", is_received FROM acknowledged WHERE target = ?', index
        )
        if acknowledged is not None:
            last, is_received = acknowledged
            movement = movement._replace(acknowledged=last, is_received=bool(is_received))
        return movement

    def stock(self, key: StockKey) -> Stock | None:
        row = self._row(
            "SELECT n, last, in_millionths, out_millionths FROM stocks "
            "WHERE fund = ? AND item = ? AND unit = ?",
            *key,
        )
        return Stock(*row) if row else None

    def holes(self, fund_id: str, start: int) -> Iterable[Span]:
        # A cursor, not a list: whoever asks stops as soon as the amount is found.
        return self._connection.execute(
            "SELECT from_minor, to_minor FROM holes WHERE fund = ? AND to_minor > ? "
            "ORDER BY to_minor",
            (fund_id, start),
        )

    # -- writing

    def anew(self, root_at: Callable[[int], bytes | None]) -> Transaction:
        """The same transaction, looking up again what was written since."""
        return Transaction(self._connection, self._recall, root_at)

    def widen_cache(self, kib: int) -> None:
        self._connection.execute(f"PRAGMA cache_size = -{kib}")

    def empty(self, tables: Iterable[str]) -> None:
        for table in tables:
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a fixed word

    def mend_leaf_hashes(self, leaves: Iterable[tuple[int, bytes]]) -> None:
        """Store these (index, leaf hash) where others stand beside the entries."""
        sql = 'UPDATE entries SET leaf_hash = ? WHERE "index" = ? AND leaf_hash <> ?'
        self._connection.executemany(sql, ((leaf, index, leaf) for index, leaf in leaves))

    def append(self, head: Head, sealed: Sequence[NewEntry]) -> None:
        """Store sealed entries and move the head."""
        entries = [(e.linked.index, e.linked.entry_bytes, e.linked.leaf_hash) for e in sealed]
        self._many("INSERT INTO entries VALUES (?, ?, ?)", entries)
        texts = [(e.linked.index, text) for e in sealed for text in e.disclosures]
        self._many("INSERT INTO disclosures VALUES (?, ?)", texts)
        self.follow(head, sealed)

    def follow(self, head: Head, sealed: Sequence[NewEntry]) -> None:
        """Store what follows from entries that stand there, but for the books; move the head."""
        # In the order of their keys, so that neighbours find the page still at hand.
        refs = sorted((e.platform, e.statement["ref"], e.linked.index) for e in sealed)
        self._many("INSERT INTO refs VALUES (?, ?, ?)", refs)
        self._append_tiles([entry.linked for entry in sealed])
        tip = head.tip
        packed = b"".join(tip.frontier.hashes)
        self._connection.execute(
            "INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            (tip.size, tip.root, tip.prev, tip.recorded_at, packed, head.checkpoint, head.indexed),
        )

    def _append_tiles(self, linked: Sequence[Linked]) -> None:
        first, end = linked[0].index, linked[-1].index + 1
        leaves = [entry.leaf_hash for entry in linked]
        rows = []
        for index in range(first // TILE_WIDTH, end // TILE_WIDTH):
            start = index * TILE_WIDTH
            hashes = self._leaf_hashes(start, first) if start < first else b""
            ours = leaves[max(start - first, 0) : start + TILE_WIDTH - first]
            rows.append(_tile_row(0, index, hashes + b"".join(ours)))
        self._many("INSERT INTO tiles VALUES (?, ?, ?, ?)", rows)
        for level in range(1, -(-max(len(e.completed) for e in linked) // TILE_HEIGHT)):
            self._extend_level(level, first, linked)

    def _extend_level(self, level: int, first: int, linked: Sequence[Linked]) -> None:
        """Add each completed subtree of height 8 x `level` to the last tile of its level."""
        height = level * TILE_HEIGHT
        hashes = [e.completed[height] for e in linked if len(e.completed) > height]
        tile_index, width = divmod(first >> height, TILE_WIDTH)
        data = self.tile(Tile(level, tile_index, width)) if width else b""
        data += b"".join(hashes)
        full = TILE_WIDTH * HASH_SIZE
        rows = [
            _tile_row(level, tile_index + i, data[i * full : (i + 1) * full])
            for i in range(-(-len(data) // full))
        ]
        self._many("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)", rows)

    def index_terms(self) -> None:
        """Store the terms of the entries that have none yet, as one run: a row for each term."""
        head = self.head()
        run, size = head.indexed, head.tip.size
        rows = [
            (*term, run, json.dumps(indexes))
            for term, indexes in sorted(postings(run, self.entries(run, size)).items())
        ]
        self._many("INSERT INTO terms VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("UPDATE head SET indexed = ?", (size,))

    def views(self) -> ViewTables:
        """The tables of the views, which follow the log in transactions of their own."""
        return ViewTables(self._connection, lambda: self.currencies)

    def save_books(self, books: Books) -> None:
        """Store everything `books`, which lie on this transaction, have changed."""
        parties = [_party_row(party_id, party) for party_id, party in books.parties.items()]
        self._many("INSERT OR REPLACE INTO parties VALUES (?, ?, ?, ?, ?)", parties)
        owners = list(books.key_owners.items())
        self._many("INSERT OR REPLACE INTO key_owners VALUES (?, ?)", owners)
        programmes = [(item_id, r.platform, r.index) for item_id, r in books.programmes.items()]
        self._many("INSERT OR REPLACE INTO programmes VALUES (?, ?, ?)", programmes)
        funds = [self._fund_row(books, fund_id) for fund_id in {*books.funds, *books.positions}]
        self._many("INSERT OR REPLACE INTO funds VALUES (?, ?, ?, ?, ?, ?, ?)", funds)
        undone = [
            (target, m.undone, m.platform_fees_undone, m.payment_fees_undone)
            for target, m in books.movements.items()
            if m.undone
        ]
        self._many("INSERT OR REPLACE INTO undone VALUES (?, ?, ?, ?)", undone)
        acknowledged = [
            (target, m.acknowledged, m.is_received)
            for target, m in books.movements.items()
            if m.acknowledged
        ]
        self._many("INSERT OR REPLACE INTO acknowledged VALUES (?, ?, ?)", acknowledged)
        holes = [(fund_id, h[1], h[0]) for fund_id, hs in books.new_holes.items() for h in hs]
        self._many("INSERT INTO holes VALUES (?, ?, ?)", holes)
        stocks = [(*key, *stock) for key, stock in books.stocks.items()]
        self._many("INSERT OR REPLACE INTO stocks VALUES (?, ?, ?, ?, ?, ?, ?)", stocks)

    def _fund_row(self, books: Books, fund_id: str) -> tuple[Any, ...]:
        fund, position = books.fund(fund_id), books.position(fund_id) or Position()
        assert fund is not None, "a position is of a fund that is registered"
        counters = msgspec.json.encode(position.counters).decode()
        row = (fund_id, fund.platform, fund.index, position.n, position.last, position.cursor)
        return (*row, counters)

    def commit(self) -> None:
        """Put everything on disk. Without this, the end of the transaction undoes it."""
        self._connection.execute("COMMIT")

    def beside(self, index: int) -> Beside:
        """What is kept beside an entry."""
        return beside(self._row, index)

    def erase(self, erasure: Erasure) -> None:
        """Delete the disclosure of an entry, if there is one, and say so."""
        erase(self._connection, erasure)

    def forget(self) -> None:
        """After the commit: leave nothing of what was erased. Raises Unavailable."""
        forget(self._connection)

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


def _tile_row(level: int, index: int, hashes: bytes) -> tuple[int, int, bytes, bytes | None]:
    is_full = len(hashes) == TILE_WIDTH * HASH_SIZE
    return level, index, hashes, middle_row(hashes) if is_full else None
