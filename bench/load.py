"""A load generator: connections that send prepared requests, one after another, for some time.

It runs in a process of its own, so that what it costs is not taken from whoever measures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import uvloop

PATIENCE_S = 60  # for answers that are under way when the time is up
FUNDS = 20


class Run(NamedTuple):
    """What one process saw. waits_s: how long each answer took, in no order."""

    elapsed_s: float
    waits_s: array[float]


# -- requests


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def posts(key: str, count: int, batch: int) -> list[bytes]:
    """`count` requests, each to post `batch` donations that nobody has posted before."""
    return [_post(key, range(i * batch, (i + 1) * batch)) for i in range(count)]


def _post(key: str, numbers: range) -> bytes:
    entries = [{"statement": donation(number)} for number in numbers]
    body = json.dumps(entries[0] if len(numbers) == 1 else {"entries": entries}).encode()
    head = (
        f"POST /v1/entries HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def donation(number: int) -> dict[str, object]:
    """A donation that nobody has posted before, to one fund after another."""
    return {
        "type": "donation",
        "ref": secrets.token_hex(16),  # in no order, which is the worst case for an index
        "fund": f"fund-{number % FUNDS}",
        "amount": "100000.50",
        "currency": "IDR",
        "occurred_at": "2026-01-05T09:00:00+07:00",
        "fees": [{"kind": "platform", "amount": "500"}],
        "channel": "qris",
        "donor": {"kind": "individual"},
    }


# -- the run


def load(port: int, requests: Sequence[bytes], clients: int, seconds: float, again: bool) -> Run:
    """Send `requests` by so many connections until the time is up or, unless they may be sent
    `again` and again, there are no more. Raises RuntimeError at an answer that is not 2xx."""
    source = itertools.cycle(requests) if again else iter(requests)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(port, source, clients, seconds))


async def _load(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> Run:
    loop = asyncio.get_running_loop()
    connections = [_Connection(requests) for _ in range(clients)]
    for connection in connections:
        await loop.create_connection(lambda c=connection: c, "127.0.0.1", port)  # type: ignore[misc]
    start = time.perf_counter()
    for connection in connections:
        connection.begin(start + seconds)
    async with asyncio.timeout(seconds + PATIENCE_S):
        await asyncio.gather(*(connection.done for connection in connections))
    elapsed = time.perf_counter() - start
    waits = (wait for connection in connections for wait in connection.waits)
    return Run(elapsed, array("d", waits))


class _Connection(asyncio.Protocol):
    """One client: sends the next request as soon as the last one has been answered."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.waits: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._data = bytearray()
        self._length = 0  # of the whole answer, once its header is there
        self._deadline = self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def begin(self, deadline: float) -> None:
        self._deadline = deadline
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        self._sent_at = time.perf_counter()
        if request is None or self._sent_at >= self._deadline:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._length and (end := self._data.find(b"\r\n\r\n")) >= 0:
            header = bytes(self._data[:end]).lower() + b"\r\n"
            value = header.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self._length = end + 4 + int(value)
        if self._length and len(self._data) >= self._length:
            self._answered()

    def _answered(self) -> None:
        self.waits.append(time.perf_counter() - self._sent_at)
        if self._data[9:10] != b"2":
            self.done.set_exception(RuntimeError(bytes(self._data[:600]).decode()))
            self._transport.abort()
            return
        self._data.clear()
        self._length = 0
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the server closed the connection: {error}"))
