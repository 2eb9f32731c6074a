"""A log as files in a directory, which another process can open too."""

from __future__ import annotations

from pathlib import Path

from ledger.errors import NotFound
from ledger.tlog.tile import TILE_WIDTH, Tile, bundle_path, tiles_of
from tests.simulator import Log


class Files:
    """An `audit.Reader` over a directory. read: the paths that were asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.read: list[str] = []

    def checkpoint(self) -> bytes:
        return self._get("checkpoint")

    def tile(self, tile: Tile) -> bytes:
        return self._get(tile.path())

    def bundle(self, index: int, width: int) -> bytes:
        return self._get(bundle_path(index, width))

    def _get(self, path: str) -> bytes:
        self.read.append(path)
        try:
            return (self.directory / path).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"{path} does not exist") from error


def write_files(log: Log, directory: Path) -> Files:
    """Everything that the log serves; of the last bundle, every width."""

    def write(path: str, data: bytes) -> None:
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    write("checkpoint", log.checkpoint())
    for tile in tiles_of(log.size):
        for width in range(1, tile.width + 1) if tile.width < TILE_WIDTH else (TILE_WIDTH,):
            try:
                write(tile._replace(width=width).path(), log.tile(tile._replace(width=width)))
                if tile.level == 0:
                    write(bundle_path(tile.index, width), log.bundle(tile.index, width))
            except NotFound:
                continue
    return Files(directory)
