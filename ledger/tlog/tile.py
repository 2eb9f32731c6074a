"""Tiles and entry bundles (C2SP tlog-tiles): a tree as files of up to 256 hashes or entries.

The tile (level, index) holds the hashes of 256 neighbouring perfect subtrees of height
8 * level, so of height 0 (leaves), 8, 16 and so on; heights between are hashed again from it.
The last tile of a level may be partial, of width 1 to 255.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import FormatError
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.spelling import shown

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
ENTRY_BYTES_MAX = 2**16 - 1
TILES_CACHED = 512  # 9 kB each
MIDDLE = TILE_HEIGHT // 2

# Eighteen digits of index: a level 0 tile of a tree of 2^63 entries needs seventeen.
_INDEX = r"(?P<index>(?!x000/)(?:x[0-9]{3}/){0,5}[0-9]{3})"
_WIDTH = r"(?:\.p/(?P<width>[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?"
_TILE_PATH = re.compile(rf"tile/(?P<level>[0-9]|[1-5][0-9]|6[0-3])/{_INDEX}{_WIDTH}\Z")
_BUNDLE_PATH = re.compile(rf"tile/entries/{_INDEX}{_WIDTH}\Z")


class Tile(NamedTuple):
    """Where a tile stands, and how wide it is: 1 to 256 hashes, 256 being a full one."""

    level: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a tile
    width: int

    def path(self) -> str:
        """The tile's path below the log's prefix, as `tile/0/x001/x234/067.p/89`."""
        return f"tile/{self.level}/{_spell(self.index, self.width)}"


def parse_tile_path(path: str) -> Tile:
    """Read a tile's path. Raises FormatError for anything but its one spelling."""
    match = _TILE_PATH.match(path)
    if not match:
        raise FormatError(f"{shown(path)} is not the path of a tile")
    return Tile(int(match["level"]), *_place(match))


def bundle_path(index: int, width: int) -> str:
    """The path of an entry bundle of `width` entries, as `tile/entries/x001/x234/067.p/89`."""
    return f"tile/entries/{_spell(index, width)}"


def parse_bundle_path(path: str) -> tuple[int, int]:
    """(index, width) of an entry bundle's path. Raises FormatError, as for tiles."""
    match = _BUNDLE_PATH.match(path)
    if not match:
        raise FormatError(f"{shown(path)} is not the path of an entry bundle")
    return _place(match)


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each behind its length in two big-endian bytes. Raises FormatError if too long."""
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise FormatError(f"an entry of {len(entry)} bytes is over {ENTRY_BYTES_MAX}")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises FormatError unless they fill it exactly."""
    entries: list[bytes] = []
    start = 0
    for position in range(width):
        begin = start + 2
        end = begin + int.from_bytes(data[start:begin], "big")
        if end > len(data):  # also when the length itself is cut short
            raise FormatError(
                f"bundle of {len(data)} bytes ends inside entry {position} of {width}"
            )
        entries.append(data[begin:end])
        start = end
    if start != len(data):
        raise FormatError(f"bundle of {width} entries has {len(data) - start} bytes after them")
    return entries


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) has in a tree of `size`: 0 when absent, 256 when full.

    A bundle has the width of the level 0 tile of its index.
    """
    hashes = size >> (TILE_HEIGHT * level)
    return min(max(hashes - index * TILE_WIDTH, 0), TILE_WIDTH)


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a tree of `size` leaves, level by level from the leaves, left to right."""
    level = 0
    while hashes := size >> (TILE_HEIGHT * level):
        for index in range(-(-hashes // TILE_WIDTH)):
            yield Tile(level, index, tile_width(level, index, size))
        level += 1


class FullTile(NamedTuple):
    """The hashes of a full tile, and its middle row: the 16 subtrees of height 4 over them.

    From the two, any node inside takes at most 15 hashes, and most of a proof none; from the
    hashes alone, one takes up to 127.
    """

    hashes: bytes
    middle: bytes

    @classmethod
    def of(cls, tile: Tile, hashes: bytes) -> FullTile:
        """Raises FormatError unless `hashes` fill the tile."""
        _check_filled(tile, hashes)
        return cls(hashes, middle_row(hashes))

    def node(self, height: int, position: int) -> bytes:
        """The hash of the subtree of `height` 0 to 7 that stands at `position` in its row."""
        row, below = (self.hashes, height) if height < MIDDLE else (self.middle, height - MIDDLE)
        width = HASH_SIZE << below
        return _raised(row[position * width : (position + 1) * width], below)


def middle_row(hashes: bytes) -> bytes:
    """The subtrees of height 4 over the hashes of a full tile."""
    return _raised(hashes, MIDDLE)


class TileHashes:
    """The nodes of a tree of `size` leaves, out of its tiles: a `NodeReader` for `merkle`.

    `read` answers a tile's bytes, and is asked for each tile in the width it has at `size`.
    `read_full`: answers those that are full instead, for whoever has their middle rows too.
    Nothing here says that the tiles are true: check what comes of them against a root.
    """

    def __init__(
        self,
        read: Callable[[Tile], bytes],
        size: int,
        read_full: Callable[[Tile], FullTile] | None = None,
    ) -> None:
        self.size = size
        self._read = read
        self._full = read_full or cached(lambda tile: FullTile.of(tile, read(tile)))
        self._partial: dict[Tile, list[bytes]] = {}  # at most one a level

    def node(self, height: int, index: int) -> bytes:
        """Hash of the perfect subtree (height, index). Raises FormatError for a bad tile."""
        assert (index + 1) << height <= self.size, (height, index, self.size)
        level, row = divmod(height, TILE_HEIGHT)
        tile_index, position = divmod(index, TILE_WIDTH >> row)
        tile = Tile(level, tile_index, tile_width(level, tile_index, self.size))
        if tile.width == TILE_WIDTH:
            return self._full(tile).node(row, position)
        if tile not in self._partial:
            self._partial[tile] = expand_tile(tile, self._read(tile))
        start = position * HASH_SIZE
        return self._partial[tile][row][start : start + HASH_SIZE]


def cached(read_full: Callable[[Tile], FullTile]) -> Callable[[Tile], FullTile]:
    """`read_full`, keeping the tiles it was asked for last: a full tile never changes."""
    return lru_cache(maxsize=TILES_CACHED)(read_full)


def expand_tile(tile: Tile, hashes: bytes) -> list[bytes]:
    """The rows of a tile, from its own hashes up to where its pairs run out.

    Raises FormatError unless `hashes` are as many as the tile is wide.
    """
    _check_filled(tile, hashes)
    rows = [hashes]
    # Height 8 is the business of the tile above, so seven rows follow the first.
    for _ in range(TILE_HEIGHT - 1):
        rows.append(_raised(rows[-1], 1))
    return rows


def _check_filled(tile: Tile, hashes: bytes) -> None:
    if len(hashes) != tile.width * HASH_SIZE:
        raise FormatError(
            f"{tile.path()} has {len(hashes)} bytes, not {tile.width} hashes of {HASH_SIZE}"
        )


def _raised(row: bytes, by: int) -> bytes:
    """The row so many heights above `row`: of its pairs, of their pairs, and so on."""
    for _ in range(by):
        pairs = (row[at : at + 2 * HASH_SIZE] for at in range(0, len(row) - 63, 64))
        row = b"".join([sha256(b"\x01" + pair).digest() for pair in pairs])
    return row


def _spell(index: int, width: int) -> str:
    """The `<N>[.p/<W>]` of a path: index in threes of digits, all but the last after an x."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def _place(match: re.Match[str]) -> tuple[int, int]:
    digits = match["index"].replace("x", "").replace("/", "")
    return int(digits), int(match["width"] or TILE_WIDTH)
