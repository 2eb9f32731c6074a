"""Signing statements as a party: what a platform, an approver or a recipient needs, in one file.

It needs `cryptography` and nothing else of this package, so copy it or import it:

    key = PartyKey.generate("yayasan")        # str(key) is the secret: keep it in a 0600 file
    key.vkey                                  # goes into `keys` of the party's statement
    key.sign(statement, "ledger.example.org/donations", "kita")   # one element of `signatures`

A signature binds the ledger (its origin), the platform that posts, the party that signs, and
every byte of the statement in canonical form. docs/format.md, "Signatures".
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = "amanah/statement/v1"
_ED25519 = b"\x01"  # the signature type of C2SP signed-note
_SEED_SIZE = 32


def canonical(statement: Mapping[str, Any]) -> bytes:
    """The statement's canonical bytes: RFC 8785 of the values that statements are made of."""
    text = json.dumps(statement, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def signed_text(origin: str, platform: str, party: str, statement: bytes) -> bytes:
    """What `party` signs when `platform` is to post `statement`, given in canonical form."""
    return f"{KIND}\n{origin}\n{platform}\n{party}\n{sha256(statement).hexdigest()}\n".encode()


@dataclass(frozen=True)
class PartyKey:
    """The secret key of a party. str() is the secret itself; repr() keeps it back.

    vkey: the public key as C2SP signed-note spells it, named by the party's id.
    """

    party: str
    vkey: str
    _seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, party: str) -> PartyKey:
        """A fresh key."""
        return cls.of(party, os.urandom(_SEED_SIZE))

    @classmethod
    def of(cls, party: str, seed: bytes) -> PartyKey:
        """The key of a 32-byte secret seed (RFC 8032)."""
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        material = _ED25519 + public
        key_id = _key_id(party, material).hex()
        return cls(party, f"{party}+{key_id}+{base64.b64encode(material).decode()}", seed)

    @classmethod
    def parse(cls, text: str) -> PartyKey:
        """Read what str() wrote. Raises ValueError, whose message never repeats the secret."""
        try:
            _, _, party, _, encoded = text.split("+", 4)
            key = cls.of(party, base64.b64decode(encoded, validate=True)[1:])
        except ValueError:
            raise ValueError("not the secret key of a party, PRIVATE+KEY+...") from None
        if str(key) != text:
            raise ValueError("the secret key of a party is not spelled as it was written")
        return key

    def __str__(self) -> str:
        encoded = base64.b64encode(_ED25519 + self._seed).decode()
        return f"PRIVATE+KEY+{self.party}+{self.vkey.split('+')[1]}+{encoded}"

    def sign(self, statement: Mapping[str, Any], origin: str, platform: str) -> dict[str, str]:
        """The element of `signatures` for `statement`, which `platform` is to post to the ledger
        `origin`."""
        text = signed_text(origin, platform, self.party, canonical(statement))
        signature = Ed25519PrivateKey.from_private_bytes(self._seed).sign(text)
        key_id = bytes.fromhex(self.vkey.split("+")[1])
        return {"party": self.party, "sig": base64.b64encode(key_id + signature).decode()}


def _key_id(name: str, material: bytes) -> bytes:
    """SHA-256(name || newline || type || public key)[:4], as C2SP signed-note recommends."""
    return sha256(name.encode() + b"\n" + material).digest()[:4]
