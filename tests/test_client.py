"""The client against servers that answer wrongly, on purpose or not: no answer is trusted."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from ledger import client
from ledger.client import HttpLedger
from ledger.errors import (
    NotAuthenticated,
    NotFound,
    RefConflict,
    Refusal,
    TooLarge,
    Unreachable,
)
from ledger.tlog.tile import Tile
from tests.support import donation

LEAF = "ab" * 32


class Answer(NamedTuple):
    """What a server answers. length: the Content-Length it claims, if not the true one."""

    status: int
    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    length: int | None = None


def answer(status: int, document: Any) -> Answer:
    return Answer(status, json.dumps(document).encode())


def sealed(index: int = 5, leaf_hash: Any = LEAF, **more: Any) -> dict[str, Any]:
    return {"index": index, "leaf_hash": leaf_hash, "replayed": False} | more


class Scripted(HttpLedger):
    """A client of a server that gives the scripted answers, the last one again and again."""

    def __init__(self, url: str, script: list[Answer], requests: list[tuple[str, str]]) -> None:
        super().__init__(url, "amanah_key")
        self.script, self.requests = script, requests

    def answering(self, *answers: Answer) -> Scripted:
        self.script[:] = answers
        return self


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    script: list[Answer] = []
    requests: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.command, self.path))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = script.pop(0) if len(script) > 1 else script[0]
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            length = len(given.body) if given.length is None else given.length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(given.body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(client, "_RETRY", client._RETRY.new(total=2, backoff_factor=0))
    yield Scripted(f"http://127.0.0.1:{server.server_port}", script, requests)
    server.shutdown()
    server.server_close()


# -- reading


def test_what_is_read_is_what_was_served(ledger: Scripted) -> None:
    assert ledger.answering(Answer(200, b"bytes")).checkpoint() == b"bytes"
    packed = Answer(200, gzip.compress(b"unpacked"), {"Content-Encoding": "gzip"})
    assert ledger.answering(packed).bundle(1234, 256) == b"unpacked"
    assert ledger.answering(Answer(200, b"hashes")).tile(Tile(1, 0, 2)) == b"hashes"
    paths = ["/checkpoint", "/tile/entries/x001/234", "/tile/1/000.p/2"]
    assert ledger.requests == [("GET", path) for path in paths]


def test_only_a_404_says_that_something_is_not_there(ledger: Scripted) -> None:
    with pytest.raises(NotFound, match="/checkpoint does not exist"):
        ledger.answering(Answer(404, b"")).checkpoint()
    for status in (204, 301, 400, 401, 403, 410, 500, 502, 503):
        headers = {"Location": "/elsewhere"} if status == 301 else {}
        with pytest.raises(Unreachable):
            ledger.answering(Answer(status, b"", headers)).checkpoint()
    assert {path for _, path in ledger.requests} == {"/checkpoint"}  # no redirect was followed


def test_a_busy_server_is_asked_again(ledger: Scripted) -> None:
    busy = Answer(503, b"", {"Retry-After": "0"})
    assert ledger.answering(busy, Answer(429, b""), Answer(200, b"note")).checkpoint() == b"note"
    entries = answer(201, {"entries": [sealed()]})
    assert ledger.answering(busy, entries).post([donation()])[0].index == 5
    assert len(ledger.requests) == 5
    with pytest.raises(Unreachable, match="answered 503"):
        ledger.answering(busy).checkpoint()


def test_an_answer_that_is_cut_short_is_no_answer(ledger: Scripted) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        ledger.answering(Answer(200, b"half", length=8)).checkpoint()
    broken = Answer(200, b"not gzip at all", {"Content-Encoding": "gzip"})
    with pytest.raises(Unreachable, match="cannot be reached"):
        ledger.answering(broken).checkpoint()


def test_an_endless_answer_is_not_read_to_its_end(
    ledger: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_BYTES_MAX", 100_000)
    assert len(ledger.answering(Answer(200, b"x" * 100_000)).checkpoint()) == 100_000
    with pytest.raises(Unreachable, match="more than 100000 bytes"):
        ledger.answering(Answer(200, b"x" * 100_001)).checkpoint()
    bomb = Answer(200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"})
    assert len(bomb.body) < 100_000
    with pytest.raises(Unreachable, match="more than 100000 bytes"):
        ledger.answering(bomb).checkpoint()


NO_LEDGER = {
    "no JSON": b"<html>",
    "an array": b"[]",
    "no keys": b'{"vkeys":[]}',
    "keys of another kind": b'{"vkeys":[5]}',
    "keys that are no array": b'{"vkeys":"x"}',
    "nothing": b"",
    "nested without end": b"[" * 100_000,
    "not UTF-8": b"\xff",
}


@pytest.mark.parametrize("body", NO_LEDGER.values(), ids=NO_LEDGER)
def test_what_is_not_the_answer_of_a_ledger(ledger: Scripted, body: bytes) -> None:
    with pytest.raises(Unreachable, match="is not an answer of a ledger"):
        ledger.answering(Answer(200, body)).ledger()


def test_whether_something_is_registered(ledger: Scripted) -> None:
    assert ledger.answering(answer(200, {})).registered("party", "kita")
    assert not ledger.answering(answer(404, {})).registered("fund", "air")
    assert [path for _, path in ledger.requests] == ["/v1/parties/kita", "/v1/funds/air"]


# -- posting


def test_a_refusal_comes_through_as_it_was_told(ledger: Scripted) -> None:
    errors = [{"pointer": "/entries/0/statement/fund", "detail": "no fund"}]
    problem: Any = {"code": "unknown_reference", "detail": "no fund 'x'", "errors": errors}
    with pytest.raises(Refusal, match="no fund 'x'") as caught:
        ledger.answering(answer(422, problem)).post([donation()])
    assert caught.value.code == "unknown_reference"
    assert [tuple(fault) for fault in caught.value.faults] == [
        ("/entries/0/statement/fund", "no fund")
    ]
    pointer = "/entries/0/statement/ref"
    problem = {"code": "ref_conflict", "detail": "names entry 7", "index": 7}
    problem["errors"] = [{"pointer": pointer, "detail": "already used"}]
    with pytest.raises(RefConflict, match="names entry 7") as conflict:
        ledger.answering(answer(409, problem)).post([donation()])
    assert conflict.value.index == 7
    assert conflict.value.faults[0].pointer == pointer


OTHER_ERRORS: dict[str, tuple[Answer, type[Exception]]] = {
    "401": (answer(401, {"code": "unauthorized", "detail": "no"}), NotAuthenticated),
    "403": (answer(403, {"code": "insufficient_scope", "detail": "no"}), NotAuthenticated),
    "403 of a rule": (answer(403, {"code": "forbidden", "detail": "no"}), Refusal),
    "413": (answer(413, {"code": "too_large", "detail": "no"}), TooLarge),
    "413 of a proxy": (Answer(413, b"<html>"), TooLarge),
    "404": (Answer(404, b"<html>"), Unreachable),
    "500": (answer(500, {"code": "internal", "detail": "no"}), Unreachable),
    "422 of an unknown code": (answer(422, {"code": "new", "detail": "no"}), Unreachable),
    "422 of a strange code": (answer(422, {"code": ["invalid"], "detail": 5}), Unreachable),
    "conflict without an index": (answer(409, {"code": "ref_conflict"}), Refusal),
    "faults of another kind": (answer(422, {"code": "invalid", "errors": 5}), Refusal),
    "faults that are none": (answer(422, {"code": "invalid", "errors": [5, {}]}), Refusal),
    "a problem that is none": (answer(422, ["invalid"]), Unreachable),
    "a success without JSON": (Answer(201, b"<html>"), Unreachable),
    "a success without entries": (answer(201, {}), Unreachable),
    "entries of another kind": (answer(201, {"entries": 5}), Unreachable),
    "an entry that is none": (answer(201, {"entries": [5]}), Unreachable),
    "an entry without its hash": (answer(201, {"entries": [{"index": 5}]}), Unreachable),
    "a hash that is none": (answer(201, {"entries": [sealed(leaf_hash="xy")]}), Unreachable),
    "a hash of another kind": (answer(201, {"entries": [sealed(leaf_hash=5)]}), Unreachable),
    "fewer entries than statements": (answer(201, {"entries": []}), Unreachable),
    "more entries than statements": (answer(201, {"entries": [sealed()] * 2}), Unreachable),
}


@pytest.mark.parametrize(("given", "error"), OTHER_ERRORS.values(), ids=OTHER_ERRORS)
def test_an_answer_to_a_post_is_understood_or_refused(
    ledger: Scripted, given: Answer, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        ledger.answering(given).post([donation()])
    assert type(caught.value) is error


def test_a_conflict_is_told_in_the_ledger_s_own_words(ledger: Scripted) -> None:
    problem = {"code": "ref_conflict", "detail": "taken", "index": 7}
    with pytest.raises(RefConflict) as caught:
        ledger.answering(answer(409, problem)).post([donation()])
    assert str(caught.value) == "taken"


SPEAKERS: dict[str, Callable[[Scripted, str], object]] = {
    "a page": lambda ledger, text: ledger.answering(Answer(500, text.encode())).checkpoint(),
    "a problem": lambda ledger, text: ledger.answering(answer(500, {"detail": text})).checkpoint(),
    "a refusal": lambda ledger, text: ledger.answering(
        answer(422, {"code": "invalid", "detail": text})
    ).post([donation()]),
    "an unknown error": lambda ledger, text: ledger.answering(answer(418, {"detail": text})).post(
        [donation()]
    ),
}


@pytest.mark.parametrize("speak", SPEAKERS.values(), ids=SPEAKERS)
def test_a_server_cannot_speak_to_the_terminal(
    ledger: Scripted, speak: Callable[[Scripted, str], object]
) -> None:
    with pytest.raises((Unreachable, Refusal)) as caught:
        speak(ledger, "no\x1b[2J\x07\r\u202egood")
    assert str(caught.value).isprintable()
    assert "[2J" in str(caught.value)
