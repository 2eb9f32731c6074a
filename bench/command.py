"""Whole commands of `amanah`, run as their users run them: how long, and in how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.servers import ROOT

LOOK_EVERY_S = 0.1
_AMANAH = [sys.executable, "-c", "from ledger.cli import main; main()"]


class Ran(NamedTuple):
    """How a command went. memory_mb: the most that it and its children held at one moment."""

    seconds: float
    memory_mb: float


def amanah(*arguments: str, database: Path) -> Ran:
    """Run a command to its end. Raises RuntimeError unless its exit code is 0."""
    start = time.perf_counter()
    with subprocess.Popen(
        [*_AMANAH, *arguments],
        cwd=ROOT,
        env=os.environ | {"AMANAH_DATABASE": str(database), "AMANAH_STATE": f"{database}.state"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        memory = 0
        while True:
            memory = max(memory, _memory_bytes(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY_S)
                break
        seconds = time.perf_counter() - start
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"amanah {' '.join(arguments)}: {output.decode()}")
    return Ran(seconds, memory / 1e6)


def _memory_bytes(pid: int) -> int:
    """Resident bytes of a process and its children. What they share counts more than once."""
    total = 0
    with suppress(psutil.NoSuchProcess):  # one that has just ended
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    return total
