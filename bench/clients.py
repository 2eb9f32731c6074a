"""Those who load the servers: a few processes apart, so that what they cost is their own."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import NamedTuple

from bench.load import Run, load

PROCESSES_MAX = 4


class Load(NamedTuple):
    """What one run saw. rate: answers a second; p50_ms, p99_ms: waited for one."""

    rate: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Load:
        """Of all the processes that took part."""
        waits = sorted(wait for run in runs for wait in run.waits_s)
        p50, p99 = (waits[int(len(waits) * part)] * 1e3 for part in (0.5, 0.99))
        return cls(len(waits) / max(run.elapsed_s for run in runs), p50, p99)

    @classmethod
    def median(cls, loads: Sequence[Load]) -> Load:
        """Of each figure by itself."""
        return cls(*map(statistics.median, zip(*loads, strict=True)))


class Clients:
    """A number of processes that send requests. Each is one thread with an event loop."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        # Spawned, not forked: nothing that is open here is open there.
        self._pool = ProcessPoolExecutor(PROCESSES_MAX, multiprocessing.get_context("spawn"))
        # Started now: else the first run would time the start of some of them.
        list(self._pool.map(time.sleep, [0.5] * PROCESSES_MAX))

    def close(self) -> None:
        self._pool.shutdown()

    def load(
        self,
        port: int,
        requests: Sequence[bytes],
        connections: int,
        seconds: float,
        again: bool = False,
    ) -> Load:
        """Send `requests` by so many connections, each process its share of both."""
        processes = min(self.processes, connections)
        shares = [
            self._submit(
                port,
                requests if again else requests[i::processes],
                len(range(i, connections, processes)),
                seconds,
                again,
            )
            for i in range(processes)
        ]
        return Load.of([share.result() for share in shares])

    def begin(self, port: int, requests: Sequence[bytes], seconds: float) -> Future[Run]:
        """One connection of another process that sends `requests` again and again, meanwhile."""
        return self._submit(port, requests, 1, seconds, True)

    def _submit(
        self, port: int, requests: Sequence[bytes], connections: int, seconds: float, again: bool
    ) -> Future[Run]:
        return self._pool.submit(load, port, requests, connections, seconds, again)
