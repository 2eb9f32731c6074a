"""Reading a bundle or a tile for certain: what is missing or damaged is found at its entry."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.entry import entry_hash
from ledger.errors import FormatError, LogMismatch, NotFound
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, tile_width
from ledger.walk.bundle import Reader


def read_entries(reader: Reader, index: int, size: int) -> list[bytes]:
    """The entries of a bundle in a log of `size`, each held against its hash in the level 0 tile.

    Raises LogMismatch at the first that is not there or not as it should be.
    """
    start = index * TILE_WIDTH
    width = tile_width(0, index, size)
    data, held, reason = _held_of(reader, index, width)
    # Only as wide as the entries go: so a log that was cut is found to end between two.
    hashes = read_tile(reader, Tile(0, index, held)) if held else b""
    entries, end = _whole_entries(data, width)
    first = _first_difference(entries[:held], hashes)
    if first < min(held, len(entries)):
        expected = hashes[first * HASH_SIZE : (first + 1) * HASH_SIZE].hex()
        found = entry_hash(entries[first]).hex()
        raise LogMismatch(start + first, "leaf hash of the entry", expected, found)
    if first < width:
        raise LogMismatch(start + first, "entry", "one in its place", reason)
    if end < len(data):
        expected, found = f"{end} bytes for {width} entries", f"{len(data)} bytes"
        raise LogMismatch(start + width, "end of the entry bundle", expected, found)
    return entries


def _held_of(reader: Reader, index: int, width: int) -> tuple[bytes, int, str]:
    """A bundle, how many entries of it the reader has, and why not all."""
    try:
        return reader.bundle(index, width), width, "a bundle that ends before or in it"
    except (NotFound, FormatError) as error:
        held = _widest_bundle(reader, index, width)
        return reader.bundle(index, held) if held else b"", held, str(error)


def _widest_bundle(reader: Reader, index: int, width: int) -> int:
    """How many entries of the bundle the reader still has from its start."""
    low, high = 0, width - 1
    while low < high:
        middle = (low + high + 1) // 2
        try:
            reader.bundle(index, middle)
            low = middle
        except (NotFound, FormatError):
            high = middle - 1
    return low


def read_tile(reader: Reader, tile: Tile) -> bytes:
    """A tile of any level. Raises LogMismatch when it is not there, or not as wide."""
    first = (tile.index * TILE_WIDTH) << (TILE_HEIGHT * tile.level)
    try:
        data = reader.tile(tile)
    except NotFound as error:
        raise LogMismatch(first, tile.path(), "a tile", str(error)) from error
    if len(data) != tile.width * HASH_SIZE:
        expected = f"{tile.width * HASH_SIZE} bytes"
        raise LogMismatch(first, tile.path(), expected, f"{len(data)} bytes")
    return data


def _first_difference(entries: Sequence[bytes], hashes: bytes) -> int:
    """The first position whose entry does not have its hash; the number of entries if none."""
    for i, entry_bytes in enumerate(entries):
        if entry_hash(entry_bytes) != hashes[i * HASH_SIZE : (i + 1) * HASH_SIZE]:
            return i
    return len(entries)


def _whole_entries(data: bytes, width: int) -> tuple[list[bytes], int]:
    """The first `width` entries of a bundle, as many as are whole, and where the last one ends."""
    entries: list[bytes] = []
    start = 0
    while len(entries) < width and start + 2 <= len(data):
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if end > len(data):
            break
        entries.append(data[start + 2 : end])
        start = end
    return entries, start
