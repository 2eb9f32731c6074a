"""Scratch on disk for a long audit, so that its memory does not grow with the log.

Two things would: what each money entry may still be asked to give back, and every ref ever
used. Both go to unnamed temporary files that vanish with the audit.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, MutableMapping
from hashlib import sha256
from typing import IO

from ledger.state import Movement

_KINDS = ("donation", "disbursement", "transfer")
# kind (0: none), is_operational, fund and to_fund as numbers, then the eight amounts.
_RECORD = struct.Struct("<BBII8q")
_PARTITIONS = 64  # each is read back whole: ten million refs make 4 MB a partition
_IN_MEMORY_BYTES = 32 * 1024  # of each partition
_DIGEST_BYTES = 16  # two of 10^9 refs share one by accident with a chance below 10^-20


class MovementFile(MutableMapping[int, Movement]):
    """index -> Movement in fixed records of a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._numbers: dict[str, int] = {"": 0}
        self._names = [""]
        self._count = 0

    def close(self) -> None:
        self._file.close()

    def __getitem__(self, index: int) -> Movement:
        data = os.pread(self._file.fileno(), _RECORD.size, index * _RECORD.size)
        if len(data) < _RECORD.size or data[0] == 0:
            raise KeyError(index)
        kind, is_operational, fund, to_fund, amount, *rest = _RECORD.unpack(data)
        names = self._names
        return Movement(
            _KINDS[kind - 1], names[fund], amount, names[to_fund], bool(is_operational), *rest
        )

    def __setitem__(self, index: int, movement: Movement) -> None:
        kind, fund, amount, to_fund, is_operational, *rest = movement
        number = self._number
        data = _RECORD.pack(
            _KINDS.index(kind) + 1, is_operational, number(fund), number(to_fund), amount, *rest
        )
        os.pwrite(self._file.fileno(), data, index * _RECORD.size)
        self._count = max(self._count, index + 1)

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def __delitem__(self, index: int) -> None:
        raise AssertionError("a log forgets nothing")

    def __iter__(self) -> Iterator[int]:
        return (index for index in range(self._count) if index in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class RefFile:
    """Every (platform, ref) an audit has met, to find out in the end which stood twice."""

    def __init__(self) -> None:
        # Files only once they fill: most logs are small, and 64 files for each would be felt.
        self._files = [
            tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - as above
            for _ in range(_PARTITIONS)
        ]

    def close(self) -> None:
        for file in self._files:
            file.close()

    def add(self, platform: str, ref: str, index: int) -> None:
        # Neither holds a newline, so no two pairs are spelled alike.
        digest = sha256(f"{platform}\n{ref}".encode()).digest()[:_DIGEST_BYTES]
        self._files[digest[0] % _PARTITIONS].write(digest + index.to_bytes(8, "big"))

    def first_repeat(self) -> tuple[int, int] | None:
        """(first index, second index) of the earliest entry that repeats a ref, if any does."""
        repeats = [repeat for file in self._files if (repeat := _first_repeat(file)) is not None]
        return min(repeats, key=lambda repeat: repeat[1], default=None)


def _first_repeat(file: IO[bytes]) -> tuple[int, int] | None:
    file.seek(0)
    seen: dict[bytes, int] = {}
    while record := file.read(_DIGEST_BYTES + 8):
        digest, index = record[:_DIGEST_BYTES], int.from_bytes(record[_DIGEST_BYTES:], "big")
        if digest in seen:
            return seen[digest], index
        seen[digest] = index
    return None
