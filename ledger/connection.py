"""A connection of a client, who has only so much time to ask and to take the answer.

A client that is slow, on purpose or not, holds a connection and never a worker: this ends it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from ledger import logs
from ledger.admission import Room
from ledger.drain import DrainingProtocol
from ledger.metrics import Metrics
from ledger.problems import Reply, problem

HEAD_S = 10.0  # for the head of a request, also from the moment of connecting
BODY_S = 30.0  # for its body, as long as gunicorn lets a worker that stops go on
ANSWER_S = 30.0  # for an answer, and
ANSWER_BYTES_S_MIN = 16_384  # as much longer as it takes at this speed


class Connection(DrainingProtocol):
    """One connection of the service."""

    transport: asyncio.Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._room: Room = self.app_state["room"]
        self._metrics: Metrics = self.app_state["metrics"]
        self._stage = self._watched = 0  # how many heads and bodies began or ended
        self._allowed_s = HEAD_S  # for what is being read, 0 for nothing
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._unsent_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._room.connections += 1
        self._metrics.connections(self._room.connections)
        if self._room.is_crowded:
            # Its first request is answered with that, and ends it.
            self.app_state = {**self.app_state, "is_crowded": True}
        self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.connections -= 1
        self._metrics.connections(self._room.connections)
        self._forget_timer()
        self._forget_unsent()
        super().connection_lost(exc)

    # -- reading

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._stage != self._watched:
            self._watched = self._stage
            self._forget_timer()
            if self._allowed_s:
                self._timer = self.loop.call_later(self._allowed_s, self._give_up)
        elif not self._allowed_s and self._is_answered and self.timeout_keep_alive_task is None:
            self._wait_for_the_next()  # what came was no request, such as empty lines

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage += 1
        self._allowed_s = HEAD_S

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._stage += 1
        self._allowed_s = BODY_S

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stage += 1
        self._allowed_s = 0.0
        if self._is_answered:
            self._wait_for_the_next()  # it was refused before its body had come

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # None before the first request

    def _wait_for_the_next(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self._is_answered and self._allowed_s == HEAD_S:
            # The next request is late, but the one before it is still being answered.
            self._timer = self.loop.call_later(HEAD_S, self._give_up)
            return
        if self.transport.is_closing():
            return
        self._tell("request_timeout")
        if self._allowed_s == HEAD_S or not self.cycle.response_started:
            self.transport.write(_raw(too_slow(secrets.token_hex(8))))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._tell("not_http")
        super().send_400_response(msg)

    def _tell(self, code: str) -> None:
        self._metrics.refused(code)
        logs.log().info("connection", code=code)

    # -- writing

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._room.unsent_bytes += self._unsent_bytes
        allowed_s = ANSWER_S + self._unsent_bytes / ANSWER_BYTES_S_MIN
        self._unsent_timer = self.loop.call_later(allowed_s, self._cut_off)

    def resume_writing(self) -> None:
        self._forget_unsent()
        super().resume_writing()

    def _cut_off(self) -> None:
        self._tell("answer_timeout")
        self.transport.abort()

    def _forget_unsent(self) -> None:
        self._room.unsent_bytes -= self._unsent_bytes
        self._unsent_bytes = 0
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
            self._unsent_timer = None


def too_slow(request_id: str) -> Reply:
    """What a client is told that does not go on."""
    return problem(408, "request_timeout", "the request came too slowly; send it again", request_id)


def _raw(reply: Reply) -> bytes:
    head = ["HTTP/1.1 408 Request Timeout", *(f"{name}: {value}" for name, value in reply.headers)]
    head += [f"Content-Length: {len(reply.body)}", "Connection: close", "", ""]
    return "\r\n".join(head).encode() + reply.body
