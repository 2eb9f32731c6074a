"""A tree of made-up leaves, kept whole: the honest log that tests read nodes and tiles from."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, TileHashes

LARGE_SIZE = 70_000


class Tree:
    """Every perfect subtree of a tree, as the frontier reported them: rows[height][index]."""

    def __init__(self, leaf_hashes: Iterable[bytes]) -> None:
        self.frontier = Frontier()
        self.rows: list[list[bytes]] = [[]]
        for leaf in leaf_hashes:
            for height, hash_ in enumerate(self.frontier.append(leaf)):
                if height == len(self.rows):
                    self.rows.append([])
                self.rows[height].append(hash_)

    @property
    def leaves(self) -> list[bytes]:
        return self.rows[0]

    def node(self, height: int, index: int) -> bytes:
        return self.rows[height][index]

    def tile(self, tile: Tile) -> bytes:
        start = tile.index * TILE_WIDTH
        return b"".join(self.rows[tile.level * TILE_HEIGHT][start : start + tile.width])

    def from_tiles(self, size: int) -> TileHashes:
        return TileHashes(self.tile, size)


def made_up(size: int) -> Tree:
    """The tree of the first `size` entries `entry-0`, `entry-1`, ... of tlog-large-tree.json."""
    return Tree(leaf_hash(b"entry-%d" % i) for i in range(size))


def unbase64(texts: Iterable[str] | None) -> list[bytes]:
    """Hashes of a vector file, where null stands for an empty proof."""
    return [b64decode(text) for text in texts or ()]
