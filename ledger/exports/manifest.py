"""Writing an export so that a stranger can tell whether a copy of it is whole, and of which log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import IO, Any, NamedTuple

from ledger.tlog.head import Checkpoint


class Written(NamedTuple):
    """What went out. lines: newlines, as `wc -l` counts them."""

    sha256: str
    size_bytes: int
    lines: int


def write(chunks: Iterable[bytes], output: IO[bytes]) -> Written:
    digest, size_bytes, lines = sha256(), 0, 0
    for chunk in chunks:
        output.write(chunk)
        digest.update(chunk)
        size_bytes += len(chunk)
        lines += chunk.count(b"\n")
    return Written(digest.hexdigest(), size_bytes, lines)


def manifest(export: str, written: Written, checkpoint: Checkpoint, note: bytes) -> bytes:
    """The manifest of one file: one JSON object on one line (docs/exports.md, "The manifest")."""
    document: dict[str, Any] = {
        "export": export,
        "sha256": written.sha256,
        "bytes": written.size_bytes,
        "lines": written.lines,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "checkpoint": note.decode(),
    }
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"
