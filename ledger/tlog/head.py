"""The text of a checkpoint: origin, size and root of a tree (C2SP tlog-checkpoint).

Only the text; who signed it is the business of `checkpoint.py`, which callers import. It
stands apart because an ML-DSA-44 cosignature signs the fields and not the text, so that
checking a note's signatures needs this from below.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.errors import FormatError
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.spelling import decode_base64, decode_text, encode_base64, parse_decimal


class Checkpoint(NamedTuple):
    """What a log says of itself: the tree of its first `size` entries has this `root`.

    `extensions`: opaque non-empty lines, which Amanah never writes.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> bytes:
        """The note text that gets signed, final newline included."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode("utf-8")


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read the text of a checkpoint, final newline included and signatures not.

    Raises FormatError for anything but the one spelling: three or more non-empty lines, a
    plain decimal below 2^63, the canonical base64 of 32 bytes.
    """
    lines = decode_text(text, "checkpoint")[:-1].split("\n")
    if len(lines) < 3:
        raise FormatError(f"checkpoint has {len(lines)} lines, not at least 3")
    if "" in lines:
        raise FormatError(f"checkpoint has an empty line, line {lines.index('') + 1}")
    origin, size, root_base64, *extensions = lines
    root = decode_base64(root_base64, "checkpoint root")
    if len(root) != HASH_SIZE:
        raise FormatError(f"checkpoint root has {len(root)} bytes, not {HASH_SIZE}")
    return Checkpoint(origin, parse_decimal(size, "checkpoint size"), root, tuple(extensions))
