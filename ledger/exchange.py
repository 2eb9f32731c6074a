"""One request and its answer, as log and metrics tell of them.

Told: what was asked for in general, by which key, and what became of it. Not told: the body, the
key itself, what stands in the path or the query, and from where it came.
"""

from __future__ import annotations

import time

from ledger import logs
from ledger.metrics import Metrics
from ledger.problems import Reply


class Exchange:
    """One request on its way. route: the pattern of its path, empty when there is no such path."""

    __slots__ = ("_began", "key_id", "method", "request_id", "route")

    def __init__(self, method: str, request_id: str) -> None:
        self.method, self.request_id = method, request_id
        self.route = self.key_id = ""
        self._began = time.perf_counter()

    def was_answered(self, reply: Reply, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self._began
        metrics.answered(self.method, self.route, reply.status, reply.code, seconds)
        self._tell(status=reply.status, code=reply.code, seconds=seconds)

    def was_left(self, metrics: Metrics) -> None:
        """Its client went away before the whole request had come."""
        metrics.refused("client_gone")
        self._tell(status=None, code="client_gone", seconds=time.perf_counter() - self._began)

    def _tell(self, status: int | None, code: str, seconds: float) -> None:
        logs.request(
            request_id=self.request_id,
            method=self.method,
            route=self.route,
            status=status,
            code=code,
            key_id=self.key_id,
            duration_ms=round(seconds * 1e3, 3),
        )
