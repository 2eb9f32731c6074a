"""Reloading and stopping a served ledger loses no request: what was read is answered."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import psutil
import pytest
import urllib3

from ledger.audit import audit
from ledger.service import Ledger
from ledger.tlog.policy import Policy
from tests.support import PLATFORM, Server, body_of, donation, fund, running_server

CLIENTS = 8


class Load:
    """Clients that post, each over a connection it keeps, and note what became of each ref."""

    def __init__(self, url: str, key: str) -> None:
        self.answered: dict[str, int] = {}  # ref -> status
        self.unanswered: list[str] = []
        self._url, self._stop = f"{url}/v1/entries", threading.Event()
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, client: int) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=30)
        number = 0
        while not self._stop.is_set():
            number += 1
            ref = f"{client}-{number}"
            body, headers = body_of(donation(ref=ref)), dict(self._headers)
            if client % 2:
                headers["Connection"] = "close"
            try:
                answer = pool.request("POST", self._url, body=body, headers=headers)
                self.answered[ref] = answer.status
            except urllib3.exceptions.HTTPError:
                self.unanswered.append(ref)
                if self._stop.wait(0.01):
                    return

    def wait_for(self, more: int) -> None:
        target = len(self.answered) + more
        while len(self.answered) < target:
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def key(ledger: Ledger) -> str:
    key = ledger.create_key(PLATFORM).key
    ledger.post(PLATFORM, [fund("air")])
    return key


def workers(server: Server) -> set[int]:
    return {child.pid for child in psutil.Process(server.process.pid).children()}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check(ledger: Ledger, load: Load) -> None:
    """Whatever was answered is sealed; whatever was not answered was not even read."""
    assert set(load.answered.values()) == {201}
    for ref in load.answered:
        assert ledger.store.index_of_ref(PLATFORM, ref) is not None
    sealed = [r for r in load.unanswered if ledger.store.index_of_ref(PLATFORM, r) is not None]
    assert sealed == [], "sealed, and its answer was cut off"
    report = audit(ledger.store, Policy.for_key(ledger.vkeys[0]))
    assert report.checkpoint.size == 3 + len(load.answered)


def test_reloading_under_load(ledger: Ledger, key: str) -> None:
    with running_server(ledger.store.paths.database) as server:
        load = Load(server.url, key)
        load.wait_for(20)
        for _ in range(2):
            before = workers(server)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda gone=before: not gone & workers(server))  # type: ignore[misc]
            load.wait_for(20)
        load.stop()
        assert load.unanswered == []
        check(ledger, load)


def test_stopping_under_load(ledger: Ledger, key: str) -> None:
    with running_server(ledger.store.paths.database) as server:
        load = Load(server.url, key)
        load.wait_for(50)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
        load.stop()
        check(ledger, load)


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM], ids=lambda s: s.name)
def test_a_request_whose_body_is_still_coming_is_answered(
    ledger: Ledger, key: str, sent: signal.Signals
) -> None:
    body = body_of(donation(ref="slowly"))
    head = (
        f"POST /v1/entries HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with running_server(ledger.store.paths.database) as server:
        before = workers(server)
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=30) as client:
            client.sendall(head.encode() + body[:10])
            # Another request over the same worker would not tell; so give it time to be read.
            time.sleep(0.5)
            server.process.send_signal(sent)
            if sent == signal.SIGHUP:
                wait_until(lambda: bool(workers(server) - before))
            time.sleep(0.5)
            client.sendall(body[10:])
            answer = b""
            while part := client.recv(65_536):
                answer += part
    assert answer.startswith(b"HTTP/1.1 201 "), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["entries"][0]["index"] == 3
    assert ledger.store.index_of_ref(PLATFORM, "slowly") == 3


def test_workers_end_when_their_master_was_killed(
    ledger: Ledger, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--timeout 2")
    with running_server(ledger.store.paths.database) as server:
        orphans = [psutil.Process(pid) for pid in workers(server)]
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        _, alive = psutil.wait_procs(orphans, timeout=30)
    assert not alive
