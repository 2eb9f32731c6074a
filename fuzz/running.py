"""A ledger of its own, a server on it, hostile requests, and what must hold afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil

from fuzz.hostile import hostile
from fuzz.sending import Outcome, fault_of_connection, misbehave, send_all, tricks
from ledger.audit import Known, audit
from ledger.demo import PARTNER, PLATFORM, statements
from ledger.service import Ledger
from ledger.tlog.policy import Policy
from tests.support import Server, running_server

THREADS, WORKERS = 4, 2
GROWTH_MAX_MB = 16  # of a worker, after the first quarter, which fills what is kept by design
PAUSE_S = 0.02
# uvicorn closes a connection whose next bytes are no HTTP, and only then hears of the answer to the
# request before them. Nobody is there to read it.
CLOSED = "RuntimeError: unable to perform operation on <TCPTransport closed=True"


class Result(NamedTuple):
    """seen: (kind, status and code) -> how often. growth_mb: of the worker that grew most."""

    seen: Counter[tuple[str, str]]
    faults: list[str]
    growth_mb: float


def run(database: Path, seed: int, count: int) -> Result:
    """Send `count` hostile requests to a new ledger at `database`."""
    with closing(demonstration(database)) as ledger:
        keys = {
            "owner": ledger.create_key(PLATFORM).key,
            "stranger": ledger.create_key("asing").key,
        }
        size = ledger.store.size()
        with running_server(database, WORKERS) as server:
            workers = _workers(server)
            first = _send(server, keys, seed, count // 4)
            before = {worker: _memory_mb(worker) for worker in workers}
            rest = _send(server, keys, seed + 1_000, count - count // 4)
            faults = [*first.faults, *rest.faults]
            if _workers(server) != workers:
                faults.append(f"a worker was lost: {workers}, then {_workers(server)}")
            if server.request("GET", "/readyz").status != 200:
                faults.append("the ledger is not ready any more")
            growth_mb = max(_memory_mb(w) - before[w] for w in _workers(server) & workers)
        faults += _faults_in_log(server)
        faults += _faults_of_ledger(ledger, size)
    if growth_mb > GROWTH_MAX_MB:
        faults.append(f"a worker grew by {growth_mb:.1f} MB")
    return Result(first.seen + rest.seen, faults, growth_mb)


def _send(server: Server, keys: dict[str, str], seed: int, count: int) -> Outcome:
    """Well-formed requests in several threads, and connections that misbehave beside them."""
    each = count // THREADS
    with ThreadPoolExecutor(THREADS + 1) as threads:
        calls = [
            threads.submit(send_all, server.url, keys, islice(hostile(seed + n), each))
            for n in range(THREADS)
        ]
        rounds = max(1, count // 2_000)
        calls.append(threads.submit(_misbehave, server.url, keys["owner"], rounds))
        outcomes = [call.result() for call in calls]
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    return Outcome(sum((outcome.seen for outcome in outcomes), Counter()), faults)


def _misbehave(url: str, key: str, rounds: int) -> Outcome:
    outcome = Outcome(Counter(), [])
    for _ in range(rounds):
        for name, parts in tricks(key).items():
            fault = fault_of_connection(misbehave(url, parts, PAUSE_S))
            outcome.seen["connection", name] += 1
            if fault is not None:
                outcome.faults.append(f"connection, {name}: {fault}")
    return outcome


def demonstration(database: Path) -> Ledger:
    """The worked example, sealed into a new ledger at `database`."""
    ledger = Ledger.create(database, "fuzz.example/ledger", "Operator of the fuzzing")
    for platform in (PLATFORM, PARTNER):
        ledger.register_platform(platform)
    for platform, statement in statements():
        ledger.post(platform, [statement])
    return ledger


def _workers(server: Server) -> set[int]:
    """The process ids of the workers, once all have been started."""
    while True:
        workers = {child.pid for child in psutil.Process(server.process.pid).children()}
        if len(workers) >= WORKERS:
            return workers
        time.sleep(0.1)


def _faults_in_log(server: Server) -> Iterator[str]:
    """What the log says of errors of ours, and the last line of every traceback."""
    in_traceback = False
    for line in server.log.read_text("utf-8", "replace").splitlines():
        if line.startswith("Traceback"):
            in_traceback = True
        elif in_traceback and not line.startswith(" "):
            in_traceback = False
            if not line.startswith(CLOSED):
                yield f"a traceback in the log: {line}"
        elif line.startswith("request "):
            yield f"the log says: {line}"


def _memory_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def _faults_of_ledger(ledger: Ledger, size: int) -> Iterator[str]:
    if ledger.store.size() != size:
        sealed = ledger.store.entries(size, ledger.store.size())
        yield f"{len(sealed)} entries were sealed, the first being {sealed[0]!r}"
    heads = [Known(*head) for head in ledger.store.heads()]
    if not audit(ledger.store, Policy.for_key(ledger.vkeys[0]), heads).is_sound:
        yield "the ledger does not pass its audit"
