"""The log: one JSON line for each thing that happened, on stderr; for people on a terminal.

No body, key, token, query, path or address gets in: what may be personal is not written down.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import structlog

_STDERR = 2


_encode = msgspec.json.Encoder(enc_hook=repr).encode


@cache
def log_is_for_people() -> bool:
    """Whether stderr is a terminal."""
    return os.isatty(_STDERR)


class _Stderr:
    """Writes each line by one call, so that those of several processes do not mix."""

    def msg(self, line: bytes) -> None:
        os.write(_STDERR, line)

    debug = info = warning = error = msg


def _json_line(_logger: Any, _name: str, event: dict[str, Any]) -> bytes:
    return _encode(event) + b"\n"


def _terminal_line() -> Callable[..., bytes]:
    render = structlog.dev.ConsoleRenderer()

    def line(logger: Any, name: str, event: dict[str, Any]) -> bytes:
        return f"{render(logger, name, event)}\n".encode("utf-8", "backslashreplace")

    return line


def _processors() -> list[Any]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True),
        structlog.processors.format_exc_info,
        _terminal_line() if log_is_for_people() else _json_line,
    ]


@cache
def log() -> Any:
    """The log of this service: `log().info("event", name=value, ...)`."""
    wrapper = structlog.make_filtering_bound_logger(logging.INFO)
    return structlog.wrap_logger(_Stderr(), _processors(), wrapper, cache_logger_on_first_use=True)


def request(**told: Any) -> None:
    """Tell of one request. As `log().info("request", ...)`, at a third of the cost."""
    if log_is_for_people():
        log().info("request", **told)
    else:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        line = {"event": "request", **told, "level": "info", "timestamp": f"{now[:-6]}Z"}
        os.write(_STDERR, _encode(line) + b"\n")


def failed(request_id: str, error: BaseException) -> None:
    """Say that an error of ours was met, which its client is not told more of than the id."""
    log().error("failed", request_id=request_id, error=repr(error))


class Formatter(logging.Formatter):
    """Lines of libraries that use the standard library's logging, in the form of ours."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        name = record.levelname.lower()
        for processor in _processors():
            event = processor(None, name, event)
        line: Any = event
        return str(line, "utf-8").removesuffix("\n")
