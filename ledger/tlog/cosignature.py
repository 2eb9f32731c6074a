"""Cosignatures of checkpoints by witnesses (C2SP tlog-cosignature), checked.

Both kinds carry a big-endian 64-bit POSIX timestamp before the signature proper. Ed25519
(cosignature/v1) signs the time and the checkpoint's whole text; ML-DSA-44 (subtree/v1) signs
the cosigner's name, the time and the checkpoint's origin, size and root, so not its
extension lines.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger.errors import FormatError, SignatureError
from ledger.tlog import ed25519
from ledger.tlog.head import Checkpoint, parse_checkpoint
from ledger.tlog.spelling import INTEGER_MAX, shown

MLDSA44_PUBLIC_KEY_SIZE = 1312
MLDSA44_SIGNATURE_SIZE = 2420
TIMESTAMP_SIZE = 8
# The longest name and origin that fit the one length byte of subtree/v1.
SUBTREE_NAME_BYTES_MAX = 255
# A parsed ML-DSA-44 key holds an expanded matrix of some 16 kB: keep fewer of them.
KEYS_CACHED = 64


def split_cosignature(cosignature: bytes) -> tuple[int, bytes]:
    """A cosignature's timestamp (POSIX seconds, 0..2^63-1) and its signature proper."""
    if len(cosignature) <= TIMESTAMP_SIZE:
        raise SignatureError(f"a cosignature of {len(cosignature)} bytes has no room for its time")
    timestamp = int.from_bytes(cosignature[:TIMESTAMP_SIZE], "big")
    if timestamp > INTEGER_MAX:
        raise SignatureError(f"cosignature timestamp {timestamp} is above 2^63-1")
    return timestamp, cosignature[TIMESTAMP_SIZE:]


def ed25519_message(timestamp: int, text: bytes) -> bytes:
    """What an Ed25519 cosigner signs: a header, the time, the checkpoint's text."""
    return b"cosignature/v1\ntime %d\n%b" % (timestamp, text)


def mldsa44_message(cosigner: str, timestamp: int, checkpoint: Checkpoint) -> bytes:
    """What an ML-DSA-44 cosigner signs: the `cosigned_message` structure, from leaf 0 on.

    Raises FormatError for a name or origin that its one length byte cannot count.
    """
    return b"".join(
        (
            b"subtree/v1\n\0",
            _counted(cosigner),
            timestamp.to_bytes(8, "big"),
            _counted(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def verify_ed25519(public_key: bytes, cosignature: bytes, text: bytes) -> None:
    """Raise SignatureError unless `cosignature` is an Ed25519 one over the checkpoint `text`."""
    timestamp, signature = split_cosignature(cosignature)
    ed25519.verify(public_key, signature, ed25519_message(timestamp, text))


def verify_mldsa44(cosigner: str, public_key: bytes, cosignature: bytes, text: bytes) -> None:
    """Raise SignatureError unless `cosignature` is `cosigner`'s ML-DSA-44 one over `text`."""
    timestamp, signature = split_cosignature(cosignature)
    if len(signature) != MLDSA44_SIGNATURE_SIZE:
        raise SignatureError(
            f"ML-DSA-44 signature has {len(signature)} bytes, not {MLDSA44_SIGNATURE_SIZE}"
        )
    try:
        message = mldsa44_message(cosigner, timestamp, parse_checkpoint(text))
        _load(public_key).verify(signature, message)
    except FormatError as error:
        raise SignatureError(f"nothing that ML-DSA-44 can cosign: {error}") from error
    except InvalidSignature:
        raise SignatureError(
            f"the ML-DSA-44 key of {shown(cosigner)} did not sign this checkpoint"
        ) from None


def check_mldsa44_key(cosigner: str, public_key: bytes) -> None:
    """Raise FormatError unless `cosigner` can cosign with this key of 1,312 bytes."""
    if len(public_key) != MLDSA44_PUBLIC_KEY_SIZE:
        raise FormatError(
            f"ML-DSA-44 key has {len(public_key)} bytes, not {MLDSA44_PUBLIC_KEY_SIZE}"
        )
    _counted(cosigner)


@lru_cache(maxsize=KEYS_CACHED)
def _load(raw: bytes) -> MLDSA44PublicKey:
    return MLDSA44PublicKey.from_public_bytes(raw)


def _counted(name: str) -> bytes:
    """`opaque name<1..2^8-1>` of RFC 8446: one length byte, then UTF-8."""
    data = name.encode("utf-8")
    if not 1 <= len(data) <= SUBTREE_NAME_BYTES_MAX:
        raise FormatError(f"{shown(name)} has {len(data)} bytes, not 1 to {SUBTREE_NAME_BYTES_MAX}")
    return bytes([len(data)]) + data
