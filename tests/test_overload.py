"""More than can be served, and clients that are slow: told so at once, and nobody else waits.

`make surge` is the long form of the first test: five minutes, or as many as are asked for.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import uvicorn
from flask import Flask

from bench.making import PLATFORM as SURGE_PLATFORM
from bench.making import create_ledger
from bench.surge import Surge, missing, surge
from ledger import admission, connection
from ledger.asgi import Application
from ledger.connection import Connection
from ledger.service import Ledger
from tests.support import PLATFORM, Api, body_of, donation, fund, party, running_server
from tests.test_asgi import JSON, Asked, ask, key_of
from tests.test_limits import application_of
from tests.test_observing import address_of
from tests.test_reload import wait_until

DRIBBLERS = 200


def test_a_surge_loses_nothing_and_every_refusal_says_when_to_come_back(tmp_path: object) -> None:
    """More connections than two processes take, each posting as fast as it may, for a moment."""
    with closing(create_ledger(tmp_path / "amanah.db")) as ledger:  # type: ignore[operator]
        key, size = ledger.create_key(SURGE_PLATFORM).key, ledger.store.size()
        with running_server(ledger.store.paths.database) as server:
            _, port = address_of(server)
            seen: Surge = surge(port, key, clients=2_400, seconds=3)
            assert server.request("GET", "/healthz").status == 200
        assert seen.faults == []
        assert seen.statuses.keys() == {201, 503}
        assert missing(ledger, seen, size) == []


def head_of(key: str, body: bytes) -> bytes:
    return (
        f"POST /v1/entries HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()


def test_posts_go_on_while_many_clients_dribble(ledger: Ledger) -> None:
    """Some at their head, some at their body; a byte at a time."""
    key = ledger.create_key(PLATFORM).key
    ledger.post(PLATFORM, [fund("air")])
    body = body_of(donation(ref="never"))
    with running_server(ledger.store.paths.database) as server, ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(address_of(server)))
            for _ in range(DRIBBLERS)
        ]
        heads = [b"POST /v1/entries HTTP/1.1\r\nX: ", head_of(key, body) + body[:1]]
        for number, client in enumerate(slow):
            client.sendall(heads[number % 2])
        for i in range(50):
            for client in slow[i % 10 :: 10]:
                client.sendall(b"1")
            answer = server.request("POST", "/v1/entries", body_of(donation(ref=f"d{i}")), key)
            assert answer.status == 201
    assert ledger.store.size() == 3 + 50


# -- one process of its own, whose patience is short


class InThisProcess:
    """The application behind uvicorn, in a thread. Its connections are those of the service."""

    def __init__(self, application: Application) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        config = uvicorn.Config(
            application, http=Connection, lifespan="on", log_config=None, timeout_keep_alive=1
        )
        self._server = uvicorn.Server(config)
        self.room = application._room
        run = self._server.run
        self._thread = threading.Thread(target=run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> InThisProcess:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)


@pytest.fixture
def impatient(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[InThisProcess]:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    monkeypatch.setattr(connection, "BODY_S", 0.6)
    monkeypatch.setattr(connection, "ANSWER_S", 0.5)
    monkeypatch.setattr(connection, "ANSWER_BYTES_S_MIN", 2**30)
    with InThisProcess(application_of(app)) as server:
        yield server


def everything(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    try:
        while part := client.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


SLOW = {
    "nothing at all": b"",
    "half a head": b"GET /v1/ledger HTTP/1.1\r\nHost: led",
    "empty lines": b"\r\n\r\n",
    "half a body": b"POST /v1/funds HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": b"POST /v1/funds HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{",
}


@pytest.mark.parametrize("begun", SLOW.values(), ids=SLOW)
def test_who_does_not_go_on_is_told_and_cut_off(impatient: InThisProcess, begun: bytes) -> None:
    with impatient.connect() as client:
        client.sendall(begun)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (document["status"], document["code"]) == (408, "request_timeout")
    wait_until(lambda: impatient.room.connections == impatient.room.body_bytes == 0)


def test_who_sends_a_byte_now_and_then_is_cut_off_too(impatient: InThisProcess) -> None:
    with impatient.connect() as client:
        client.settimeout(0.05)
        answer = b""
        while not answer:
            try:
                client.sendall(b"G")
                answer = client.recv(100)
            except TimeoutError:
                continue
        assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))


def test_what_follows_a_refusal_of_half_a_request_has_its_time_as_well(
    impatient: InThisProcess,
) -> None:
    """A post with a bad key is refused before its body; the rest is awaited, but not for ever."""
    head = b"POST /v1/entries HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 100\r\n\r\n"
    with impatient.connect() as client:
        client.sendall(head + b"{")
        assert client.recv(65_536).startswith(b"HTTP/1.1 401 ")
        assert everything(client) == b""
    with impatient.connect() as client:
        client.sendall(head + b"{")
        assert client.recv(65_536).startswith(b"HTTP/1.1 401 ")
        client.sendall(b" " * 99 + b"GET /v1/ledger HTTP/1.1\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    with impatient.connect() as client:
        client.sendall(head + b"{")
        assert client.recv(65_536).startswith(b"HTTP/1.1 401 ")
        client.sendall(b" " * 99)
        assert everything(client) == b""


def test_what_is_no_request_keeps_no_connection_open(impatient: InThisProcess) -> None:
    with impatient.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"\r\n")
        everything(client)


def test_who_does_not_take_an_answer_is_cut_off(impatient: InThisProcess, client: Api) -> None:
    client.post(*(party(f"p{i}", name="x" * 140) for i in range(1_000)))
    with impatient.connect() as reader:
        reader.sendall(b"GET /v1/entries?limit=1000 HTTP/1.1\r\n\r\n" * 20)
        wait_until(lambda: impatient.room.unsent_bytes > 0)
        wait_until(lambda: impatient.room.connections == 0)
        assert impatient.room.unsent_bytes == 0


def test_a_connection_too_many_is_answered_once(
    impatient: InThisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "CONNECTIONS_MAX", 1)
    with impatient.connect() as first, impatient.connect() as second:
        for client in (first, second):
            client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert first.recv(65_536).startswith(b"HTTP/1.1 200 ")
        answer = everything(second)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1" in head
    assert b"\r\nconnection: close" in head.lower()
    assert json.loads(body)["code"] == "overloaded"


# -- what one process holds at once


def test_a_busy_process_still_says_that_it_runs(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "CALLS_MAX", 0)
    application = application_of(app, address=1)
    statuses = [
        asyncio.run(ask(application, Asked("GET", path))).status
        for path in ("/healthz", "/v1/ledger", "/healthz", "/v1/ledger", "/healthz")
    ]
    assert statuses == [200, 503, 200, 429, 200]


def test_posts_bodies_and_calls_are_bounded(
    client: Api, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond is refused whole, and the room it took is given back."""
    monkeypatch.setattr(admission, "POSTS_MAX", 3)
    monkeypatch.setattr(admission, "CALLS_MAX", 2)
    monkeypatch.setattr(admission, "BODY_BYTES_MAX", 5_000)
    application = application_of(app)
    headers = {**JSON, **key_of(client)}

    def at_once(asked: list[Asked]) -> list[int]:
        async def all_of_them() -> list[int]:
            answers = await asyncio.gather(*(ask(application, one) for one in asked))
            for answer in answers:
                assert (answer.status == 503) == (answer.headers.get("retry-after") == "1")
                assert (answer.status == 503) == (b'"code":"overloaded"' in answer.body)
            return [answer.status for answer in answers]

        return asyncio.run(all_of_them())

    def posts(count: int, length: int) -> list[Asked]:
        bodies = [body_of(party(f"p{time.monotonic_ns()}")).ljust(length) for _ in range(count)]
        return [Asked("POST", "/v1/entries", headers, body) for body in bodies]

    assert sorted(at_once(posts(5, 200))) == [201] * 3 + [503] * 2
    assert sorted(at_once(posts(3, 2_000))) == [201] * 2 + [503]
    assert at_once(posts(1, 5_001)) == [503]
    assert sorted(at_once([Asked("GET", "/v1/ledger")] * 5)) == [200] * 2 + [503] * 3
    assert at_once(posts(3, 200)) == [201] * 3
    assert client.ledger.store.size() == 2 + 8
    room = application._room
    assert (room.posts, room.calls, room.body_bytes) == (0, 0, 0)
