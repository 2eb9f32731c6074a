"""A log as files in a directory (C2SP tlog-tiles), which any static file server can serve.

    checkpoint
    tile/<level>/<index>[.p/<width>]
    tile/entries/<index>[.p/<width>]

Every file but `checkpoint` is written once and never again. The checkpoint moves last, when all
that it covers is on disk, so that whoever reads in between, or after a crash, finds the log as it
was before or as it is now.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ledger.audit import Progress, Reader
from ledger.disk import flush
from ledger.entry import entry_hash
from ledger.errors import LedgerError, LogMismatch, NotFound, SetupError, Unavailable
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_SIZE, Frontier, frontier_at
from ledger.tlog.policy import Policy
from ledger.tlog.tile import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TileHashes,
    bundle_path,
    decode_bundle,
    tile_width,
)

CHECKPOINT = "checkpoint"
TILES = "tile"
# What is being written, until it is whole. One name is enough for whoever holds the lock, and
# whatever a crash leaves there is overwritten by the next file.
_PART = ".part"


class DirectoryReader:
    """The log in `directory`. Satisfies `audit.Reader`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def checkpoint(self) -> bytes:
        return self._read(CHECKPOINT)

    def tile(self, tile: Tile) -> bytes:
        return self._read(tile.path())

    def bundle(self, index: int, width: int) -> bytes:
        return self._read(bundle_path(index, width))

    def _read(self, path: str) -> bytes:
        file = self.directory / path
        try:
            return file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"{file} does not exist") from error
        except OSError as error:
            raise Unavailable(f"{file} cannot be read: {error}") from error


class Exported(NamedTuple):
    """What an export did. before: the size that stood there, 0 for a new directory."""

    checkpoint: Checkpoint
    before: int
    files: int


def export_log(
    source: Reader, policy: Policy, directory: Path, progress: Progress | None = None
) -> Exported:
    """Write the log that `source` holds into `directory`, or what was added to it since.

    The checkpoint must meet `policy`, everything new must lead to its root, and so must the
    checkpoint that stands there already. Raises LogMismatch when it does not, SetupError when
    the directory is another log's or cannot be written, Unavailable while another export runs.
    """
    note = source.checkpoint()
    checkpoint = policy.check(note)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            before = _standing(directory, policy, checkpoint)
            files = _Files(directory)
            _Export(source, before, checkpoint, files).run(progress or (lambda done, size: None))
            files.publish(note)
    except OSError as error:
        raise SetupError(f"the log cannot be written to {directory}: {error}") from error
    return Exported(checkpoint, before.size if before else 0, files.written)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(f"another export into {directory} is running") from error
        yield
    finally:
        os.close(fd)


def _standing(directory: Path, policy: Policy, new: Checkpoint) -> Checkpoint | None:
    """The checkpoint of the export that `new` is to extend; None for the first one."""
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    try:
        old = policy.open(path.read_bytes()).checkpoint
        if old.origin != new.origin:
            raise SetupError(f"it is of {old.origin}, and this log is {new.origin}")
    except LedgerError as error:
        error.add_note(f"so says {path}; export into another directory, or put that file right")
        raise
    if old.size > new.size:
        raise LogMismatch(
            new.size,
            f"size, against {path}",
            f"at least {old.size}",
            str(new.size),
            meaning="the database is an older copy than the one that was exported; or the newest "
            "entries were removed from it",
            advice="keep both; put the newest database back and export again",
        )
    return old


class _Export:
    """One pass from the size that stands to the new one, hashing everything on the way."""

    def __init__(
        self, source: Reader, old: Checkpoint | None, new: Checkpoint, files: _Files
    ) -> None:
        self.source, self.new, self.files = source, new, files
        self.start = old.size if old else 0
        nodes = TileHashes(source.tile, self.start)
        self.frontier = frontier_at(self.start, nodes.node)
        if old and self.frontier.root() != old.root:
            raise _other_history(old, self.frontier, files.directory / CHECKPOINT)
        # By level, the hashes of the tile in progress. Those of the old size were all hashed
        # into the root above, so they are as true as the checkpoint that stands there.
        self.rows = [list(row) for row in _open_rows(nodes)]
        self.done = [(self.start >> TILE_HEIGHT * n) // TILE_WIDTH for n in range(len(self.rows))]

    def run(self, progress: Progress) -> None:
        size = self.new.size
        if size > self.start:
            for index in range(self.start // TILE_WIDTH, -(-size // TILE_WIDTH)):
                self._take_bundle(index)
                progress(self.frontier.size, size)
        if self.frontier.root() != self.new.root:
            found = self.frontier.root().hex()
            raise LogMismatch(None, "root of all entries", self.new.root.hex(), found)
        if size > self.start:
            self._write_partial_tiles()

    def _take_bundle(self, index: int) -> None:
        first, width = index * TILE_WIDTH, tile_width(0, index, self.new.size)
        data = self.source.bundle(index, width)
        leaves = self.source.tile(Tile(0, index, width))
        old = self.frontier.size - first  # how many of them stood here before
        for position, entry_bytes in enumerate(decode_bundle(data, width)):
            leaf = entry_hash(entry_bytes)
            known = leaves[position * HASH_SIZE : (position + 1) * HASH_SIZE]
            if position < old:
                known = self.rows[0][position]
            if leaf != known:
                what = "leaf hash of the entry"
                raise LogMismatch(first + position, what, known.hex(), leaf.hex())
            if position >= old:
                self._append(leaf)
        self.files.write(bundle_path(index, width), data)

    def _append(self, leaf: bytes) -> None:
        for level, hash_ in enumerate(self.frontier.append(leaf)[::TILE_HEIGHT]):
            if level == len(self.rows):
                self.rows.append([])
                self.done.append(0)
            self.rows[level].append(hash_)
            if len(self.rows[level]) == TILE_WIDTH:
                self._write_tile(level)
                self.rows[level] = []
                self.done[level] += 1

    def _write_partial_tiles(self) -> None:
        for level, row in enumerate(self.rows):
            if row:
                self._write_tile(level)

    def _write_tile(self, level: int) -> None:
        row = self.rows[level]
        tile = Tile(level, self.done[level], len(row))
        self.files.write(tile.path(), b"".join(row))


def _open_rows(nodes: TileHashes) -> Iterator[list[bytes]]:
    """By level, the hashes of the last tile of a tree; none where that one is full."""
    level = 0
    while hashes := nodes.size >> (TILE_HEIGHT * level):
        first = hashes // TILE_WIDTH * TILE_WIDTH
        yield [nodes.node(TILE_HEIGHT * level, i) for i in range(first, hashes)]
        level += 1


def _other_history(old: Checkpoint, found: Frontier, path: Path) -> LogMismatch:
    return LogMismatch(
        old.size - 1,
        f"root at size {old.size}, against {path}",
        old.root.hex(),
        found.root().hex(),
        meaning="two ledgers were mixed up; or this log was rewritten after it was exported",
        advice="keep both. What is exported was signed by the same key, so one of the two is not "
        "what was handed out: compare them with a receipt or checkpoint that somebody else holds",
    )


class _Files:
    """The files of an export as they are written: whole or not at all, never over another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written = 0
        self._touched: set[Path] = set()
        self._outgrown: list[Path] = []

    def write(self, path: str, data: bytes) -> None:
        """Write a tile or bundle that no checkpoint here covers yet."""
        target = self.directory / path
        if target.exists():
            if target.read_bytes() != data:
                raise SetupError(
                    f"{target} stands there already and is not of this log; export into another "
                    "directory, or delete the file if no checkpoint there ever covered it"
                )
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._put(target, data)
        # Also when an export that was cut off wrote it: its name may not be on disk yet.
        self._touched.update(target.parents[: len(target.relative_to(self.directory).parts)])
        if not target.parent.name.endswith(".p"):
            self._outgrown.append(target.with_name(f"{target.name}.p"))

    def publish(self, note: bytes) -> None:
        """Move the checkpoint, now that everything it covers is to be on disk."""
        for directory in self._touched:
            flush(directory)
        target = self.directory / CHECKPOINT
        if not target.exists() or target.read_bytes() != note:
            self._put(target, note)
            flush(self.directory)
        # Only now: until a moment ago the checkpoint here was one that needs them.
        for partial in self._outgrown:
            if partial.is_dir():
                shutil.rmtree(partial)

    def _put(self, target: Path, data: bytes) -> None:
        part = self.directory / _PART
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        self.written += 1
