"""Checking signatures beside a statement: which key is meant, and whether it signed.

Verifying costs some 100 us, so what was verified is remembered, for a while: the door asks
before the write lock is taken, and the fold, which asks again, then finds the answer.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache

from ledger.errors import SignatureError
from ledger.tlog import ed25519
from ledger.tlog.note import KEY_ID_SIZE, VerifierKey

Signature = Mapping[str, str]  # party, sig: an element of an entry's `signatures`

KEYS_CACHED = 4_096
VERDICTS_KEPT = 16_384  # of some 700 bytes: what a full batch may carry, and what waits beside it


@lru_cache(maxsize=KEYS_CACHED)
def key_of(vkey: str) -> VerifierKey:
    """The key that a vkey says. Raises FormatError."""
    return VerifierKey.parse(vkey)


def key_meant(signature: Signature, vkeys: Iterable[str]) -> VerifierKey | None:
    """The one of `vkeys` whose ID stands before the signature."""
    key_id = base64.b64decode(signature["sig"])[:KEY_ID_SIZE]
    return next((key for key in map(key_of, vkeys) if key.key_id == key_id), None)


def has_signed(key: VerifierKey, signature: Signature, text: bytes) -> bool:
    """Whether `key` made `signature` over `text`."""
    return _is_good(key.public, base64.b64decode(signature["sig"])[KEY_ID_SIZE:], text)


@lru_cache(maxsize=VERDICTS_KEPT)
def _is_good(public: bytes, signature: bytes, text: bytes) -> bool:
    try:
        ed25519.verify(public, signature, text)
    except SignatureError:
        return False
    return True
