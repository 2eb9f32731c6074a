"""Signed checkpoints (C2SP tlog-checkpoint): what a log said, and that it was this log.

`Checkpoint` and `parse_checkpoint` are the text alone, from `head.py`.
"""

from __future__ import annotations

from ledger.errors import FormatError, SignatureError
from ledger.tlog.head import Checkpoint, parse_checkpoint
from ledger.tlog.note import ED25519, VerifierKey, parse_note
from ledger.tlog.spelling import shown

__all__ = ["Checkpoint", "check_log_key", "open_checkpoint", "parse_checkpoint"]


def open_checkpoint(note: bytes, log_key: VerifierKey) -> Checkpoint:
    """Read a checkpoint signed by `log_key`, whose name is the log's origin.

    Raises FormatError for what is no checkpoint, SignatureError when the key did not sign it,
    signed something else, or signed for another origin. Cosignatures are not looked at: that
    takes a `Policy`.
    """
    check_log_key(log_key)
    parsed = parse_note(note)
    if not parsed.verified_by([log_key]):
        raise SignatureError(f"the checkpoint has no signature by the log's key {log_key}")
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != log_key.name:
        raise SignatureError(
            f"the checkpoint is of origin {shown(checkpoint.origin)}, "
            f"not of the key's {shown(log_key.name)}"
        )
    return checkpoint


def check_log_key(key: VerifierKey) -> None:
    """Raise FormatError unless `key` may be a log's: a plain Ed25519 key, type 1.

    C2SP also lets logs sign as ML-DSA-44 cosigners (type 6); Amanah does not write or read
    such logs yet, and a refusal is better than a signature that leaves lines uncovered.
    """
    if key.type != ED25519:
        raise FormatError(
            f"the key {shown(key.name)} has signature type {key.type}; "
            "a log's key must be Ed25519, type 1"
        )
