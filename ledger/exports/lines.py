"""JSON lines: the exact bytes of each entry, so that every line can be hashed as it stands."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.exports.log import Log


def export(log: Log) -> Iterator[bytes]:
    """One line an entry, in order: its canonical JSON, which holds no newline, and a newline."""
    for sealed in log:
        yield sealed.entry_bytes + b"\n"
