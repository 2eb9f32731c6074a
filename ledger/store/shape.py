"""What a database holds beside the log that is served from it: rows too many, and its head.

An audit reads a log as everybody else does, entry by entry up to the checkpoint. What lies beyond
is not of the log, and yet a ledger would list it, or seal onto it.
"""

from __future__ import annotations

import sqlite3
from itertools import zip_longest
from pathlib import Path

import msgspec

from ledger.entry import entry_hash
from ledger.errors import FormatError, LogMismatch, Unavailable
from ledger.tlog.merkle import HASH_SIZE, Frontier
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, tiles_of

_END = (64, 0, 0)  # behind the last tile that any tree has


def check_rows(database: Path) -> None:
    """Check that the rows of the log are those of its head, and that the head is its end.

    For a log that was found sound up to its checkpoint. Raises LogMismatch.
    """
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN")  # so that all is of one moment while the ledger grows on
        (size,) = connection.execute("SELECT size FROM head").fetchone()
        _check_entries(connection, size)
        _check_tiles(connection, size)
        _check_head(connection, size)
    except sqlite3.Error as error:
        raise Unavailable(f"the database could not be read: {error}") from error
    finally:
        connection.close()


def _check_entries(connection: sqlite3.Connection, size: int) -> None:
    sql = 'SELECT min("index"), max("index") FROM entries'
    for index in connection.execute(sql).fetchone():
        if not 0 <= index < size:
            found = f"an entry at index {index}"
            raise LogMismatch(index, "entries of the database", f"{size}, from 0 on", found)


def _check_tiles(connection: sqlite3.Connection, size: int) -> None:
    sql = 'SELECT level, "index", length(hashes) FROM tiles ORDER BY level, "index"'
    # Of level 0 the full ones: until then a tile's hashes stand beside the entries.
    tiles = (tile for tile in tiles_of(size) if tile.level > 0 or tile.width == TILE_WIDTH)
    wanted = ((tile.level, tile.index, tile.width * HASH_SIZE) for tile in tiles)
    for due, row in zip_longest(wanted, connection.execute(sql), fillvalue=_END):
        if due != row:
            level, index = min(due[:2], row[:2])
            expected, found = (
                f"{one[2]} bytes" if one[:2] == (level, index) else "no such row"
                for one in (due, row)
            )
            first = index * TILE_WIDTH << TILE_HEIGHT * max(level, 0)
            what = f"row of {Tile(level, index, TILE_WIDTH).path()}"
            raise LogMismatch(first, what, expected, found)


def _check_head(connection: sqlite3.Connection, size: int) -> None:
    """Onto these values the next entry would be sealed."""
    sql = "SELECT root, prev, recorded_at, frontier FROM head"
    root, prev, recorded_at, packed = connection.execute(sql).fetchone()
    sql = 'SELECT bytes FROM entries WHERE "index" = ?'
    (last,) = connection.execute(sql, (size - 1,)).fetchone()
    hashes = [packed[i : i + HASH_SIZE] for i in range(0, len(packed), HASH_SIZE)]
    try:
        frontier = Frontier(size, hashes).root().hex()
    except FormatError as error:
        frontier = str(error)
    stored = {"prev": prev, "recorded_at": recorded_at, "frontier": frontier}
    time = msgspec.json.decode(last)["recorded_at"]
    wanted = {"prev": entry_hash(last).hex(), "recorded_at": time, "frontier": root.hex()}
    for name, value in wanted.items():
        if stored[name] != value:
            raise LogMismatch(size - 1, f"{name} of the database's head", value, stored[name])
