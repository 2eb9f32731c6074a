"""Ending a process without losing a request that is on its way to it."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

DRAIN_S = 1.0  # longer than a request travels


class DrainingProtocol(HttpToolsProtocol):
    """A connection that stays open for a moment when its process is about to end.

    uvicorn closes what is idle at once: a connection that was just made, or kept, although its
    next request may be on the wire already. Here that request is answered, and the answer says
    that the connection ends; who has nothing to ask within `DRAIN_S` loses nothing.
    """

    _is_draining = False

    def shutdown(self) -> None:
        self._is_draining = True
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]  # None before the first request
            self.loop.call_later(DRAIN_S, super().shutdown)
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._is_draining and self.cycle is not None:
            self.cycle.keep_alive = False
