"""The stock of all goods on disk, for an auditor whose memory does not grow with the log.

Items are free texts, so there may be as many stocks as entries. They stand in a file of slots,
each found by the digest of its key: open addressing, never more than half full.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import IO

from ledger.goods import Stock, StockKey

_SLOT = struct.Struct("<16s4q")  # digest of the key, then the stock; n is 0 where none stands
_DIGEST_BYTES = 16
_SLOTS_LEAST = 1_024
_READ_AT_ONCE = 64  # slots
_HELD = 4_096  # in memory, before they are written at once


class StockFile(MutableMapping[StockKey, Stock]):
    """StockKey -> Stock. path: of a file that only `apply` changes, and where `changed` is for
    the caller to bound; if not given, a temporary one. It tells no keys, only their stocks."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.changed: dict[StockKey, Stock] = {}  # newer than what the file holds
        if path is not None and path.exists():
            self._file: IO[bytes] = path.open("r+b")
            self._slots = os.fstat(self._file.fileno()).st_size // _SLOT.size
            self._used = sum(1 for _ in self._records())
        else:
            self._file, self._slots, self._used = self._new(_SLOTS_LEAST), _SLOTS_LEAST, 0
            self._put_in_place()

    def close(self) -> None:
        self._file.close()

    def flush(self) -> None:
        """Have what was applied on disk."""
        os.fsync(self._file.fileno())

    def apply(self, changed: Mapping[StockKey, Stock]) -> None:
        """Bring what was `changed` to the file. Done again after it was cut short, it is done."""
        slots = self._slots
        while 2 * (self._used + len(changed)) > slots:
            slots *= 2
        if slots > self._slots:
            self._grow(slots)
        self._write((_digest(key), stock) for key, stock in changed.items())
        self.changed = {}

    def _new(self, slots: int) -> IO[bytes]:
        file: IO[bytes]
        if self._path is None:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - as above
        else:
            file = self._draft().open("w+b")
        file.truncate(slots * _SLOT.size)
        return file

    def _draft(self) -> Path:
        assert self._path is not None, "a temporary file has no name"
        return self._path.with_name(f"{self._path.name}.new")

    def _put_in_place(self) -> None:
        if self._path is not None:
            os.fsync(self._file.fileno())
            self._draft().replace(self._path)

    def _grow(self, slots: int) -> None:
        old, records = self._file, list[tuple[bytes, Stock]]()
        stored = self._records()
        self._file, self._slots, self._used = self._new(slots), slots, 0
        for record in stored:
            records.append(record)
            if len(records) >= _HELD:
                self._write(records)
                records = []
        self._write(records)
        self._put_in_place()
        old.close()

    def _records(self) -> Iterator[tuple[bytes, Stock]]:
        """(digest, stock) of every slot in use, of the file as it is when this is called."""
        file, slots = self._file, self._slots
        return (
            (digest, Stock(*stock))
            for start in range(0, slots, _READ_AT_ONCE)
            for digest, *stock in _read(file, start, min(_READ_AT_ONCE, slots - start))
            if stock[0]
        )

    def _write(self, records: Iterable[tuple[bytes, Stock]]) -> None:
        for digest, stock in records:
            slot, found = self._find(digest)
            self._used += found is None
            os.pwrite(self._file.fileno(), _SLOT.pack(digest, *stock), slot * _SLOT.size)

    def _find(self, digest: bytes) -> tuple[int, Stock | None]:
        """The slot where this digest stands, or would, and what stands there."""
        start = int.from_bytes(digest[:8], "big") % self._slots
        while True:
            width = min(_READ_AT_ONCE, self._slots - start)
            for slot, (its, *stock) in enumerate(_read(self._file, start, width), start):
                if not stock[0]:
                    return slot, None
                if its == digest:
                    return slot, Stock(*stock)
            start = (start + width) % self._slots

    def __getitem__(self, key: StockKey) -> Stock:
        stock = self.changed.get(key) or self._find(_digest(key))[1]
        if stock is None:
            raise KeyError(key)
        return stock

    def __setitem__(self, key: StockKey, stock: Stock) -> None:
        self.changed[key] = stock
        if self._path is None and len(self.changed) >= _HELD:
            self.apply(self.changed)

    def __delitem__(self, key: StockKey) -> None:
        raise AssertionError("a log forgets nothing")

    def __iter__(self) -> Iterator[StockKey]:
        raise AssertionError("the keys are not kept")

    def __len__(self) -> int:
        new = sum(1 for key in self.changed if self._find(_digest(key))[1] is None)
        return self._used + new


def _read(file: IO[bytes], start: int, width: int) -> Iterator[tuple[bytes, int, int, int, int]]:
    return _SLOT.iter_unpack(os.pread(file.fileno(), width * _SLOT.size, start * _SLOT.size))


def _digest(key: StockKey) -> bytes:
    # No text holds a newline, so no two keys are spelled alike.
    return sha256("\n".join(key).encode()).digest()[:_DIGEST_BYTES]
