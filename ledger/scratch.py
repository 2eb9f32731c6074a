"""Scratch on disk for a long audit, so that its memory does not grow with the log.

Four things would: what each money entry may still be asked to give back, every ref ever used,
every leaf hash, and the stock of all goods (ledger/stocks.py). They go to files: unnamed temporary
ones that vanish with the audit, or ones that are kept so that it can go on when it was interrupted.
These hold, up to where they were last `flush`ed, nothing newer than that, however the process
ends.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack
from hashlib import sha256
from typing import IO

from ledger.state import EmptyState, Movement
from ledger.tlog.merkle import HASH_SIZE, node_hash, root_at
from ledger.tlog.tile import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TileHashes,
    expand_tile,
)

_KINDS = ("donation", "disbursement", "transfer", "goods_out")
# kind (0: none), is_operational, is_received, fund, to_fund and recipient as numbers, then the
# eight amounts and the index of the newest acknowledgement.
_RECORD = struct.Struct("<BBBIII9q")
MOVEMENT_BYTES = _RECORD.size
_MOVEMENTS_HELD = 4_096  # in memory, before they are written at once
DIGEST_BYTES = 16  # two of 10^9 refs share one by accident with a chance below 10^-20
_REFS_HELD = 4_096
_REFS_AT_ONCE = 65_536  # looked at in memory: some 8 MB
_PARTITIONS_MAX = 64  # open files; ten million refs make 4 MB a partition


class MovementFile(MutableMapping[int, Movement]):
    """index -> Movement in fixed records of a file.

    file: to read and write; a temporary one if not given. names: of funds and parties, which
    records name by number.
    """

    def __init__(self, file: IO[bytes] | None = None, names: Iterable[str] = ("",)) -> None:
        self._file = file or tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._held: dict[int, Movement] = {}  # newer than what the file holds
        self._kept = 0  # records below this one are only changed by `apply`
        self.changed: dict[int, Movement] = {}  # among these, since the last `flush`
        self._count = os.fstat(self._file.fileno()).st_size // _RECORD.size

    def close(self) -> None:
        self._file.close()

    def __getitem__(self, index: int) -> Movement:
        held = self._held.get(index) or self.changed.get(index)
        return self._read(index) if held is None else held

    def flush(self, size: int) -> None:
        """Put what is known of the entries below `size` on disk, but for what is `changed`."""
        self._write()
        os.ftruncate(self._file.fileno(), size * _RECORD.size)
        os.fsync(self._file.fileno())
        self._kept = self._count = size

    def apply(self, changed: Mapping[int, Movement]) -> None:
        """Bring what was `changed` to the file, once that is remembered elsewhere."""
        for index, movement in changed.items():
            self._write_run(index, [self._record(movement)])
        self.changed = {}

    def _read(self, index: int) -> Movement:
        data = os.pread(self._file.fileno(), _RECORD.size, index * _RECORD.size)
        if len(data) < _RECORD.size or data[0] == 0:
            raise KeyError(index)
        kind, is_operational, got, fund, to_fund, recipient, *numbers = _RECORD.unpack(data)
        amount, *rest, acknowledged = numbers
        names = self.names
        ends = (names[fund], amount, names[to_fund], bool(is_operational))
        said = (names[recipient], acknowledged, bool(got))
        return Movement._make((_KINDS[kind - 1], *ends, *rest, *said))

    def __setitem__(self, index: int, movement: Movement) -> None:
        if index < self._kept:
            self.changed[index] = movement
            return
        self._held[index] = movement
        if len(self._held) >= _MOVEMENTS_HELD:
            self._write()

    def _write(self) -> None:
        """Write what is held, neighbours at once."""
        run: list[bytes] = []
        start = 0
        for index in sorted(self._held):
            if index != start + len(run):
                self._write_run(start, run)
                start, run = index, []
            run.append(self._record(self._held[index]))
        self._write_run(start, run)
        self._held = {}

    def _write_run(self, start: int, run: list[bytes]) -> None:
        if run:
            os.pwrite(self._file.fileno(), b"".join(run), start * _RECORD.size)
            self._count = max(self._count, start + len(run))

    def _record(self, movement: Movement) -> bytes:
        kind, fund, amount, to_fund, is_operational, *rest, recipient, acknowledged, got = movement
        numbers = map(self._number, (fund, to_fund, recipient))
        flags = (_KINDS.index(kind) + 1, is_operational, got)
        return _RECORD.pack(*flags, *numbers, amount, *rest, acknowledged)

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def __delitem__(self, index: int) -> None:
        raise AssertionError("a log forgets nothing")

    def __iter__(self) -> Iterator[int]:
        end = max(self._count, max(self._held, default=-1) + 1)
        return (index for index in range(end) if index in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class LeafFile(EmptyState):
    """Every leaf hash of a log, in order: the state that an auditor's books begin on.

    From it come the roots of earlier sizes too. file: to read and write; a temporary one if not
    given.
    """

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file or tempfile.TemporaryFile()  # noqa: SIM115 - as above
        self._file.seek(0, os.SEEK_END)
        self._size = self._file.tell() // HASH_SIZE
        # Tiles of level 1 and up, made when they are asked for: a byte for eight entries.
        self._upper: list[bytearray] = []

    def close(self) -> None:
        self._file.close()

    def add(self, leaves: bytes) -> None:
        """leaves: the hashes of the next entries, one after the other."""
        self._file.write(leaves)
        self._size += len(leaves) // HASH_SIZE

    def flush(self, size: int) -> None:
        """Put the first `size` on disk, and forget all others."""
        self._file.truncate(size * HASH_SIZE)
        self._file.seek(0, os.SEEK_END)
        self._size = size
        os.fsync(self._file.fileno())

    def leaf_hash(self, index: int) -> bytes | None:
        return self._read(index, 1) if 0 <= index < self._size else None

    def root_at(self, size: int) -> bytes | None:
        if size > self._size:
            return None
        self._complete(1)
        return root_at(size, TileHashes(self._tile, size).node)

    def _read(self, start: int, count: int) -> bytes:
        self._file.flush()
        return os.pread(self._file.fileno(), count * HASH_SIZE, start * HASH_SIZE)

    def _tile(self, tile: Tile) -> bytes:
        start = tile.index * TILE_WIDTH
        if tile.level == 0:
            return self._read(start, tile.width)
        hashes = self._upper[tile.level - 1]
        return bytes(hashes[start * HASH_SIZE : (start + tile.width) * HASH_SIZE])

    def _complete(self, level: int) -> None:
        """Make the hashes of `level`, and of those above, of the tiles that are full below."""
        full = self._size >> (TILE_HEIGHT * level)
        if not full:
            return
        if len(self._upper) < level:
            self._upper.append(bytearray())
        hashes = self._upper[level - 1]
        for index in range(len(hashes) // HASH_SIZE, full):
            tile = Tile(level - 1, index, TILE_WIDTH)
            left_and_right = expand_tile(tile, self._tile(tile))[-1]
            hashes += node_hash(left_and_right[:HASH_SIZE], left_and_right[HASH_SIZE:])
        self._complete(level + 1)


def ref_digest(platform: str, ref: str) -> bytes:
    """What stands for a ref of a platform in a `RefFile`."""
    # Neither holds a newline, so no two pairs are spelled alike.
    return sha256(f"{platform}\n{ref}".encode()).digest()[:DIGEST_BYTES]


class RefFile:
    """The digest of every ref an audit has met, in the order of the log, to find out in the end
    which stood twice."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file or tempfile.TemporaryFile()  # noqa: SIM115 - as above
        self._held: list[bytes] = []

    def close(self) -> None:
        self._file.close()

    def flush(self) -> int:
        """Put all of them on disk; how many there are."""
        self._write()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell() // DIGEST_BYTES

    def truncate(self, count: int) -> None:
        """Forget all but the first `count`."""
        self._file.truncate(count * DIGEST_BYTES)

    def add(self, digests: bytes) -> None:
        """digests: of the next entries, one after the other."""
        self._held.append(digests)
        if len(self._held) >= _REFS_HELD:
            self._write()

    def _write(self) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(self._held))
        self._held = []

    def first_repeat(self) -> tuple[int, int] | None:
        """(first index, second index) of the earliest entry that repeats a ref, if any does."""
        self._write()
        repeats = [self._first_of(twice) for part in self._parts() if (twice := _twice(part))]
        return min(repeats, key=lambda repeat: repeat[1], default=None)

    def _parts(self) -> Iterator[list[bytes]]:
        """All digests, in parts that are small enough to look at, equal ones in the same part."""
        count = self._file.tell() // DIGEST_BYTES
        parts = min(-(-count // _REFS_AT_ONCE), _PARTITIONS_MAX)
        if parts <= 1:
            yield [digest for digests in self._chunks() for digest in digests]
            return
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(parts)]
            for digests in self._chunks():
                buckets: list[list[bytes]] = [[] for _ in range(parts)]
                for digest in digests:
                    buckets[digest[0] % parts].append(digest)
                for file, bucket in zip(files, buckets, strict=True):
                    file.write(b"".join(bucket))
            for file in files:
                file.seek(0)
                yield _split(file.read())

    def _chunks(self) -> Iterator[list[bytes]]:
        self._file.seek(0)
        while data := self._file.read(_REFS_HELD * DIGEST_BYTES):
            yield _split(data)

    def _first_of(self, twice: set[bytes]) -> tuple[int, int]:
        """Where the first of these digests comes again, found by reading once more."""
        seen: dict[bytes, int] = {}
        index = 0
        for digests in self._chunks():
            for digest in digests:
                if digest in twice:
                    if digest in seen:
                        return seen[digest], index
                    seen[digest] = index
                index += 1
        raise AssertionError("what stands twice is met twice")


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]


def _twice(digests: list[bytes]) -> set[bytes]:
    """Those that stand more than once."""
    if len(set(digests)) == len(digests):
        return set()
    return {digest for digest, count in Counter(digests).items() if count > 1}
