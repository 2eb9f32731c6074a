"""What the processes of one service share: made once, in gunicorn's master, before it forks."""

from __future__ import annotations

import atexit
import mmap
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from ledger import logs, metrics
from ledger.config import Config
from ledger.limits import TABLE_BYTES

_BACKLOG = 16
_PATIENCE_S = 5.0  # with whoever asks for metrics


class Shared(NamedTuple):
    """table: of limits.Limiter. directory: of metrics. listener: where they are asked for."""

    table: mmap.mmap
    directory: Path
    listener: socket.socket | None


_prepared: list[Shared] = []


def prepare(config: Config) -> None:
    """Make what workers will share. A second time, when gunicorn reloads, changes nothing."""
    if not _prepared:
        shared = Shared(mmap.mmap(-1, TABLE_BYTES), metrics.make_directory(), _listen(config))
        _prepared.append(shared)
        _remove_at_exit(shared.directory)


def prepared() -> Shared | None:
    """What the master of this process has made, if there is one."""
    return _prepared[0] if _prepared else None


def _remove_at_exit(directory: Path) -> None:
    """Remove `directory` when this process ends, and not when one forked from it does."""
    master = os.getpid()

    def remove() -> None:
        if os.getpid() == master:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)


def _listen(config: Config) -> socket.socket | None:
    if config.metrics_bind is None:
        return None
    host, port = config.metrics_bind
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        # Two ledgers on one machine must not need a setting to be tried out, and who measures
        # a ledger is not who needs it.
        logs.log().error("no_metrics", bind=f"{host}:{port}", error=str(error))
        return None
    # Workers all wait for one connection, and those that come too late must not block.
    listener.setblocking(False)
    logs.log().info("metrics", bind="{}:{}".format(*listener.getsockname()[:2]))
    return listener


# -- serving metrics, in each worker; any of them answers for all


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is theirs
        pass


class _Server(WSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # whoever asked has gone


def serve_metrics(listener: socket.socket, registry: CollectorRegistry) -> None:
    """Answer on `listener` in a thread of its own, as long as the process runs."""
    host, port = listener.getsockname()[:2]
    server = _Server((host, port), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = host, port
    server.setup_environ()
    server.set_app(_only_metrics(make_wsgi_app(registry)))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def _only_metrics(application: Callable[..., Any]) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Length", "0")])
            return [b""]
        found: Iterable[bytes] = application(environ, start_response)
        return found

    return answer
