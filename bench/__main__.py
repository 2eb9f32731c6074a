"""`python -m bench`: one table of what the ledger does here, and the same in var/bench.json.

Yardstick and ledger take turns, and the medians of three turns count. A missed target is only
said; a ledger that does not pass its audit afterwards ends with exit code 1.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from bench.load import FUNDS, Load, get, load, posts
from bench.rows import SINGLE_COMMITS, RawTables, rows_of
from bench.servers import ROOT, ledger_command, noop_command, serving
from ledger.audit import Known, audit
from ledger.errors import LedgerError
from ledger.service import Ledger
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_WIDTH

TURNS = 3
BATCH = 1_000
PLATFORM = "kita"
# Prepared for each second: more than is sent. A faster machine ends its turn early.
POSTS_EACH_S = 12_000
BATCHES_EACH_S = 80
READ_CLIENTS = 32
RAW_COMMITS = 20  # of 1,000 entries each, in each turn
PROOFS = 2_000
SMALL_TREE = 1_000  # entries


class Line(NamedTuple):
    """One line of the table. ratio: figure / limit; targets: "ratio >= 1.8", "figure < 40"."""

    what: str
    unit: str
    figure: float
    limit_is: str
    limit: float | None
    targets: tuple[str, ...]

    @property
    def ratio(self) -> float | None:
        return None if self.limit is None else self.figure / self.limit

    @property
    def is_met(self) -> bool:
        return all(map(self._meets, self.targets))

    def _meets(self, target: str) -> bool:
        which, sign, bound = target.split()
        value = self.ratio if which == "ratio" else self.figure
        assert value is not None, "a ratio is only aimed at where there is a limit"
        compare = {">=": value >= float(bound), "<=": value <= float(bound)}
        return {**compare, "<": value < float(bound)}[sign]

    def as_json(self) -> dict[str, object]:
        return self._asdict() | {"ratio": self.ratio, "is_met": self.is_met}


class Bench:
    """A ledger being filled, the two servers, and the process that loads them."""

    def __init__(self, folder: Path, ledger: Ledger, seconds: float) -> None:
        self.ledger, self.seconds = ledger, seconds
        self.key = ledger.create_key(PLATFORM).key
        self.raw = RawTables(folder / "raw.db")
        self.noop_port = self.ledger_port = 0
        # Spawned, not forked: nothing that is open here is open there.
        self.client = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    @contextmanager
    def serving(self, folder: Path) -> Iterator[None]:
        database = self.ledger.store.paths.database
        with (
            closing(self.raw),
            self.client,
            serving(noop_command, "/ok", database, folder / "noop-log") as self.noop_port,
            serving(ledger_command, "/readyz", database, folder / "ledger-log") as self.ledger_port,
        ):
            yield

    def load(self, port: int, requests: Sequence[bytes], clients: int, again: bool) -> Load:
        return self.client.submit(load, port, requests, clients, self.seconds, again).result()

    def take_turns(self, clients: int, requests: Callable[[], list[bytes]]) -> tuple[Load, Load]:
        """The yardstick and the ledger on the same requests, fresh in each turn."""
        noop, ours = [], []
        for _ in range(TURNS):
            prepared = requests()
            noop.append(self.load(self.noop_port, prepared, clients, again=False))
            ours.append(self.load(self.ledger_port, prepared, clients, again=False))
        return Load.median(noop), Load.median(ours)

    # -- lines

    def posting(self) -> list[Line]:
        count = int(self.seconds * POSTS_EACH_S)
        self.load(self.ledger_port, posts(self.key, count // 8, 1), 64, again=False)  # to warm up
        noop, ours = self.take_turns(64, lambda: posts(self.key, count, 1))
        alone_noop, alone = self.take_turns(1, lambda: posts(self.key, count // 4, 1))
        size = self.ledger.store.size()
        start = max(size - SINGLE_COMMITS, 0)
        commit_ms = self.raw.single_commit_ms(start, self.ledger.store.entries(start, size))
        return [
            Line(
                "single POST, 64 clients",
                "req/s",
                ours.rate,
                "no-op POST",
                noop.rate,
                ("ratio >= 1.8",),
            ),
            Line("  the same, p99", "ms", ours.p99_ms, "no-op POST", noop.p99_ms, ("figure < 40",)),
            Line(
                "single POST, 1 client, p50",
                "ms",
                alone.p50_ms,
                "no-op + commit",
                alone_noop.p50_ms + commit_ms,
                ("ratio <= 1.5",),
            ),
        ]

    def batches(self) -> Line:
        ours, raw = [], []
        for _ in range(TURNS):
            start = self.ledger.store.size()
            prepared = posts(self.key, int(self.seconds * BATCHES_EACH_S), BATCH)
            ours.append(self.load(self.ledger_port, prepared, 2, again=False).rate * BATCH)
            end = min(self.ledger.store.size(), start + RAW_COMMITS * BATCH)
            commits = [
                rows_of(first, self.ledger.store.entries(first, first + BATCH))
                for first in range(start, end, BATCH)
            ]
            raw.append(self.raw.insert(commits))
        return Line(
            "batches of 1,000, 2 clients",
            "entries/s",
            statistics.median(ours),
            "executemany",
            statistics.median(raw),
            ("ratio >= 0.40", "figure >= 20000"),
        )

    def reading(self) -> list[Line]:
        size = self.ledger.store.size()
        receipts = [get(f"/v1/entries/{i * 7919 % size}/receipt") for i in range(1_000)]
        count = min(size // TILE_WIDTH, 100)
        tiles = [get(f"/tile/0/{i:03}") for i in range(count)]
        bundles = [get(f"/tile/entries/{i:03}") for i in range(count)]
        # The median bundle: they differ by a few bytes, the oldest by more.
        lengths = [len(self.ledger.store.bundle(i, TILE_WIDTH)) for i in range(count)]
        tile_bytes, bundle_bytes = TILE_WIDTH * 32, statistics.median_low(lengths)
        return [
            self._read("receipt GET, 32 clients", receipts, "/ok", "ratio >= 0.60"),
            self._read("tile GET, 32 clients", tiles, f"/bytes/{tile_bytes}", "ratio >= 0.70"),
            self._read(
                "bundle GET, 32 clients", bundles, f"/bytes/{bundle_bytes}", "ratio >= 0.70"
            ),
        ]

    def _read(self, what: str, requests: list[bytes], noop_path: str, target: str) -> Line:
        noop, ours = [], []
        for _ in range(TURNS):
            noop.append(self.load(self.noop_port, [get(noop_path)], READ_CLIENTS, again=True))
            ours.append(self.load(self.ledger_port, requests, READ_CLIENTS, again=True))
        limit = Load.median(noop).rate
        return Line(what, "req/s", Load.median(ours).rate, "no-op GET", limit, (target,))


# -- in process, when nobody writes any more


def auditing(ledger: Ledger) -> Line:
    """How fast the whole log is audited. Raises LedgerError when it is not sound."""
    store, policy = ledger.store, Policy.for_key(ledger.vkeys[0])
    size = store.size()
    entries = store.entries(0, size)
    ours, limit = [], []
    for _ in range(TURNS):
        limit.append(size / _hashing_seconds(entries))
        start = time.perf_counter()
        report = audit(store, policy, [Known(*head) for head in store.heads()])
        ours.append(size / (time.perf_counter() - start))
        assert report.is_sound, "this software understands what it has just written"
    targets = ("ratio >= 0.05", "figure >= 40000")
    figure, hashing = statistics.median(ours), statistics.median(limit)
    return Line("full audit, one core", "entries/s", figure, "hashlib", hashing, targets)


def _hashing_seconds(entries: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for data in entries:
        hashlib.sha256(b"\0" + data).digest()
    return time.perf_counter() - start


def on_disk(ledger: Ledger) -> Line:
    """What an entry takes on disk with its hashes and indexes, against its own bytes."""
    database = ledger.store.paths.database
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        count, own = connection.execute(
            "SELECT count(*), sum(length(bytes)) FROM entries"
        ).fetchone()
    figure = database.stat().st_size / count
    return Line("on disk, per entry", "bytes", figure, "its bytes", own / count, ("ratio <= 1.6",))


def proving(ledger: Ledger) -> Line:
    """An inclusion proof out of the whole tree, against one out of a small tree."""
    size = ledger.store.size()
    small, whole = [], []
    for _ in range(TURNS):
        small.append(_proof_us(ledger, min(SMALL_TREE, size)))
        whole.append(_proof_us(ledger, size))
    figure, limit = statistics.median(whole), statistics.median(small)
    what = f"inclusion proof of {size:,}, p50"
    return Line(what, "us", figure, "at 1,000", limit, ("ratio <= 3",))


def _proof_us(ledger: Ledger, size: int) -> float:
    waits = []
    for i in range(PROOFS):
        start = time.perf_counter()
        prove_inclusion(i * 7919 % size, size, ledger.store.nodes(size).node)
        waits.append((time.perf_counter() - start) * 1e6)
    return statistics.median(waits)


# -- the whole


def create_ledger(database: Path) -> Ledger:
    ledger = Ledger.create(database, "ledger.example/bench", "bench")
    ledger.register_platform(PLATFORM)
    fund: dict[str, object] = {
        "type": "fund",
        "title": "Fund",
        "owner": PLATFORM,
        "platforms": [PLATFORM],
    }
    fund |= {"currency": "IDR", "policy": {}, "status": "open"}
    ids = [f"fund-{i}" for i in range(FUNDS)]
    ledger.post(PLATFORM, [fund | {"ref": f"fund.{i}", "id": i} for i in ids])
    return ledger


def table(lines: Sequence[Line]) -> Iterator[str]:
    form = "{:<34} {:>9} {:<10} {:>9} {:<14} {:>6}  {:<30} {}"
    yield form.format("what", "figure", "", "limit", "", "ratio", "target", "met")
    for line in lines:
        limit, ratio = (
            ("", "") if line.limit is None else (_number(line.limit), f"{line.ratio:.2f}")
        )
        figure, target = _number(line.figure), ", ".join(line.targets)
        met = "yes" if line.is_met else "NO"
        yield form.format(line.what, figure, line.unit, limit, line.limit_is, ratio, target, met)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


@click.command()
@click.option("--seconds", default=1.5, show_default=True, help="How long each turn lasts.")
def main(seconds: float) -> None:
    """Measure the ledger on this machine, in less than two minutes unless told otherwise."""
    var = ROOT / "var"
    var.mkdir(exist_ok=True)
    busy = os.getloadavg()[0]
    # Not where temporary files usually go: that may be memory, where a commit costs nothing.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=var) as name:
        folder = Path(name)
        ledger = create_ledger(folder / "ledger.db")
        with closing(ledger):
            bench = Bench(folder, ledger, seconds)
            with bench.serving(folder):
                lines = [*bench.posting(), bench.batches(), *bench.reading()]
            lines += [on_disk(ledger), proving(ledger)]
            size, problem = ledger.store.size(), ""
            try:
                lines.append(auditing(ledger))
            except LedgerError as error:
                problem = str(error)
    for row in table(lines):
        click.echo(row)
    verdict = "is sound" if not problem else f"IS NOT SOUND: {problem}"
    click.echo(f"The ledger of {size:,} entries that this filled {verdict}")
    click.echo(f"{os.cpu_count()} processors, load {busy:.1f} before; only an idle machine tells")
    document = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_before": busy,
        "seconds_each_turn": seconds,
        "entries": size,
        "is_sound": not problem,
        "lines": [line.as_json() for line in lines],
    }
    (var / "bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    sys.exit(bool(problem))


if __name__ == "__main__":
    main()
