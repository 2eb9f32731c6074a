"""A proxy before a real ledger that lies, breaks off or keeps quiet, as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import urllib3


class Told(NamedTuple):
    """An answer on its way. cut: how many of its last bytes never arrive."""

    status: int
    body: bytes
    headers: dict[str, str]
    cut: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def saying(self, document: Any) -> Told:
        return self._replace(body=json.dumps(document).encode())


class Liar:
    """upstream: the ledger that is asked; None while it is down. lie: what becomes of the answer
    to a method and a path. before: what is done before a request goes on. requests: those that
    came, in order."""

    def __init__(self, url: str, upstream: str | None) -> None:
        self.url = url
        self.honest(upstream)
        self.lie: Callable[[str, str, Told], Told]
        self.before: Callable[[str], object]
        self.requests: list[tuple[str, str]] = []

    def honest(self, upstream: str | None) -> None:
        """Tell the truth of `upstream` from now on."""
        self.upstream = upstream
        self.lie, self.before = (lambda method, path, told: told), (lambda method: None)

    def comes_up(self, upstream: str, after: int) -> None:
        """Be down for so many requests, and honest from then on."""
        self.upstream = None

        def count(method: str) -> None:
            if len(self.requests) > after:
                self.honest(upstream)

        self.before = count

    def on(self, beginning: str, lie: Callable[[Told], Told]) -> None:
        """Lie where "METHOD /path" begins like this, and nowhere else."""
        self.lie = lambda method, path, told: (
            lie(told) if f"{method} {path}".startswith(beginning) else told
        )

    def once(self, beginning: str, lie: Callable[[Told], Told]) -> None:
        """As `on`, but only the first time."""

        def first(told: Told) -> Told:
            self.lie = lambda method, path, told: told
            return lie(told)

        self.on(beginning, first)


class _Handler(BaseHTTPRequestHandler):
    liar: Liar
    pool: urllib3.PoolManager

    def do_GET(self) -> None:
        self.liar.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.liar.before(self.command)
        if self.liar.upstream is None:
            self.close_connection = True  # without a word, as a ledger that was killed
            return
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        url = self.liar.upstream + self.path
        answer = self.pool.request(self.command, url, body=body, headers=headers)
        kept = {name: answer.headers[name] for name in ("Content-Type",) if name in answer.headers}
        told = self.liar.lie(self.command, self.path, Told(answer.status, answer.data, kept))
        self.send_response(told.status)
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told.body)))
        self.end_headers()
        with suppress(BrokenPipeError):  # who asked was killed
            self.wfile.write(told.body[: len(told.body) - told.cut])
        self.close_connection = bool(told.cut)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def lying_before(upstream: str | None) -> Iterator[Liar]:
    """A proxy before the ledger at `upstream`, honest until it is told otherwise."""

    class Handler(_Handler):
        pool = urllib3.PoolManager(maxsize=8, retries=False)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar = Handler.liar = Liar(f"http://127.0.0.1:{server.server_port}", upstream)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield liar
    finally:
        server.shutdown()
        server.server_close()
