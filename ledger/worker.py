"""gunicorn's worker class: uvicorn's, with connections of ours, and told to stop at any moment."""

from __future__ import annotations

import logging
import os
import resource
import signal
from typing import Any, ClassVar

from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from ledger import shared
from ledger.config import Config
from ledger.connection import Connection
from ledger.logs import Formatter

FILES_WANTED = 65_536
# What uvicorn says of connections that do not speak HTTP; connection.py says it in one line.
_SAID_ELSEWHERE = ("Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket")
_STOPS = (signal.SIGTERM, signal.SIGQUIT)


class Worker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """gunicorn's worker class. No banner; the log is gunicorn's."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": Connection,
        "lifespan": "on",
        "server_header": False,
    }

    @staticmethod
    def setup() -> None:
        """Called in gunicorn's master: make what workers share, and hold back what would stop one
        until it listens.

        Until init_signals a new worker has the handlers of the master, which only make a note for
        the master. Told to stop just then, it would serve on until it is killed.
        """
        shared.prepare(Config.from_environment())
        os.register_at_fork(
            before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS),
            after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS),
        )

    def init_process(self) -> None:
        _allow_many_connections()
        super().init_process()

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    async def callback_notify(self) -> None:
        # A master that was killed takes nobody with it; without this its workers serve on for
        # ever, also on a database that was replaced meanwhile.
        if os.getppid() != self.ppid:
            os.kill(os.getpid(), signal.SIGTERM)
        await super().callback_notify()


def _allow_many_connections() -> None:
    """More files than the usual soft limit of 1,024, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class GunicornLogger(Logger):  # type: ignore[misc]  # it has no types
    """gunicorn's logger class: its own lines, and uvicorn's through its handlers, as ours are."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(Formatter())
            handler.addFilter(_is_not_said_elsewhere)


def _is_not_said_elsewhere(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_SAID_ELSEWHERE)
