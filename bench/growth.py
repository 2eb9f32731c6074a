"""A ledger that grows through its API, and what that does to it: rate, proofs, memory, bytes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import command
from bench.clients import Clients
from bench.inprocess import proof_us, proving
from bench.lines import Line
from bench.load import posts
from bench.making import PLATFORM, bytes_per_entry, copy_ledger, create_ledger
from bench.scale import Scale
from bench.servers import ledger_command, serving, start_seconds

POSTERS = 2
STRETCH = 20  # posts whose rate is taken together
PATIENCE_S = 600.0  # for one stretch, which ends when its posts do
LARGE = 1_000_000  # entries, of which each audit takes so long that one turn must do
Say = Callable[[str], None]


class Rung(NamedTuple):
    """What was seen at one size. entries_per_s: over the stretches since the rung before."""

    size: int
    entries_per_s: float
    proof_us: float
    bytes_per_entry: float
    own_bytes: float
    verify_mb: float
    verify_s: float


class Growth:
    """The growing ledger, and a copy of it that stays small, for the same work in turns."""

    def __init__(self, folder: Path, clients: Clients, scale: Scale, say: Say) -> None:
        self.folder, self.clients, self.scale, self.say = folder, clients, scale, say
        self.database, self.small = folder / "large.db", folder / "small.db"
        self.ledger = create_ledger(self.database)
        self.key = self.ledger.create_key(PLATFORM).key
        self.rungs: list[Rung] = []

    def close(self) -> None:
        self.ledger.close()

    @contextmanager
    def _serving(self, database: Path) -> Iterator[int]:
        log = database.with_suffix(".log")
        with serving(ledger_command, "/readyz", database, log) as port:
            yield port

    def _fill(self, port: int, count: int) -> float:
        """Post so many batches by two clients; entries a second."""
        prepared = posts(self.key, count, self.scale.batch)
        load = self.clients.load(port, prepared, POSTERS, PATIENCE_S)
        return load.rate * self.scale.batch

    def grow(self) -> None:
        """Fill the ledger rung by rung, and look at it on each."""
        with self._serving(self.database) as port:
            for size in self.scale.rungs:
                rates = []
                while (missing := size - self.ledger.store.size()) > 0:
                    count = min(STRETCH, -(-missing // self.scale.batch))
                    rates.append(self._fill(port, count))
                self.rungs.append(self._look(statistics.median(rates)))
                if size == self.scale.small:
                    copy_ledger(self.database, self.small)

    def _look(self, rate: float) -> Rung:
        store = self.ledger.store
        size = store.size()
        disk, own = bytes_per_entry(store.paths)
        ran = self.verify(self.database)
        proof = proof_us(self.ledger, size, self.scale.proofs)
        self.say(f"grown to {size:,} entries: {rate:,.0f} entries/s")
        return Rung(size, rate, proof, disk, own, ran.memory_mb, ran.seconds)

    def verify(self, database: Path, *options: str) -> command.Ran:
        """`amanah verify` by the ledger's own key. Raises RuntimeError when it is not sound."""
        vkey = str(self.ledger.vkeys[0])
        arguments = ("verify", str(database), "--vkey", vkey, "--json", *options)
        return command.amanah(*arguments, database=database)

    def problems(self) -> list[str]:
        """What an audit of the ledgers says against them, in the end."""
        found = []
        for database in (self.database, self.small):
            try:
                self.verify(database)
            except RuntimeError as error:
                found.append(str(error))
        return found

    # -- lines, once it is grown

    def lines(self) -> Iterator[Line]:
        yield self._memory()
        yield self._cores()
        yield self._posting()
        yield proving(self.ledger, self.scale.turns, self.scale.proofs)
        yield self._starting()
        last = self.rungs[-1]
        yield Line(
            "on disk, per entry",
            "bytes",
            last.bytes_per_entry,
            "bytes of its own",
            last.own_bytes,
            ("ratio <= 1.6",),
            f"at {last.size:,} entries; hashes, tiles, refs and filters included",
        )
        yield self._backup()

    def _posting(self) -> Line:
        """Posting to the large ledger and to its small copy, in turns."""
        large, small = [], []
        size = self.ledger.store.size()
        with self._serving(self.database) as large_port, self._serving(self.small) as small_port:
            for _ in range(self.scale.turns):
                small.append(self._fill(small_port, STRETCH))
                large.append(self._fill(large_port, STRETCH))
        return Line(
            "batch POST, grown ledger",
            "entries/s",
            statistics.median(large),
            f"entries/s at {self.scale.small:,}",
            statistics.median(small),
            ("ratio >= 0.70",),
            f"at {size:,} entries; the ledger and a copy made when it was small take turns",
        )

    def _memory(self) -> Line:
        large, small = self.rungs[-1], self.rungs[self.scale.rungs.index(self.scale.small)]
        return Line(
            "audit memory, grown ledger",
            "MB",
            large.verify_mb,
            f"MB at {small.size:,}",
            small.verify_mb,
            ("ratio <= 1.3",),
            f"of {large.size:,} entries; the most that a whole `amanah verify` held at one moment, "
            "Python included",
        )

    def _cores(self) -> Line:
        """Two cores against one."""
        size = self.ledger.store.size()
        one, two = [], []
        for _ in range(self.scale.turns if size <= LARGE else 1):
            one.append(size / self.verify(self.database, "--workers", "1").seconds)
            two.append(size / self.verify(self.database, "--workers", "2").seconds)
        return Line(
            "full audit, two cores",
            "entries/s",
            statistics.median(two),
            "entries/s with one worker",
            statistics.median(one),
            ("ratio >= 1.6",),
            "a whole `amanah verify`, start of Python included",
        )

    def _starting(self) -> Line:
        large, empty = [], []
        new = self.folder / "empty.db"
        create_ledger(new).close()
        for _ in range(self.scale.starts):
            empty.append(start_seconds(new, self.folder / "empty.log"))
            large.append(start_seconds(self.database, self.folder / "start.log"))
        return Line(
            "start, grown ledger",
            "s",
            statistics.median(large),
            "s on an empty ledger",
            statistics.median(empty),
            ("ratio <= 1.5",),
            f"on {self.ledger.store.size():,} entries; from starting the process until /readyz "
            "answers 200",
        )

    def _backup(self) -> Line:
        """A backup of the large ledger, against copying as many bytes to disk."""
        ours, limit = [], []
        for turn in range(self.scale.turns):
            target = self.folder / f"backup-{turn}.db"
            start = time.perf_counter()
            command.amanah("backup", str(target), database=self.database)
            ours.append(time.perf_counter() - start)
            limit.append(_copy_seconds(target, self.folder / "copy"))
            target.unlink()
        size_mb = self.database.stat().st_size / 1e6
        return Line(
            "backup, grown ledger",
            "s",
            statistics.median(ours),
            "s plain copy, flushed",
            statistics.median(limit),
            (),
            f"of {size_mb:,.0f} MB, by `amanah backup`, which verifies every entry of the copy too",
        )


def _copy_seconds(source: Path, target: Path) -> float:
    """Copy a file and wait until it is on disk."""
    start = time.perf_counter()
    with closing(source.open("rb")) as old, closing(target.open("wb")) as new:
        while piece := old.read(1 << 20):
            new.write(piece)
        new.flush()
        os.fsync(new.fileno())
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds
