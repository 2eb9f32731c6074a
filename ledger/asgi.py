"""What gunicorn serves: posts on the event loop, everything else by the Flask application.

A post spends most of its time waiting for the disk. On the loop those that arrive while one
transaction runs are read together and ride on the next one; no thread is held, and none
competes for the interpreter. The handler is the Flask view's own (api.begin_post, api.end_post).
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from flask import Flask
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from ledger import api
from ledger.app import create_app, log_line, request_id_of
from ledger.batches import BODY_BYTES_MAX
from ledger.drain import DrainingProtocol
from ledger.problems import SECURITY_HEADERS, Reply, is_ours, problem_of
from ledger.sequencer import Pending, Sequencer
from ledger.service import Ledger

_STOPS = (signal.SIGTERM, signal.SIGQUIT)
FLASK_THREADS = 8  # in each process; reading is short
WAITS, WAIT_S = 3, 0.0003  # about as long as others seal

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[str, str]]


class Worker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """gunicorn's worker class. No banner; the log is gunicorn's."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": DrainingProtocol,
        "lifespan": "on",
        "server_header": False,
    }

    @staticmethod
    def setup() -> None:
        """Called once, in gunicorn's master: hold back what would stop a worker until it listens.

        Until init_signals a new worker has the handlers of the master, which only make a note for
        the master. Told to stop just then, it would serve on until it is killed.
        """
        os.register_at_fork(
            before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS),
            after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS),
        )

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    async def callback_notify(self) -> None:
        # A master that was killed takes nobody with it; without this its workers serve on for
        # ever, also on a database that was replaced meanwhile.
        if os.getppid() != self.ppid:
            os.kill(os.getpid(), signal.SIGTERM)
        await super().callback_notify()


def create_asgi() -> Application:
    """The ASGI application of the ledger that the environment names."""
    return Application(create_app())


class Group:
    """Posts of one event loop that wait for the next transaction."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
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
        try:
            self._sequencer.seal([pending for pending, _ in group])
        finally:
            for _, done in group:
                if not done.done():  # its client may have gone
                    done.set_result(None)


class Application:
    """An ASGI application around the Flask one."""

    def __init__(self, flask: Flask) -> None:
        self._flask = flask
        self._ledger: Ledger = flask.extensions["amanah"]
        self._group = Group(self._ledger.sequencer)
        self._threads = ThreadPoolExecutor(FLASK_THREADS, thread_name_prefix="flask")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            body = await _read(receive)
            if body is None:
                return  # the client has gone
            if scope["method"] == "POST" and scope["path"] == "/v1/entries":
                reply = await self._post(scope, body)
            else:
                loop = asyncio.get_running_loop()
                reply = await loop.run_in_executor(self._threads, self._call_flask, scope, body)
            await _answer(send, reply)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        self._threads.shutdown()
        self._ledger.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _post(self, scope: Scope, body: bytes) -> Reply:
        headers = _headers(scope)
        request_id = request_id_of(headers.get("x-request-id"))
        authorization = headers.get("authorization", "")
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            pending = api.begin_post(self._ledger, authorization, media_type, body)
            await self._group.seal(pending)
            reply = api.end_post(pending.result())
        except Exception as error:
            if is_ours(error):
                sys.stderr.write(log_line(request_id, error))
            reply = problem_of(error, request_id)
        more = (("X-Request-Id", request_id), *SECURITY_HEADERS)
        return reply._replace(headers=(*reply.headers, *more))

    def _call_flask(self, scope: Scope, body: bytes) -> Reply:
        """Answer by the Flask application, called as WSGI (PEP 3333)."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            started[:] = (status, headers)

        chunks = self._flask.wsgi_app(_environ(scope, body), start_response)
        try:
            data = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = started
        return Reply(int(status[:3]), tuple(headers), data)


async def _read(receive: Receive) -> bytes | None:
    """The body of a request; one byte more than is taken when it is longer than that."""
    parts: list[bytes] = []
    room = BODY_BYTES_MAX + 1
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")[:room]
        room -= len(part)
        if part:
            parts.append(part)
        if not message.get("more_body") or room == 0:
            return b"".join(parts)


async def _answer(send: Send, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    # A 304 that gives a length must give that of the whole entry, which is not there to count.
    has_length = any(name.lower() == b"content-length" for name, _ in headers)
    if not has_length and reply.status != 304:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
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
    for name, value in _headers(scope).items():
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
