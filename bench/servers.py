"""Real servers on free ports of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ledger.commands.running import gunicorn_command

ROOT = Path(__file__).parents[1]
WORKERS = 2
# One key and one address send more than any that are not a benchmark, and nobody asks for metrics.
OWN_SETTINGS = {"AMANAH_METRICS_BIND": "127.0.0.1:0"}
OWN_SETTINGS |= dict.fromkeys(("AMANAH_KEY_RATE", "AMANAH_ADDRESS_RATE"), "100000000")


def noop_command(address: str) -> list[str]:
    """The yardstick, as a Flask application is usually served: threads in a few processes."""
    command = gunicorn_command(address, WORKERS)  # the same, but for
    command[command.index("ledger.asgi:create_asgi()")] = "bench.noop:app"
    return [*command, "--worker-class", "gthread", "--threads", "16"]  # the last one counts


def ledger_command(address: str) -> list[str]:
    return gunicorn_command(address, WORKERS)


@contextmanager
def serving(
    command: Callable[[str], Sequence[str]], ready: str, database: Path, log: Path
) -> Iterator[int]:
    """Run gunicorn until the block ends; its port, once `ready` answers 200."""
    # A socket of ours that gunicorn takes over: early requests wait in its queue.
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listener,
        log.open("wb") as output,
    ):
        # As gunicorn sets it on sockets it makes itself; else each answer takes 40 ms more.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port: int = listener.getsockname()[1]
        process = subprocess.Popen(
            command(f"fd://{listener.fileno()}"),
            cwd=ROOT,
            env=os.environ | {"AMANAH_DATABASE": str(database), **OWN_SETTINGS},
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=60).close()
        except OSError as error:
            raise RuntimeError(f"{error}\n{log.read_text()}") from error
        yield port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=40)
        with suppress(ProcessLookupError):  # workers that outlived their master
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
