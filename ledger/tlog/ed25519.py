"""Ed25519 with one verdict everywhere (RFC 8032, made strict).

Verifiers of the wild disagree on odd keys and signatures: some take encodings of points that
are not canonical, some multiply by the cofactor, and a key of small order signs anything. A
ledger that one checker calls sound and another broken is worth nothing, so the oddities are
refused by name: A and R canonical, S < L, A not of small order, and R equal to [S]B - [h]A
byte for byte.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.errors import FormatError, SignatureError

PUBLIC_KEY_SIZE = 32
SIGNATURE_SIZE = 64
# As many parsed keys as a busy ledger has signers; each is a few hundred bytes.
KEYS_CACHED = 1024

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
# y of the eight points whose order divides 8: order 1, 2, 4, and 8 twice (x of either sign).
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset({1, _P - 1, 0, _Y8, _P - _Y8})


def check_public_key(raw: bytes) -> None:
    """Raise FormatError unless `raw` is the canonical encoding of a point of large order."""
    if len(raw) != PUBLIC_KEY_SIZE:
        raise FormatError(f"Ed25519 key has {len(raw)} bytes, not {PUBLIC_KEY_SIZE}")
    y = _y(raw)
    if y >= _P:
        raise FormatError(f"Ed25519 key {raw.hex()} is not canonical: y is not below 2^255-19")
    # Points with x = 0 are among these, so no valid key has the second, "negative zero" sign.
    if y in _SMALL_ORDER_Y:
        raise FormatError(f"Ed25519 key {raw.hex()} has small order: it would verify anything")
    # x^2 = (y^2 - 1) / (d y^2 + 1); a quotient is a square exactly when the product is one.
    if pow((y * y - 1) * (_D * y * y + 1), (_P - 1) // 2, _P) != 1:
        raise FormatError(f"Ed25519 key {raw.hex()} is not a point of the curve")


def verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Raise SignatureError unless `signature` (64 bytes, R || S) signs `message`.

    OpenSSL, under `cryptography`, computes [S]B - [h]A without a cofactor, encodes it and
    compares with the bytes of R. What it encodes is canonical, so an R spelled otherwise or
    moved by a torsion point is refused there. It does not promise that, nor S < L, to us, and
    it takes a key spelled otherwise or of small order: those checks are made here.
    """
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureError(f"Ed25519 signature has {len(signature)} bytes, not {SIGNATURE_SIZE}")
    if _y(signature[:32]) >= _P:
        raise SignatureError("Ed25519 signature is not canonical: y of R is not below 2^255-19")
    if int.from_bytes(signature[32:], "little") >= _L:
        raise SignatureError("Ed25519 signature is not canonical: S is not below the group order")
    try:
        _load(public_key).verify(signature, message)
    except FormatError as error:
        raise SignatureError(str(error)) from error
    except InvalidSignature:
        raise SignatureError(
            f"Ed25519 key {public_key.hex()} did not sign these {len(message)} bytes"
        ) from None


@lru_cache(maxsize=KEYS_CACHED)
def _load(raw: bytes) -> Ed25519PublicKey:
    check_public_key(raw)
    return Ed25519PublicKey.from_public_bytes(raw)


def _y(encoded: bytes) -> int:
    """The y coordinate in an encoded point; the top bit is the sign of x."""
    return int.from_bytes(encoded, "little") & (2**255 - 1)
