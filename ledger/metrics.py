"""What Prometheus asks for: counters that all processes of a service share, and the log's state.

Each process writes to files of its own slot (prometheus_client's multiprocess mode), and whoever
is asked adds up the files. A process takes the first slot that nobody holds and goes on counting
where its last holder stopped: so nothing is lost with a process, and there are never more files
than there were processes at once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

_PREFIX = "amanah-metrics-"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_POSTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def labelled(kind: Any, name: str, said: str, *labels: str, **more: Any) -> Any:
            return kind(f"amanah_{name}", said, labels, registry=registry, **more)

        requests = labelled(
            Histogram,
            "request_seconds",
            "Requests, from the head to the answer.",
            *("method", "route", "status"),
            buckets=_SECONDS,
        )
        self._refusals = labelled(Counter, "refusals", "Answers that are problems.", "code")
        self._batch = labelled(
            Histogram, "seal_batch_posts", "Posts sealed by one transaction.", buckets=_POSTS
        )
        self._sealing = labelled(
            Histogram, "seal_seconds", "One transaction, with the wait for it.", buckets=_SECONDS
        )
        gauge = {"multiprocess_mode": "livesum"}
        self._waiting = labelled(Gauge, "waiting_posts", "Posts that wait to be sealed.", **gauge)
        self._connections = labelled(Gauge, "connections", "Connections of clients.", **gauge)
        self._waiting.set(0)  # whatever a process that was killed has left in this slot
        self._connections.set(0)
        # `labels` costs more than to count, and there are few of them.
        self._requests = _Kept(requests.labels)

    def answered(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        """Count an answer. route: the pattern of the path; code: of a problem, or empty."""
        self._requests[method, route, status].observe(seconds)
        if code:
            self._refusals.labels(code).inc()

    def refused(self, code: str) -> None:
        """Count what was refused before it was a request."""
        self._refusals.labels(code).inc()

    def sealing(self, posts: int) -> None:
        self._waiting.set(posts)

    def sealed(self, posts: int, seconds: float) -> None:
        self._waiting.set(0)
        self._batch.observe(posts)
        self._sealing.observe(seconds)

    def connections(self, held: int) -> None:
        self._connections.set(held)


class _Kept(dict[tuple[str | int, ...], Any]):
    def __init__(self, make: Callable[..., Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, labels: tuple[str | int, ...]) -> Any:
        child = self[labels] = self._make(*labels)
        return child


# -- the directory that processes share


def make_directory() -> Path:
    """An empty directory for one service; those of services that ended are removed.

    In memory where that can be told: each count is a write to it.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the name is made up by mkdtemp
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else tempfile.gettempdir()
    for old in Path(parent).glob(f"{_PREFIX}*"):
        if (held := _hold(old)) is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(held)
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Until the last process of this service has ended: workers have the lock by being forked.
        # Another service that clears up at this moment may have been quicker.
        if _hold(directory) is not None and directory.exists():
            return directory


def count_in(directory: Path) -> None:
    """Let this process write what it counts to `directory`, in a slot that is its own."""
    for slot in count():
        path = directory / f"slot-{slot}"
        path.touch()
        if _hold(path) is not None:
            break
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def _hold(path: Path) -> int | None:
    """Lock `path` until this process ends, or None when somebody else has."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None  # of another user, or just gone
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


# -- what is read when somebody asks


class State:
    """The state of the log, read from the store at the moment somebody asks."""

    def __init__(self, database: Path, tip: Callable[[], tuple[int, str]]) -> None:
        """tip: gives the size of the log and the time of its last entry."""
        self._database, self._tip = database, tip

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        size, recorded_at = self._tip()
        age_s = time.time() - datetime.fromisoformat(recorded_at).timestamp()
        write_ahead = self._database.with_name(f"{self._database.name}-wal")
        for name, said, value in (
            ("log_size", "Entries of the log.", size),
            ("checkpoint_age_seconds", "Since the newest checkpoint was signed.", age_s),
            ("database_bytes", "Of the database.", _size_of(self._database)),
            ("write_ahead_log_bytes", "Of SQLite's write-ahead log.", _size_of(write_ahead)),
        ):
            yield GaugeMetricFamily(f"amanah_{name}", said, value=value)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def everything(directory: Path, state: State) -> CollectorRegistry:
    """What all processes that count in `directory` have counted, and `state`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    registry.register(state)
    return registry
