"""A plain web server over a directory: no headers of ours, no gzip, 404 pages in HTML."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve `directory` with `python -m http.server`; its address."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # Serving HTTP on 127.0.0.1 port 40123 (...)
            yield f"http://127.0.0.1:{line.split(' port ')[1].split()[0]}"
        finally:
            process.terminate()
