"""An audit over HTTP asks for several things at once, in bounded numbers, and judges in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ledger import client
from ledger.audit import Report, Ways, audit
from ledger.client import CONNECTIONS_KEPT, RETRY_AFTER_MAX_S, HttpLedger
from ledger.commands.auditing import IN_FLIGHT
from ledger.errors import LogMismatch, Unreachable
from ledger.tlog.tile import TILE_WIDTH, bundle_path
from tests.simulator import Log, new_log
from tests.support import ORIGIN, PLATFORM, party

BUNDLES = 8


class Mirror:
    """Serves the files of a log, and what else it is told to."""

    def __init__(self, log: Log) -> None:
        self.files = log.files()
        self.asked: list[str] = []
        self.connections = self.under_way = self.most_under_way = 0
        self.together = threading.Barrier(1)  # so many requests for bundles are answered at once
        self.busy: dict[str, int] = {}  # path -> how often it is answered 503
        self.gone: set[str] = set()  # the connection closes instead of an answer
        self.lock = threading.Lock()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                mirror.connections += 1

            def do_GET(self) -> None:
                mirror.answer(self, self.path[1:])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        with self.lock:
            self.asked.append(path)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            busy = self.busy[path] = self.busy.get(path, 0) - 1
        if path.startswith("tile/entries/") and path in self.ahead:
            self.together.wait(20)
        with self.lock:
            self.under_way -= 1
        if path in self.gone:
            handler.close_connection = True
            return
        body = self.files.get(path, b"")
        handler.send_response(503 if busy >= 0 else 200 if path in self.files else 404)
        handler.send_header("Retry-After", "0")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @property
    def ahead(self) -> set[str]:
        """The bundles that are read ahead: all full ones but the first."""
        return {bundle_path(i, TILE_WIDTH) for i in range(1, BUNDLES)}


@pytest.fixture(scope="module")
def honest() -> Log:
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM))
    for index in range(2, BUNDLES * TILE_WIDTH + 9):
        log.append(PLATFORM, party(f"p{index}"))
    return log.seal()


@pytest.fixture
def log(honest: Log) -> Log:
    return honest.copy()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_RETRY", client._RETRY.new(total=2, backoff_factor=0))


@pytest.fixture
def mirrors() -> Iterator[list[Mirror]]:
    mirrors: list[Mirror] = []
    yield mirrors
    for mirror in mirrors:
        mirror.server.shutdown()
        mirror.server.server_close()


def read(mirror: Mirror, log: Log, in_flight: int = 7) -> Report:
    return audit(HttpLedger(mirror.url), log.policy, ways=Ways(in_flight=in_flight))


def test_bundles_are_asked_for_together(mirrors: list[Mirror], log: Log) -> None:
    mirrors.append(mirror := Mirror(log))
    mirror.together = threading.Barrier(7)  # with one less it would wait for ever
    assert read(mirror, log, in_flight=7).is_sound
    assert sorted(mirror.asked) == sorted(mirror.files)  # and none of them twice
    assert mirror.connections <= 8


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_there_are_never_more_requests_than_allowed(
    mirrors: list[Mirror], log: Log, in_flight: int
) -> None:
    mirrors.append(mirror := Mirror(log))
    assert read(mirror, log, in_flight).is_sound
    assert mirror.most_under_way <= in_flight
    assert mirror.connections <= in_flight + 1  # they are kept alive


def test_all_that_may_be_under_way_keep_their_connection() -> None:
    assert IN_FLIGHT <= CONNECTIONS_KEPT


def test_a_busy_mirror_is_asked_again(mirrors: list[Mirror], log: Log) -> None:
    mirrors.append(mirror := Mirror(log))
    mirror.busy = {bundle_path(3, TILE_WIDTH): 2, "tile/0/004": 1}
    assert read(mirror, log).is_sound
    mirror.busy = {bundle_path(3, TILE_WIDTH): 3}
    with pytest.raises(Unreachable, match="answered 503"):
        read(mirror, log)


def test_patience_has_an_end() -> None:
    """A server may not keep a verifier waiting for a year."""
    assert client._RETRY.parse_retry_after("31536000") == RETRY_AFTER_MAX_S


@pytest.mark.parametrize("path", [bundle_path(5, TILE_WIDTH), "tile/0/005", "tile/1/000.p/8"])
def test_a_mirror_that_dies_on_the_way(mirrors: list[Mirror], log: Log, path: str) -> None:
    mirrors.append(mirror := Mirror(log))
    mirror.gone.add(path)
    with pytest.raises(Unreachable, match="cannot be reached"):
        read(mirror, log)


def test_what_is_wrong_before_is_told_first(mirrors: list[Mirror], log: Log) -> None:
    log.edit(600, recorded_at="2020-01-01T00:00:00.000Z").publish()
    mirrors.append(mirror := Mirror(log))
    mirror.gone.add(bundle_path(3, TILE_WIDTH))
    with pytest.raises(LogMismatch, match="index 600: recorded_at"):
        read(mirror, log)


@pytest.mark.parametrize("garbage", [b"", b"<html>", bytes(70_000)])
def test_a_mirror_that_answers_garbage(mirrors: list[Mirror], log: Log, garbage: bytes) -> None:
    mirrors.append(mirror := Mirror(log.serve(bundle_path(4, TILE_WIDTH), garbage)))
    with pytest.raises(LogMismatch, match=f"index {4 * TILE_WIDTH}: "):
        read(mirror, log)
