"""Offline proofs that an entry is in the log (C2SP tlog-proof): what a receipt is made of.

    c2sp.org/tlog-proof@v1
    extra <base64>
    index <n>
    <base64 of a hash, the leaf's sibling first>
    ...

    <signed checkpoint>

The extra line and the hashes may be missing; nothing else may.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import FormatError
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.merkle import HASH_SIZE, verify_inclusion
from ledger.tlog.note import parse_note
from ledger.tlog.policy import Policy
from ledger.tlog.spelling import decode_base64, decode_text, encode_base64, parse_decimal, shown

HEADER = "c2sp.org/tlog-proof@v1"
# A tree of 2^63 leaves has proofs of 63 hashes.
HASHES_MAX = 63


@dataclass(frozen=True)
class TlogProof:
    """The inclusion proof of leaf `index`, with the signed checkpoint it leads to.

    `extra`: opaque bytes that nothing authenticates by itself (Amanah puts the entry there,
    which its leaf hash then proves), or None; `hashes`: 32 bytes each, the leaf's sibling
    first; `checkpoint`: the signed note.
    """

    extra: bytes | None
    index: int
    hashes: list[bytes]
    checkpoint: bytes

    def format(self) -> bytes:
        """The bytes of a .tlog-proof file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(encode_base64(hash_) for hash_ in self.hashes)
        return "".join(f"{line}\n" for line in lines).encode("ascii") + b"\n" + self.checkpoint

    def verify(self, leaf_hash: bytes, policy: Policy) -> Checkpoint:
        """Check that the entry with this 32-byte leaf hash is in a log that `policy` trusts.

        Answers the checkpoint that says so. Raises SignatureError or PolicyError for the
        checkpoint, ProofError for the way to it. What `leaf_hash` is the hash of, and that
        it is the entry in question, is the caller's to know.
        """
        checkpoint = policy.check(self.checkpoint)
        verify_inclusion(leaf_hash, self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


def parse_proof(data: bytes) -> TlogProof:
    """Read a .tlog-proof, its checkpoint's spelling included. Raises FormatError.

    Nothing is verified yet: that is `TlogProof.verify`.
    """
    head, blank, checkpoint = data.partition(b"\n\n")
    if not blank:
        raise FormatError("tlog-proof has no blank line before its checkpoint")
    header, *lines = decode_text(head + b"\n", "tlog-proof")[:-1].split("\n")
    if header != HEADER:
        raise FormatError(f"tlog-proof begins with {shown(header)}, not with {HEADER!r}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _parse_extra(lines.pop(0))
    if not lines or not lines[0].startswith("index "):
        raise FormatError("tlog-proof has no index line where one is due")
    index = parse_decimal(lines.pop(0).removeprefix("index "), "tlog-proof index")
    if len(lines) > HASHES_MAX:
        raise FormatError(f"tlog-proof has {len(lines)} hashes, more than {HASHES_MAX}")
    parse_checkpoint(parse_note(checkpoint).text)
    return TlogProof(extra, index, [_parse_hash(line) for line in lines], checkpoint)


def _parse_extra(line: str) -> bytes:
    extra = decode_base64(line.removeprefix("extra "), "tlog-proof extra")
    if not extra:  # "if no extra data is present, this line is omitted"
        raise FormatError("tlog-proof has an extra line without data")
    return extra


def _parse_hash(line: str) -> bytes:
    hash_ = decode_base64(line, "tlog-proof hash")
    if len(hash_) != HASH_SIZE:
        raise FormatError(f"tlog-proof hash has {len(hash_)} bytes, not {HASH_SIZE}")
    return hash_
