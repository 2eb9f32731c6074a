"""The event loop: it answers as the Flask application does, and seals together what comes together.

Called in this process, as an ASGI server calls it; test_http.py has a real one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.datastructures import Headers

from ledger import asgi
from ledger.asgi import Application
from ledger.limits import TABLE_BYTES, Limiter
from ledger.metrics import Metrics
from ledger.store.sqlite import SqliteStore
from ledger.tlog.checkpoint import open_checkpoint
from tests.support import PLATFORM, Api, Statement, body_of, donation, fund, party

BODY_MAX = 4 * 1024 * 1024
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Asked(NamedTuple):
    """One request, as either door takes it."""

    method: str
    path: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    query: bytes = b""


async def ask(application: Application, asked: Asked, *, chunk: int = BODY_MAX) -> Answer:
    """Call `application` with a request whose body comes in parts of `chunk` bytes."""
    parts = [asked.body[at : at + chunk] for at in range(0, len(asked.body), chunk)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "query_string": asked.query,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in asked.headers.items()],
        "server": ("localhost", 8000),
        "client": ("127.0.0.1", 1),
    }
    await application(scope, receive, send)
    start, *bodies = sent
    headers = {k.decode().lower(): v.decode("latin-1") for k, v in start["headers"]}
    assert len(headers) == len(start["headers"]), "no header is sent twice"
    return Answer(start["status"], headers, b"".join(message["body"] for message in bodies))


def ask_flask(client: Api, asked: Asked) -> Answer:
    response = client.http.open(
        asked.path,
        method=asked.method,
        data=asked.body or None,
        headers=Headers(list(asked.headers.items())),
        environ_overrides={"QUERY_STRING": asked.query.decode("latin-1")},
    )
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.data)


def application_of(app: Flask) -> Application:
    limiter = Limiter(
        {"key": None, "address": None}, memoryview(bytearray(TABLE_BYTES)), lambda: 0.0
    )
    return Application(app, limiter, Metrics(CollectorRegistry()))


@pytest.fixture
def application(app: Flask) -> Iterator[Application]:
    application = application_of(app)
    yield application
    application._threads.shutdown()


def key_of(client: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.key(PLATFORM)}"}


GOOD = body_of(donation())
# What is sent, whether with a good key, and the status it leads to.
REQUESTS: dict[str, tuple[Asked, bool, int]] = {
    "no key": (Asked("POST", "/v1/entries", JSON, GOOD), False, 401),
    "another scheme": (
        Asked("POST", "/v1/entries", {**JSON, "Authorization": "Basic eA=="}, GOOD), False, 401
    ),
    "an unknown key": (
        Asked("POST", "/v1/entries", {**JSON, "Authorization": "Bearer \xe9"}, GOOD), False, 401
    ),
    "no key, and no JSON either": (Asked("POST", "/v1/entries", {}, b"x"), False, 401),
    "no media type": (Asked("POST", "/v1/entries", {}, GOOD), True, 415),
    "text": (Asked("POST", "/v1/entries", {"Content-Type": "text/plain"}, GOOD), True, 415),
    "json and more": (
        Asked("POST", "/v1/entries", {"Content-Type": "Application/JSON ; charset=x"}, b"{"),
        True,
        400,
    ),
    "nothing": (Asked("POST", "/v1/entries", JSON), True, 400),
    "no JSON": (Asked("POST", "/v1/entries", JSON, b"{"), True, 400),
    "a float": (Asked("POST", "/v1/entries", JSON, b'{"statement":{"a":[1.5]}}'), True, 400),
    "too long": (Asked("POST", "/v1/entries", JSON, GOOD.ljust(BODY_MAX + 1)), True, 413),
    "a misspelled field": (
        Asked("POST", "/v1/entries", JSON, body_of(donation(fund="-", tip="é"))), True, 422
    ),
    "a fund that is not there": (
        Asked("POST", "/v1/entries", JSON, body_of(party("x"), donation("sky"))), True, 422
    ),
    "a ref used before": (
        Asked("POST", "/v1/entries", JSON, body_of(fund("air", title="another"))), True, 409
    ),
    "one refused in a batch": (
        Asked("POST", "/v1/entries", JSON, body_of(fund("air"), donation(ref="x", amount="0"))),
        True,
        422,
    ),
    "the same again": (Asked("POST", "/v1/entries", JSON, body_of(fund("air"))), True, 200),
    "another method": (Asked("PUT", "/v1/entries", JSON, GOOD), True, 405),
    "options": (Asked("OPTIONS", "/v1/entries", {"Origin": "https://example.org"}), False, 200),
    "a post elsewhere": (Asked("POST", "/v1/funds", JSON, GOOD), True, 405),
    "a slash behind": (Asked("POST", "/v1/entries/", JSON, GOOD), True, 404),
    "the first page": (Asked("GET", "/v1/entries", {}, b"", b"limit=2&order=desc"), False, 200),
    "a bad query": (Asked("GET", "/v1/entries", {}, b"", b"limit=0"), False, 400),
    "raw bytes in a query": (Asked("GET", "/v1/entries", {}, b"", b"fund=\xff"), False, 400),
    "no such path": (Asked("GET", "/nöthing"), False, 404),
    "no such entry": (Asked("GET", "/v1/entries/99"), False, 404),
    "an entry": (Asked("GET", "/v1/entries/0"), False, 200),
    "an entry as bytes": (
        Asked("GET", "/v1/entries/0", {"Accept": "application/octet-stream"}), False, 200
    ),
    "an entry it has already": (Asked("GET", "/v1/entries/0", {"If-None-Match": "*"}), False, 304),
    "the head of an entry": (Asked("HEAD", "/v1/entries/0"), False, 200),
    "a receipt": (Asked("GET", "/v1/entries/2/receipt"), False, 200),
    "a bundle": (Asked("GET", "/tile/entries/000.p/3"), False, 200),
    "a bundle, gzipped": (
        Asked("GET", "/tile/entries/000.p/3", {"Accept-Encoding": "gzip"}), False, 200
    ),
    "a tile that is not there": (Asked("GET", "/tile/0/000"), False, 404),
    "the checkpoint": (Asked("GET", "/checkpoint"), False, 200),
    "ready": (Asked("GET", "/readyz"), False, 200),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "has_key", "status"), REQUESTS.values(), ids=REQUESTS)
def test_the_event_loop_answers_as_flask_does(
    client: Api, application: Application, asked: Asked, has_key: bool, status: int
) -> None:
    client.post(fund("air"))
    headers = {
        **asked.headers,
        **(key_of(client) if has_key else {}),
        "X-Request-Id": "one-for-both",
    }
    asked = asked._replace(headers=headers)
    by_loop, by_flask = asyncio.run(ask(application, asked)), ask_flask(client, asked)
    assert by_loop.status == by_flask.status == status, by_loop.body
    assert by_loop.headers == by_flask.headers
    assert by_loop.body == by_flask.body
    assert client.ledger.store.size() == 3


@pytest.mark.parametrize("given", [None, "a b", "x" * 65], ids=["none", "a space", "too long"])
def test_a_post_without_a_request_id_gets_one(
    client: Api, application: Application, given: str | None
) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    asked = Asked("POST", "/v1/entries", headers)
    ids = {asyncio.run(ask(application, asked)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_a_body_may_come_in_parts(client: Api, application: Application, chunk: int) -> None:
    asked = Asked("POST", "/v1/entries", {**JSON, **key_of(client)}, body_of(fund("air")))
    assert asyncio.run(ask(application, asked, chunk=chunk)).status == 201


def test_posts_that_come_together_are_sealed_together(
    client: Api, application: Application
) -> None:
    """Under one checkpoint; the refused ones are told so and leave the others alone."""
    client.post(fund("air"))
    headers = {**JSON, **key_of(client)}

    def number(i: int) -> Statement:
        return donation(ref=f"d{i}", amount="1" if i % 5 else "1.001")

    async def all_at_once() -> list[Answer]:
        asked = [Asked("POST", "/v1/entries", headers, body_of(number(i))) for i in range(40)]
        return await asyncio.gather(*(ask(application, one) for one in asked))

    answers = asyncio.run(all_at_once())
    assert [answer.status for answer in answers] == [201 if i % 5 else 422 for i in range(40)]
    sealed = [json.loads(a.body) for a in answers if a.status == 201]
    assert [answer["entries"][0]["index"] for answer in sealed] == list(range(3, 35))
    assert len({answer["checkpoint"] for answer in sealed}) == 1
    checkpoint = open_checkpoint(sealed[0]["checkpoint"].encode(), client.ledger.vkeys[0])
    assert checkpoint.size == client.ledger.store.size() == 35


def test_while_another_process_seals_more_posts_are_read(
    client: Api, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "WAITS", 10_000)
    headers = {**JSON, **key_of(client)}

    async def one_after_the_other() -> list[Answer]:
        with SqliteStore(client.ledger.store.paths.database).writing():  # its own lock
            tasks = []
            for name in ("air", "desa", "kota"):
                asked = Asked("POST", "/v1/entries", headers, body_of(fund(name)))
                tasks.append(asyncio.create_task(ask(application, asked)))
                await asyncio.sleep(3 * asgi.WAIT_S)
            assert not any(task.done() for task in tasks)
        return await asyncio.gather(*tasks)

    answers = [json.loads(answer.body) for answer in asyncio.run(one_after_the_other())]
    assert [answer["entries"][0]["index"] for answer in answers] == [2, 3, 4]
    assert len({answer["checkpoint"] for answer in answers}) == 1


def test_a_client_that_goes_away_within_its_body_posts_nothing(
    client: Api, application: Application
) -> None:
    sent: list[Any] = []
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body_of(fund("air")), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    headers += [(k.lower().encode(), v.encode()) for k, v in key_of(client).items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/entries", "headers": headers}
    asyncio.run(application(scope, receive, send))
    assert (sent, client.ledger.store.size()) == ([], 2)
