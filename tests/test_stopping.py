"""A stop on request (SIGTERM): what was accepted is answered, and nothing else is there."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from ledger.entry import decode_entry
from ledger.service import Ledger
from tests.command_line import ROOT
from tests.support import ORIGIN, PLATFORM, Server, body_of, donation, fund, running_server

CLIENTS = 8


class Site(NamedTuple):
    database: Path
    key: str


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A ledger of three entries: the genesis, the platform and a fund."""
    ledger = Ledger.create(tmp_path / "amanah.db", ORIGIN, "Tests")
    key = ledger.create_key(PLATFORM).key
    ledger.post(PLATFORM, [fund("air")])
    ledger.close()
    return Site(tmp_path / "amanah.db", key)


def head_of(site: Site, body: bytes, *more: str) -> bytes:
    """The head of the request that posts `body`."""
    lines = ["POST /v1/entries HTTP/1.1", "Host: ledger", f"Authorization: Bearer {site.key}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode()


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    return socket.create_connection((address.hostname, address.port), timeout=60)


def refs_of(database: Path) -> list[str]:
    """The ref of every entry, in order."""
    ledger = Ledger.open(database)
    entries = ledger.store.entries(0, ledger.store.size())
    ledger.close()
    return [decode_entry(entry).statement["ref"] for entry in entries]


def wait_until_closed(server: Server) -> None:
    """Return when no connection is taken any more."""
    for _ in range(1_000):
        try:
            connect(server).close()
        except ConnectionError:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"the server still takes connections\n{server.log.read_text()}")


def test_a_request_that_was_begun_is_answered_after_the_stop(site: Site) -> None:
    """Its body comes only when the server takes no new connection any more."""
    body = body_of(donation(ref="slow"))
    with running_server(site.database) as server, closing(connect(server)) as client:
        client.sendall(head_of(site, body, "Expect: 100-continue") + body[:10])
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # so it is being read
        server.process.send_signal(signal.SIGTERM)
        wait_until_closed(server)
        client.sendall(body[10:])
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (201, "close")
        assert json.loads(answer.read())["entries"][0]["index"] == 3
        assert server.process.wait(timeout=60) == 0
    assert refs_of(site.database)[3:] == ["slow"]


def test_a_worker_that_only_begins_can_be_stopped() -> None:
    """Told so between its fork and the moment when it listens for signals of its own."""
    begin = """if True:
        import os, signal
        from ledger.worker import Worker
        Worker.setup()
        signal.signal(signal.SIGTERM, lambda *_: None)  # the master's, which makes a note
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(told, 1)
            object.__new__(Worker).init_signals()
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        os.write(tell, b".")
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    """
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == f"{-signal.SIGTERM}\nset()\n", done.stderr


class Client(threading.Thread):
    """Posts over one connection until that is closed, and notes which refs were acknowledged."""

    def __init__(self, site: Site, server: Server, name: str) -> None:
        super().__init__(name=name)
        self._site, self._server = site, server
        self.acknowledged: list[str] = []
        self.broken = ""  # how an answer ended that had begun

    def run(self) -> None:
        with closing(connect(self._server)) as connection:
            while True:
                ref = f"{self.name}-{len(self.acknowledged)}"
                body = body_of(donation(ref=ref))
                try:
                    connection.sendall(head_of(self._site, body) + body)
                    if not connection.recv(1, socket.MSG_PEEK):
                        return  # closed between two requests, as HTTP lets a server do
                except ConnectionError:
                    return
                answer = http.client.HTTPResponse(connection)
                try:
                    answer.begin()
                    assert answer.status == 201
                    answer.read()
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    self.broken = repr(error)
                    return
                self.acknowledged.append(ref)
                if answer.will_close:
                    return


def test_a_stop_under_load_seals_nothing_that_it_does_not_answer(site: Site) -> None:
    """And the other way round. After a kill that is not so: test_processes.py."""
    with running_server(site.database) as server:
        clients = [Client(site, server, f"c{number}") for number in range(CLIENTS)]
        for client in clients:
            client.start()
        while min(len(client.acknowledged) for client in clients) < 20:
            threading.Event().wait(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0, server.log.read_text()
        for client in clients:
            client.join()
    assert [client.broken for client in clients] == [""] * CLIENTS
    acknowledged = {ref for client in clients for ref in client.acknowledged}
    assert set(refs_of(site.database)[3:]) == acknowledged
