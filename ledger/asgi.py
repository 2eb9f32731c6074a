"""What gunicorn serves: posts on the event loop, everything else by the Flask application.

A post spends most of its time waiting for the disk. On the loop those that arrive while one
transaction runs are read together and ride on the next one; no thread is held, and none
competes for the interpreter. The handler is the Flask view's own (api.begin_post, api.end_post).

Before a body is read its sender is known and held to its rate (limits.py), and what is more than
this process can hold is refused (admission.py).
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask
from prometheus_client import CollectorRegistry

from ledger import api, logs, shared
from ledger.admission import Body, Room
from ledger.app import CODE, ROUTE, create_app, request_id_of
from ledger.batches import BODY_BYTES_MAX
from ledger.config import Config
from ledger.errors import NotAuthenticated, NotPermitted, Overloaded
from ledger.exchange import Exchange
from ledger.limits import TABLE_BYTES, Headers, Limiter, party_of
from ledger.metrics import Metrics, State, count_in, everything
from ledger.post import KEYLESS_BYTES_MAX
from ledger.problems import READER_HEADERS, SECURITY_HEADERS, Reply, is_ours, problem_of
from ledger.sequencer import Pending, Sequencer
from ledger.service import Ledger
from ledger.store.sqlite import ApiKey, SqliteStore

FLASK_THREADS = 8  # in each process; reading is short
WAITS, WAIT_S = 3, 0.0003  # about as long as others seal
_POSTS = "/v1/entries"
_HEALTH = "/healthz"  # always told: who restarts what is busy makes nothing better

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def create_asgi() -> Application:
    """The ASGI application of the ledger that the environment names."""
    config = Config.from_environment()
    flask = create_app(config)
    store = flask.extensions["amanah"].store
    ours = shared.prepared()
    if ours is not None:
        count_in(ours.directory)
    table = memoryview(bytearray(TABLE_BYTES) if ours is None else ours.table)
    limiter = Limiter({"key": config.key_rate, "address": config.address_rate}, table)
    application = Application(flask, limiter, Metrics(CollectorRegistry()))
    if ours is not None and ours.listener is not None:
        state = State(config.database, lambda: _tip(store))
        shared.serve_metrics(ours.listener, everything(ours.directory, state))
    return application


def _tip(store: SqliteStore) -> tuple[int, str]:
    size = store.size()
    return size, json.loads(store.entry_bytes(size - 1))["recorded_at"]


class Group:
    """Posts of one event loop that wait for the next transaction."""

    def __init__(self, sequencer: Sequencer, metrics: Metrics) -> None:
        self._sequencer, self._metrics = sequencer, metrics
        self._waiting: list[tuple[Pending, asyncio.Future[None]]] = []

    async def seal(self, pending: Pending) -> None:
        """Return when `pending` is done."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((pending, done))
        if len(self._waiting) == 1:
            # After every request that is readable now has been read, and so waits here too.
            loop.call_soon(self._seal_all, WAITS)
        await done

    def _seal_all(self, waits: int) -> None:
        # While another process seals, this one goes on reading: more posts ride on the next
        # transaction. Not for long, since whoever waits in the lock's own queue gets it first.
        if waits and self._sequencer.is_busy():
            asyncio.get_running_loop().call_later(WAIT_S, self._seal_all, waits - 1)
            return
        group, self._waiting = self._waiting, []
        self._metrics.sealing(len(group))
        began = time.perf_counter()
        try:
            self._sequencer.seal([pending for pending, _ in group])
        finally:
            for _, done in group:
                if not done.done():  # its client may have gone
                    done.set_result(None)
            self._metrics.sealed(len(group), time.perf_counter() - began)


class Application:
    """An ASGI application around the Flask one."""

    def __init__(self, flask: Flask, limiter: Limiter, metrics: Metrics) -> None:
        self._flask = flask
        self._ledger: Ledger = flask.extensions["amanah"]
        self._limiter, self._metrics, self._room = limiter, metrics, Room()
        self._group = Group(self._ledger.sequencer, metrics)
        self._threads = ThreadPoolExecutor(FLASK_THREADS, thread_name_prefix="flask")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http":
            headers = _headers(scope)
            exchange = Exchange(scope["method"], request_id_of(headers.get("x-request-id")))
            reply = await self._reply(exchange, scope, headers, receive)
            if reply is None:
                exchange.was_left(self._metrics)
                return
            # First, so that whoever has an answer finds it counted.
            exchange.was_answered(reply, self._metrics)
            await _answer(send, reply)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        # For each connection (connection.py).
        scope["state"].update(room=self._room, metrics=self._metrics)
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        self._threads.shutdown()
        self._ledger.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _reply(
        self, exchange: Exchange, scope: Scope, headers: dict[str, str], receive: Receive
    ) -> Reply | None:
        """The answer to a request, or None when its client has gone."""
        quota: Headers = ()
        try:
            is_crowded = "is_crowded" in scope.get("state", ())
            if is_crowded:
                raise Overloaded("too many connections; connect again in a moment")
            key = None
            is_post = scope["method"] == "POST" and scope["path"] == _POSTS
            if is_post:
                exchange.route = _POSTS
                key = self._key(scope, headers)
                exchange.key_id = key.key_id if key is not None else ""
            most = KEYLESS_BYTES_MAX if is_post and key is None else BODY_BYTES_MAX
            if scope["path"] != _HEALTH:
                quota = self._take(scope, key)
            with Body(self._room) as room:
                body = await _read(receive, room, most)
                if body is None:
                    return None
                if not is_post:
                    return (await self._call(exchange, scope, headers, body)).with_headers(quota)
                reply = await self._post(key, headers, body)
        except Exception as error:
            if is_ours(error):
                logs.failed(exchange.request_id, error)
            reply = problem_of(error, exchange.request_id)
            if scope["method"] in ("GET", "HEAD"):
                reply = reply.with_headers(READER_HEADERS)
            if is_crowded:
                reply = reply.with_headers((("Connection", "close"),))
        more = (("X-Request-Id", exchange.request_id), *SECURITY_HEADERS)
        return reply.with_headers((*quota, *more))

    def _key(self, scope: Scope, headers: dict[str, str]) -> ApiKey | None:
        """The API key of a post; None when it has none.

        Raises NotAuthenticated or NotPermitted, as often as its address may ask, and RateLimited
        from then on.
        """
        try:
            return api.key_of_post(self._ledger, headers.get("authorization", ""))
        except (NotAuthenticated, NotPermitted):
            self._take(scope, None)
            raise

    def _take(self, scope: Scope, key: ApiKey | None) -> Headers:
        if key is not None:
            return self._limiter.take("key", key.key_id)
        client = scope.get("client")
        return self._limiter.take("address", party_of(client[0] if client else ""))

    async def _post(self, key: ApiKey | None, headers: dict[str, str], body: bytes) -> Reply:
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._room.check_post()
        self._room.posts += 1
        try:
            pending = api.begin_post(self._ledger, key, media_type, body)
            await self._group.seal(pending)
            return api.end_post(pending.result())
        finally:
            self._room.posts -= 1

    async def _call(
        self, exchange: Exchange, scope: Scope, headers: dict[str, str], body: bytes
    ) -> Reply:
        environ = _environ(scope, headers, body) | {"HTTP_X_REQUEST_ID": exchange.request_id}
        if scope["path"] != _HEALTH:
            self._room.check_call()
        self._room.calls += 1
        try:
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(self._threads, self._call_flask, environ)
        finally:
            self._room.calls -= 1
        exchange.route = environ.get(ROUTE, "")
        return reply._replace(code=environ.get(CODE, ""))

    def _call_flask(self, environ: dict[str, Any]) -> Reply:
        """Answer by the Flask application, called as WSGI (PEP 3333)."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            started[:] = (status, headers)

        chunks = self._flask.wsgi_app(environ, start_response)
        try:
            data = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = started
        return Reply(int(status[:3]), tuple(headers), data)


async def _read(receive: Receive, room: Body, most: int) -> bytes | None:
    """The body of a request; one byte more than `most` when it is longer than that.

    None when its client has gone. Raises Overloaded when `room` has no more.
    """
    parts: list[bytes] = []
    left = most + 1
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if part := message.get("body", b"")[:left]:
            room.take(len(part))
            left -= len(part)
            parts.append(part)
        if not message.get("more_body") or left == 0:
            return b"".join(parts)


async def _answer(send: Send, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    # A 304 that gives a length must give that of the whole entry, which is not there to count.
    has_length = any(name.lower() == b"content-length" for name, _ in headers)
    if not has_length and reply.status != 304:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _environ(scope: Scope, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    server, client = scope.get("server") or ("", None), scope.get("client") or ("", 0)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key != "CONTENT_LENGTH":
            environ[f"HTTP_{key}"] = value
    return environ


def _headers(scope: Scope) -> dict[str, str]:
    """Lower-case name -> value. What stands several times counts as one list (RFC 9110, 5.3), so
    that a second key or media type makes neither of them good."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
