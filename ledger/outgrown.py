"""A reader for logs that delete partial tiles once the full ones stand (C2SP tlog-tiles).

Whoever read a checkpoint just before the log grew asks for partial tiles that may be gone by
then. That proves nothing against the log: the full tile holds the same and more.
"""

from __future__ import annotations

from ledger.audit import Reader
from ledger.errors import NotFound
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.tile import TILE_WIDTH, Tile, decode_bundle, encode_bundle


class Outgrown:
    """`reader`, asked for the full tile or bundle where a partial one is gone."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.checkpoint = reader.checkpoint

    def tile(self, tile: Tile) -> bytes:
        try:
            return self._reader.tile(tile)
        except NotFound as gone:
            if tile.width == TILE_WIDTH:
                raise
            try:
                full = self._reader.tile(tile._replace(width=TILE_WIDTH))
            except NotFound:
                raise gone from None
            return full[: tile.width * HASH_SIZE]

    def bundle(self, index: int, width: int) -> bytes:
        try:
            return self._reader.bundle(index, width)
        except NotFound as gone:
            if width == TILE_WIDTH:
                raise
            try:
                full = self._reader.bundle(index, TILE_WIDTH)
            except NotFound:
                raise gone from None
            return encode_bundle(decode_bundle(full, TILE_WIDTH)[:width])
