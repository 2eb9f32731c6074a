"""The tiles above the leaves, compared with the tree as it grows."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import LogMismatch
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile
from ledger.walk.bundle import Reader
from ledger.walk.reading import read_tile


class UpperTiles:
    """The tiles above the leaves as the tree grows, compared with those the reader holds."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.rows: list[list[bytes]] = []  # by level from 1: hashes of the tile in progress
        self.done: list[int] = []  # by level from 1: full tiles behind

    def extend(self, completed: Sequence[bytes]) -> None:
        """completed: hashes of the tiles that are full now, those of level 0 first."""
        for row, hash_ in enumerate(completed):
            if row == len(self.rows):
                self.rows.append([])
                self.done.append(0)
            self.rows[row].append(hash_)
            if len(self.rows[row]) == TILE_WIDTH:
                self._compare(row)
                self.rows[row] = []
                self.done[row] += 1

    def check_partial(self) -> None:
        """Compare the tiles that are still open at the end of the log."""
        for row, hashes in enumerate(self.rows):
            if hashes:
                self._compare(row)

    def _compare(self, row: int) -> None:
        hashes, tile_index, level = self.rows[row], self.done[row], row + 1
        tile = Tile(level, tile_index, len(hashes))
        data = read_tile(self.reader, tile)
        for i, hash_ in enumerate(hashes):
            found = data[i * HASH_SIZE : (i + 1) * HASH_SIZE]
            if found != hash_:
                first = (tile_index * TILE_WIDTH + i) << (TILE_HEIGHT * level)
                raise LogMismatch(first, f"hash {i} of {tile.path()}", hash_.hex(), found.hex())
