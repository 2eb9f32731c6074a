"""Hooks for gunicorn that let `make coverage` see what workers run.

A worker of uvicorn ends by sending itself, with the default handler in place, the signal that
stopped it. No exit handler runs then, so what was measured is saved just before.
"""

from __future__ import annotations

import signal
from typing import Any

import coverage


def post_fork(_arbiter: Any, _worker: Any) -> None:
    """gunicorn calls this in each worker, before it runs."""
    plain = signal.raise_signal

    def raise_signal(number: int) -> None:
        measured = coverage.Coverage.current()
        if measured is not None:
            measured.stop()
            measured.save()
        plain(number)

    signal.raise_signal = raise_signal
