"""The lines over HTTP: the ledger and a Flask application that does nothing take turns."""

from __future__ import annotations

import os
import sqlite3
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench.clients import PROCESSES_MAX, Clients, Load
from bench.lines import Line
from bench.load import get, posts
from bench.making import PLATFORM, truncate_wal
from bench.rows import SINGLE_COMMITS, RawTables, rows_of
from bench.scale import CROWD, Scale
from bench.servers import ledger_command, noop_command, serving
from ledger.service import Ledger
from ledger.tlog.tile import TILE_WIDTH, Tile, bundle_path

# Prepared for each second: more than is sent. A faster machine ends its turn early.
POSTS_EACH_S = 12_000
BATCHES_EACH_S = 80
READ_CLIENTS = 32
RAW_COMMITS = 20  # of a large post each, in each turn
GAIN = 1.1  # what more client processes must bring before they count as needed

Curve = dict[str, list[dict[str, Any]]]  # {"ours" or "noop": [{"clients", "rate", ...}]}


class OverHttp:
    """A ledger being filled, the two servers, and the processes that load them."""

    def __init__(self, folder: Path, ledger: Ledger, clients: Clients, scale: Scale) -> None:
        self.ledger, self.scale, self.clients = ledger, scale, clients
        self.key = ledger.create_key(PLATFORM).key
        self.raw = RawTables(folder / "raw.db")
        self._folder = folder
        self.noop_port = self.ledger_port = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        database = self.ledger.store.paths.database
        with (
            closing(self.raw),
            serving(noop_command, "/ok", database, self._folder / "noop-log") as self.noop_port,
            serving(
                ledger_command, "/readyz", database, self._folder / "ledger-log"
            ) as self.ledger_port,
        ):
            yield

    def _posts(self, connections: int) -> list[bytes]:
        share = 4 if connections == 1 else 1  # one client alone sends less
        return posts(self.key, int(self.scale.seconds * POSTS_EACH_S / share), 1)

    def _load(self, port: int, requests: Sequence[bytes], connections: int) -> Load:
        return self.clients.load(port, requests, connections, self.scale.seconds)

    def _turns(self, connections: int, requests: Callable[[], list[bytes]]) -> tuple[Load, Load]:
        """The no-op and the ledger on the same requests, fresh in each turn; their medians."""
        noop: list[Load] = []
        ours: list[Load] = []
        for _ in range(self.scale.turns):
            prepared = requests()
            for port, loads in ((self.noop_port, noop), (self.ledger_port, ours)):
                loads.append(self._load(port, prepared, connections))
        return Load.median(noop), Load.median(ours)

    # -- those who ask

    def choose_clients(self) -> dict[str, dict[str, float]]:
        """Take as many client processes as it needs until more bring nothing.

        What each number brought: {"1": {"noop": requests/s, "ours": requests/s}, ...}.
        """
        self._load(self.ledger_port, self._posts(CROWD)[::8], CROWD)  # to warm up
        seen: dict[str, dict[str, float]] = {}
        best, processes = None, 1
        while True:
            self.clients.processes = processes
            noop, ours = self._turns(CROWD, lambda: self._posts(CROWD))
            seen[str(processes)] = {"noop": noop.rate, "ours": ours.rate}
            if best and not _is_gain(best, (noop, ours)):
                self.clients.processes = processes // 2
                return seen
            best = (noop, ours)
            if processes * 2 > min(PROCESSES_MAX, os.cpu_count() or 1):
                return seen
            processes *= 2

    # -- single posts

    def posting(self) -> tuple[list[Line], Curve]:
        """The lines of single posts, and the curve over the number of clients."""
        loads = {n: self._turns(n, lambda n=n: self._posts(n)) for n in self.scale.connections}  # type: ignore[misc]
        curve: Curve = {
            name: [{"clients": n} | pair[side]._asdict() for n, pair in loads.items()]
            for side, name in enumerate(("noop", "ours"))
        }
        return [*_crowd_lines(*loads[CROWD]), self._alone_line(*loads[1])], curve

    def _alone_line(self, noop: Load, ours: Load) -> Line:
        size = self.ledger.store.size()
        start = max(size - SINGLE_COMMITS, 0)
        commit_ms = self.raw.single_commit_ms(start, self.ledger.store.entries(start, size))
        return Line(
            "single POST, 1 client, p50",
            "ms",
            ours.p50_ms,
            "ms no-op POST + commit",
            noop.p50_ms + commit_ms,
            ("ratio <= 1.5",),
            f"the commit of the same row, by itself, took {commit_ms:.2f} ms",
        )

    # -- large posts

    def batches(self) -> Line:
        ours, raw = [], []
        batch = self.scale.batch
        for _ in range(self.scale.turns):
            start = self.ledger.store.size()
            prepared = posts(self.key, max(2, int(self.scale.seconds * BATCHES_EACH_S)), batch)
            ours.append(self._load(self.ledger_port, prepared, 2).rate * batch)
            end = min(self.ledger.store.size(), start + RAW_COMMITS * batch)
            commits = [
                rows_of(first, self.ledger.store.entries(first, first + batch))
                for first in range(start, end, batch)
            ]
            raw.append(self.raw.insert(commits))
        return Line(
            f"batch POST of {batch:,}, 2 clients",
            "entries/s",
            statistics.median(ours),
            "entries/s executemany",
            statistics.median(raw),
            ("ratio >= 0.40", "figure >= 20000"),
            "executemany writes the same rows into the same tables, without HTTP, without "
            "reading, hashing, books or signature",
        )

    # -- reads

    def reading(self) -> list[Line]:
        store = self.ledger.store
        size = store.size()
        receipts = [get(f"/v1/entries/{i * 7919 % size}/receipt") for i in range(1_000)]
        full = list(range(min(size // TILE_WIDTH, 100)))
        tiles = [get(f"/{Tile(0, i, TILE_WIDTH).path()}") for i in full]
        bundles = [get(f"/{bundle_path(i, TILE_WIDTH)}") for i in full]
        # The median bundle: they differ by a few bytes, the oldest by more.
        length = statistics.median_low([len(store.bundle(i, TILE_WIDTH)) for i in full])
        return [
            self._read("receipt GET", receipts, "/ok", "ratio >= 0.60"),
            self._read("tile GET", tiles, f"/bytes/{TILE_WIDTH * 32}", "ratio >= 0.70"),
            self._read("bundle GET", bundles, f"/bytes/{length}", "ratio >= 0.70"),
        ]

    def _read(self, what: str, requests: list[bytes], noop_path: str, target: str) -> Line:
        noop: list[Load] = []
        ours: list[Load] = []
        for _ in range(self.scale.turns):
            for port, sent, loads in (
                (self.noop_port, [get(noop_path)], noop),
                (self.ledger_port, requests, ours),
            ):
                loads.append(
                    self.clients.load(port, sent, READ_CLIENTS, self.scale.seconds, again=True)
                )
        limit, figure = Load.median(noop).rate, Load.median(ours).rate
        name = f"{what}, {READ_CLIENTS} clients"
        note = "the no-op answers as many bytes" if noop_path != "/ok" else ""
        return Line(name, "req/s", figure, "req/s no-op GET", limit, (target,), note)

    # -- posts while somebody reads

    def with_readers(self) -> list[Line]:
        """Single posts while a client streams the log and a read transaction stays open."""
        runs: dict[str, list[Load]] = {"noop": [], "alone": [], "read": []}
        wal_bytes: dict[str, list[int]] = {"alone": [], "read": []}
        for _ in range(self.scale.turns):
            prepared = self._posts(CROWD)
            truncate_wal(self.ledger.store.paths)
            runs["alone"].append(self._load(self.ledger_port, prepared, CROWD))
            wal_bytes["alone"].append(self._wal_bytes())
            truncate_wal(self.ledger.store.paths)
            with self._long_readers():
                load = self._load(self.ledger_port, self._posts(CROWD), CROWD)
                runs["read"].append(load)
                wal_bytes["read"].append(self._wal_bytes())
            with self._long_readers():
                runs["noop"].append(self._load(self.noop_port, prepared, CROWD))
        noop, alone, read = (Load.median(loads) for loads in runs.values())
        return _reader_lines(noop, alone, read, wal_bytes)

    @contextmanager
    def _long_readers(self) -> Iterator[None]:
        database = self.ledger.store.paths.database
        bundles = range(self.ledger.store.size() // TILE_WIDTH)
        stream = [get(f"/{bundle_path(i, TILE_WIDTH)}") for i in bundles]
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT size FROM head").fetchall()  # from here on it holds
            streaming = self.clients.begin(self.ledger_port, stream, self.scale.seconds)
            yield
            streaming.result()

    def _wal_bytes(self) -> int:
        database = self.ledger.store.paths.database
        return database.with_name(f"{database.name}-wal").stat().st_size


def _is_gain(before: tuple[Load, Load], after: tuple[Load, Load]) -> bool:
    """Whether one side got more answers, and not at the cost of the other."""
    gains = [b.rate / a.rate for a, b in zip(before, after, strict=True)]
    return max(gains) > GAIN and min(gains) > 1 / GAIN


def _crowd_lines(noop: Load, ours: Load) -> list[Line]:
    return [
        Line(
            f"single POST, {CROWD} clients",
            "req/s",
            ours.rate,
            "req/s no-op POST",
            noop.rate,
            ("ratio >= 1.8",),
            "the no-op is Flask on gunicorn, 2 processes of 16 threads; it reads the same JSON, "
            "answers 201 and does nothing else",
        ),
        Line(
            f"single POST, {CROWD} clients, p99",
            "ms",
            ours.p99_ms,
            "ms no-op POST",
            noop.p99_ms,
            ("figure < 40",),
        ),
    ]


def _reader_lines(
    noop: Load, alone: Load, read: Load, wal_bytes: dict[str, list[int]]
) -> list[Line]:
    what = f"single POST, {CROWD} clients, long readers"
    note = (
        "one client streams every entry bundle, and one read transaction stays open; the no-op "
        "is loaded while the same client streams from the ledger"
    )
    wal: Any = {name: statistics.median(sizes) / 1e6 for name, sizes in wal_bytes.items()}
    return [
        Line(what, "req/s", read.rate, "req/s no-op POST", noop.rate, (), note),
        Line(f"{what}, p99", "ms", read.p99_ms, "ms without readers", alone.p99_ms),
        Line(
            "write-ahead log, long readers",
            "MB",
            wal["read"],
            "MB without readers",
            wal["alone"],
            (),
            "the file at the end of a turn that began with an empty one",
        ),
    ]
