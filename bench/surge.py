"""`python -m bench.surge`: far more clients than the ledger can serve, for some time.

Each posts one donation after another over a connection it keeps, and waits as long as a refusal
tells it to. Afterwards what was acknowledged must be in the log, and nothing else; a refusal must
be 429 or 503 with Retry-After; a connection may be refused, but none is cut off in an answer.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import resource
import secrets
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click
import psutil
import uvloop

from bench.load import FUNDS
from bench.making import PLATFORM, create_ledger
from bench.servers import ROOT, ledger_command, serving
from ledger.audit import Known, audit
from ledger.service import Ledger
from ledger.tlog.policy import Policy

CONNECT_S = 30.0  # a kernel that has no room answers late
PATIENCE_S = 60.0  # with one answer


class Surge(NamedTuple):
    """What the clients saw. acknowledged: refs. statuses: how often each was answered.

    faults: what may not happen. waits_s: of those that were admitted, sorted.
    """

    acknowledged: set[str]
    statuses: dict[int, int]
    faults: list[str]
    waits_s: list[float]

    def wait_ms(self, part: float) -> float:
        """How long all but the slowest of the admitted waited; `part` 0.5 is the median."""
        return self.waits_s[int(len(self.waits_s) * part)] * 1e3


class _Crowd:
    def __init__(self, port: int, key: str, seconds: float) -> None:
        self._port, self._key = port, key
        self._end = time.monotonic() + seconds
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        self.waits_s: list[float] = []

    async def client(self) -> None:
        while time.monotonic() < self._end:
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(random.random())  # noqa: S311 - to spread them
                continue
            try:
                await self._talk(reader, writer)
            except ConnectionError:
                pass  # closed while we sent, by a refusal that we had not read yet
            except (asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
                self.faults.append(repr(error))
            finally:
                writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Post until the connection is closed between two answers, or the time is up."""
        while time.monotonic() < self._end:
            ref = secrets.token_hex(16)
            sent_at = time.monotonic()
            writer.write(self._request(ref))
            async with asyncio.timeout(PATIENCE_S):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError as error:
                    if error.partial:
                        raise
                    return
                status, headers = _parse(head)
                await reader.readexactly(int(headers["content-length"]))
            self._note(ref, status, headers, time.monotonic() - sent_at)
            if status in (429, 503) and "retry-after" in headers:
                await asyncio.sleep(int(headers["retry-after"]) * (1 + random.random()))  # noqa: S311
            if headers.get("connection") == "close":
                return

    def _note(self, ref: str, status: int, headers: dict[str, str], wait_s: float) -> None:
        self.statuses[status] += 1
        if status == 201:
            self.acknowledged.add(ref)
            self.waits_s.append(wait_s)
        elif status not in (429, 503):
            self.faults.append(f"status {status}")
        elif "retry-after" not in headers:
            self.faults.append(f"{status} without Retry-After")

    def _request(self, ref: str) -> bytes:
        statement = {"type": "donation", "ref": ref, "fund": f"fund-{len(ref) % FUNDS}"}
        statement |= {"amount": "100000.50", "currency": "IDR"}
        statement |= {"occurred_at": "2026-01-05T09:00:00+07:00"}
        body = json.dumps({"statement": statement})
        head = (
            f"POST /v1/entries HTTP/1.1\r\nHost: surge\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ")[::2] for line in lines if line)
    return int(first.split()[1]), {name.lower(): value for name, value in pairs}


def surge(port: int, key: str, clients: int, seconds: float) -> Surge:
    """Let so many clients post to 127.0.0.1:`port` until the time is up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, clients + 100)), hard))
    crowd = _Crowd(port, key, seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(crowd.client() for _ in range(clients)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_them())
    waits_s = sorted(crowd.waits_s)
    return Surge(crowd.acknowledged, dict(crowd.statuses), crowd.faults, waits_s)


def missing(ledger: Ledger, seen: Surge, size_before: int) -> list[str]:
    """What is wrong with the log after `seen`, which began at a size of `size_before`."""
    found = [ref for ref in seen.acknowledged if ledger.store.index_of_ref(PLATFORM, ref) is None]
    wrong = [f"{len(found)} acknowledged posts are not in the log"] if found else []
    added = ledger.store.size() - size_before
    if added != len(seen.acknowledged):
        wrong.append(f"{added} entries for {len(seen.acknowledged)} acknowledged posts")
    policy = Policy.for_key(ledger.vkeys[0])
    report = audit(ledger.store, policy, [Known(*head) for head in ledger.store.heads()])
    return wrong if report.is_sound else [*wrong, "the audit does not understand the log"]


def memory_mib() -> list[int]:
    """Resident memory of each process that serves, below this one."""
    serving_ones = psutil.Process().children(recursive=True)
    sizes = (p.memory_info().rss for p in serving_ones if "ledger.asgi" in " ".join(p.cmdline()))
    return [size >> 20 for size in sizes]


@click.command()
@click.option("--seconds", default=300.0, show_default=True)
@click.option("--clients", default=2_500, show_default=True)
def main(seconds: float, clients: int) -> None:
    """Post with more clients than can be served, and check that nothing acknowledged is lost."""
    var = ROOT / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="surge-", dir=var) as name:
        folder = Path(name)
        with (
            closing(create_ledger(folder / "ledger.db")) as ledger,
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
            serving(ledger_command, "/readyz", ledger.store.paths.database, folder / "log") as port,
        ):
            key = ledger.create_key(PLATFORM).key
            pool.submit(surge, port, key, clients, 2.0).result()  # to warm up
            before, size = memory_mib(), ledger.store.size()
            seen = pool.submit(surge, port, key, clients, seconds).result()
            after = memory_mib()
            wrong = [*missing(ledger, seen, size), *map(str, Counter(seen.faults).items())]
    click.echo(f"{clients} clients, {seconds:.0f} s: answers by status {seen.statuses}")
    click.echo(f"admitted: p50 {seen.wait_ms(0.5):.0f} ms, p99 {seen.wait_ms(0.99):.0f} ms")
    click.echo(f"memory of the processes, MiB: {before} before, {after} after")
    click.echo("; ".join(wrong) or "nothing acknowledged was lost, and the log is sound")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
