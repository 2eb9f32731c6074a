"""Going on with an audit that was interrupted, without trusting the log any more than before.

Every so many seconds, all that the rest of a walk needs is written to a directory of its own:
the tip, the books, and what is laid by on disk. It is bound to what was read, from where, under
which keys and by which version of the rules; and the log must prove that its signed root extends
the root reached then, before anything goes on from there. docs/operate.md, "Interrupted audits".
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec

from ledger.disk import replacing
from ledger.errors import SetupError
from ledger.goods import Stock, StockKey
from ledger.scratch import (
    DIGEST_BYTES,
    MOVEMENT_BYTES,
    LeafFile,
    MovementFile,
    RefFile,
)
from ledger.spans import Span
from ledger.state import Fund, Movement, Party, Position, Registration
from ledger.stocks import StockFile
from ledger.tlog.merkle import HASH_SIZE

WORTH_ENTRIES = 100_000  # fewer are read again in a few seconds
EVERY_S = 10.0
CHANGED_MAX = 20_000  # movements held in memory before they are written sooner


class Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A walk at `size` entries. heads: size and root of each checkpoint that it was under."""

    rules: str
    heads: list[tuple[int, bytes]]
    size: int
    prev: str
    recorded_at: str
    frontier: list[bytes]
    rows: list[list[bytes]]
    done: list[int]
    origin: str
    currencies: dict[str, int]
    parties: dict[str, Party]
    key_owners: dict[bytes, str]
    programmes: dict[str, Registration]
    funds: dict[str, Fund]
    positions: dict[str, Position]
    holes: dict[str, list[Span]]
    # Of what is laid by on disk, which `save` fills in:
    names: list[str] = []
    changed: dict[int, Movement] = {}
    refs: int = 0
    stocks: list[tuple[StockKey, Stock]] = []  # those that changed


class Scratch:
    """Where one walk lays by what it may need again; gone when it ends."""

    saved: Saved | None = None  # where an earlier walk was interrupted
    heads: Sequence[tuple[int, bytes]] = ()  # signed ones that were seen and not finished

    def __init__(self) -> None:
        self.movements, self.refs = MovementFile(), RefFile()
        self.leaves, self.stocks = LeafFile(), StockFile()

    def is_due(self) -> bool:
        """Whether it is time to `save`."""
        return False

    def save(self, state: Saved) -> None:
        raise AssertionError("nothing is kept here")

    def finish(self) -> None:
        """Say that the walk came to its end, so that nobody needs to go on with it."""

    def close(self) -> None:
        for file in (self.movements, self.refs, self.leaves, self.stocks):
            file.close()


class KeptScratch(Scratch):
    """A scratch in a directory of its own, where a later walk finds what this one left.

    from_scratch: go on from nothing; the heads that were seen are still to be extended.
    """

    def __init__(self, directory: Path, from_scratch: bool = False) -> None:
        """Raises SetupError when the directory cannot be used, or another audit is using it."""
        self._directory, self._path = directory, directory / "state"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _locked(directory / "lock")
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._take_up(_load(self._path), from_scratch)
        except OSError as error:
            os.close(self._lock)
            raise self._unusable(error) from error
        except SetupError:
            os.close(self._lock)
            raise
        self._saved_at = time.monotonic()

    def _take_up(self, found: Saved | None, from_scratch: bool) -> None:
        if found is not None:
            self.heads = found.heads
            if found.rules == rules_version() and not from_scratch:
                self.saved = found
            else:  # said before the files are emptied, or a later walk would go on with nothing
                found.rules = ""
                _replace(self._path, msgspec.msgpack.encode(found))
        self._open()

    def _open(self) -> None:
        """Open the files, cut to what is in the saved state: what lies beyond is newer."""
        names = ("movements", "refs", "leaves")
        movements, refs, leaves = (_open(self._directory / name) for name in names)
        stocks = self._directory / "stocks"
        saved = self.saved
        if saved is not None:
            _check_length(self._directory / "movements", saved.size * MOVEMENT_BYTES)
            _check_length(self._directory / "refs", saved.refs * DIGEST_BYTES)
            _check_length(self._directory / "leaves", saved.size * HASH_SIZE)
            _check_length(stocks, 1)
        else:
            stocks.unlink(missing_ok=True)
        self.movements = MovementFile(movements, saved.names if saved else ("",))
        self.refs = RefFile(refs)
        self.movements.flush(saved.size if saved else 0)
        self.movements.apply(saved.changed if saved else {})
        self.refs.truncate(saved.refs if saved else 0)
        self.leaves, self.stocks = LeafFile(leaves), StockFile(stocks)
        self.leaves.flush(saved.size if saved else 0)
        self.stocks.apply(dict(saved.stocks) if saved else {})

    def is_due(self) -> bool:
        waited = time.monotonic() - self._saved_at
        changed = len(self.movements.changed) + len(self.stocks.changed)
        return waited >= EVERY_S or changed >= CHANGED_MAX

    def save(self, state: Saved) -> None:
        try:
            self.movements.flush(state.size)
            state.refs = self.refs.flush()
            self.leaves.flush(state.size)
            self.stocks.flush()
            state.names, state.changed = self.movements.names, self.movements.changed
            state.stocks = list(self.stocks.changed.items())
            _replace(self._path, msgspec.msgpack.encode(state))
            # Only now: whoever goes on from the state does it again, should this be cut short.
            self.movements.apply(state.changed)
            self.stocks.apply(dict(state.stocks))
        except OSError as error:
            raise self._unusable(error) from error
        self._saved_at = time.monotonic()

    def finish(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def close(self) -> None:
        super().close()
        os.close(self._lock)

    def _unusable(self, error: OSError) -> SetupError:
        return SetupError(f"the audit cannot be kept in {self._directory}: {error}")


def directory_of(state: Path, location: str, vkeys: Iterable[str]) -> Path:
    """Where the audit of the log of these keys, which name its origin, read there, is kept."""
    identity = "\n".join((location, *sorted(vkeys)))
    return state / "audits" / sha256(identity.encode()).hexdigest()[:24]


@cache
def rules_version() -> str:
    """A digest of this software: whatever it is, another one begins from nothing."""
    digest = sha256()
    top = Path(__file__).parents[2]
    for package in ("ledger", "schemas"):
        for path in sorted((top / package).rglob("*.py")):
            digest.update(f"{path.relative_to(top)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise SetupError(f"another audit of this log is under way in {path.parent}") from error
    return lock


def _load(path: Path) -> Saved | None:
    """What was saved; None when nothing was, or by a version that saves something else."""
    if not path.exists():
        return None
    content = path.read_bytes()
    digest, data = content[:32], content[32:]
    if sha256(data).digest() != digest:
        raise _damaged(path)
    try:
        return msgspec.msgpack.decode(data, type=Saved)
    except msgspec.ValidationError:
        return None


def _check_length(path: Path, least: int) -> None:
    if path.stat().st_size < least:
        raise _damaged(path)


def _damaged(path: Path) -> SetupError:
    return SetupError(
        f"what an interrupted audit left in {path} is damaged; deleting {path.parent} means "
        "reading everything again, and forgetting which checkpoint it was under"
    )


def _open(path: Path) -> IO[bytes]:
    return path.open("r+b" if path.exists() else "w+b")


def _replace(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(sha256(data).digest() + data)
