"""Signed notes and their keys (C2SP signed-note): text, a blank line, signature lines.

    <text>

    — <key name> base64(4-byte key ID || signature)

A key is known by its name and key ID together. A signature by a known key must verify, or
the whole note is refused; one by an unknown key says nothing and is passed over. So a log can
change keys, and witnesses can add lines, without breaking any reader.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import FormatError, SignatureError
from ledger.tlog import cosignature, ed25519
from ledger.tlog.spelling import decode_base64, decode_text, encode_base64, encode_utf8, shown

# The signature types of C2SP signed-note that are understood here.
ED25519 = 1
ED25519_COSIGNATURE = 4
MLDSA44_COSIGNATURE = 6

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100
KEY_ID_SIZE = 4
SEED_SIZE = 32
SIGNATURE_PREFIX = "— "


def check_key_name(name: str) -> None:
    """Raise FormatError unless `name` may name a key: not empty, no space, plus or control."""
    if not name:
        raise FormatError("a key name is empty")
    for character in name:
        # Cc: control characters; Cs: lone surrogates, which have no UTF-8.
        if character.isspace() or unicodedata.category(character) in ("Cc", "Cs"):
            raise FormatError(f"key name {shown(name)} holds {character!r}")
        if character == "+":
            raise FormatError(f"key name {shown(name)} holds a plus, which ends names in keys")


class VerifierKey(NamedTuple):
    """A public key under a name, as its vkey text says: `<name>+<hex key ID>+<base64>`.

    `key_id`: 4 bytes; `public`: 32 bytes, or 1,312 for ML-DSA-44. Make one with `of` or
    `parse`, which check everything; the bare constructor checks nothing.
    """

    name: str
    key_id: bytes
    type: int
    public: bytes

    @classmethod
    def of(cls, name: str, type: int, public: bytes) -> VerifierKey:  # noqa: A002
        """The key `public` of signature type `type` under `name`. Raises FormatError."""
        check_key_name(name)
        if type in (ED25519, ED25519_COSIGNATURE):
            ed25519.check_public_key(public)
        elif type == MLDSA44_COSIGNATURE:
            cosignature.check_mldsa44_key(name, public)
        else:
            raise FormatError(f"key {shown(name)} has signature type {type}, not 1, 4 or 6")
        return cls(name, _key_id(name, bytes([type]) + public), type, public)

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey. Raises FormatError, also when the key ID is not the key's."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise FormatError(f"vkey {shown(text)} is not <name>+<key ID>+<base64>")
        name, key_id, encoded = parts
        material = decode_base64(encoded, "the key of a vkey")
        if not material:
            raise FormatError(f"vkey {shown(text)} holds no key")
        key = cls.of(name, material[0], material[1:])
        _check_key_id(name, key_id, key.key_id)
        return key

    def __str__(self) -> str:
        """The vkey text."""
        material = bytes([self.type]) + self.public
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(material)}"

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raise SignatureError unless this key made `signature` (without key ID) over `text`."""
        if self.type == ED25519:
            ed25519.verify(self.public, signature, text)
        elif self.type == ED25519_COSIGNATURE:
            cosignature.verify_ed25519(self.public, signature, text)
        elif self.type == MLDSA44_COSIGNATURE:
            cosignature.verify_mldsa44(self.name, self.public, signature, text)
        else:
            raise AssertionError(f"a key of type {self.type} was never checked")


class Signature(NamedTuple):
    """One signature line: who says to have signed, and the bytes after the 4-byte key ID."""

    name: str
    key_id: bytes
    signature: bytes

    def base64(self) -> str:
        """base64(key ID || signature), as in the line and in an entry's `signatures`."""
        return encode_base64(self.key_id + self.signature)

    def line(self) -> bytes:
        """The signature line, final newline included."""
        return f"{SIGNATURE_PREFIX}{self.name} {self.base64()}\n".encode()


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key that signs notes. str() is the secret itself; repr() keeps it back."""

    verifier: VerifierKey
    _seed: bytes = field(repr=False)
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, seed: bytes) -> SigningKey:
        """The key of a 32-byte secret seed (RFC 8032). Raises FormatError."""
        if len(seed) != SEED_SIZE:
            raise FormatError(f"the seed of {shown(name)} has {len(seed)} bytes, not {SEED_SIZE}")
        private = Ed25519PrivateKey.from_private_bytes(seed)
        verifier = VerifierKey.of(name, ED25519, private.public_key().public_bytes_raw())
        return cls(verifier, seed, private)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read `PRIVATE+KEY+<name>+<hex key ID>+<base64(type || seed)>`.

        Raises FormatError, whose message never repeats the text: it is a secret.
        """
        parts = text.split("+", 4)
        if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
            raise FormatError("a signing key is not PRIVATE+KEY+<name>+<key ID>+<base64>")
        name, key_id, encoded = parts[2:]
        try:
            material = decode_base64(encoded, "seed")
        except FormatError:
            raise FormatError(f"the seed of {shown(name)} is not canonical base64") from None
        if material[:1] != bytes([ED25519]):
            raise FormatError(f"the signing key of {shown(name)} is not of type 1, Ed25519")
        key = cls.of(name, material[1:])
        _check_key_id(name, key_id, key.verifier.key_id)
        return key

    @property
    def name(self) -> str:
        """The key's name."""
        return self.verifier.name

    def __str__(self) -> str:
        """The secret text that `parse` reads. For the key file and nothing else."""
        material = encode_base64(bytes([ED25519]) + self._seed)
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{material}"

    def signature(self, text: bytes | str) -> Signature:
        """Sign `text`, whose final newline is part of it."""
        return Signature(self.name, self.verifier.key_id, self._private.sign(_as_bytes(text)))

    def sign(self, text: bytes | str) -> bytes:
        """Sign `text`: the signature line, final newline included."""
        return self.signature(text).line()


class Note(NamedTuple):
    """A note that was read. Trust its text only for what `verified_by` answers.

    `text`: bytes, final newline included; `signatures`: in the order of their lines.
    """

    text: bytes
    signatures: list[Signature]

    def format(self) -> bytes:
        """The note's bytes, the same that were read."""
        return self.text + b"\n" + b"".join(signature.line() for signature in self.signatures)

    def verified_by(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Those of `keys` that signed the text, in the order of their lines; none gives [].

        Raises SignatureError when a signature under a known name and key ID does not verify.
        Of several lines by one key only the first counts, as in Go's sumdb/note.
        """
        known = _by_name_and_id(keys)
        verified: dict[tuple[str, bytes], VerifierKey] = {}
        for name, key_id, signature in self.signatures:
            key = known.get((name, key_id))
            if key is None or (name, key_id) in verified:
                continue
            try:
                key.verify(self.text, signature)
            except SignatureError as error:
                who = f"{shown(name)} (key ID {key_id.hex()})"
                raise SignatureError(f"the signature of {who} is wrong: {error}") from error
            verified[name, key_id] = key
        return list(verified.values())


def parse_note(data: bytes) -> Note:
    """Read a signed note of at most 1 MB and 1 to 100 signature lines. Raises FormatError."""
    if len(data) > NOTE_BYTES_MAX:
        raise FormatError(f"note has {len(data)} bytes, more than {NOTE_BYTES_MAX}")
    decode_text(data, "note")
    # The last blank line: the text itself may hold others.
    body, blank, lines = data.rpartition(b"\n\n")
    if not blank:
        raise FormatError("note has no blank line between text and signatures")
    return Note(body + b"\n", parse_signatures(lines))


def parse_signatures(data: bytes) -> list[Signature]:
    """Read 1 to 100 signature lines, as they end a note or come from a witness."""
    lines = decode_text(data, "the signature block")[:-1].split("\n") if data else []
    if not 1 <= len(lines) <= SIGNATURES_MAX:
        raise FormatError(f"note has {len(lines)} signature lines, not 1 to {SIGNATURES_MAX}")
    return [_parse_signature(line) for line in lines]


def sign_note(text: bytes | str, *keys: SigningKey) -> bytes:
    """The note of `text` signed by `keys` in their order.

    Raises FormatError for text that no note can carry, or a note that no reader would take.
    """
    body = _as_bytes(text)
    decode_text(body, "note text")
    note = Note(body, [key.signature(body) for key in keys]).format()
    if not 1 <= len(keys) <= SIGNATURES_MAX or len(note) > NOTE_BYTES_MAX:
        raise FormatError(f"a note of {len(note)} bytes with {len(keys)} signatures is no note")
    return note


def _parse_signature(line: str) -> Signature:
    if not line.startswith(SIGNATURE_PREFIX):
        raise FormatError(f"signature line {shown(line)} does not begin with an em dash and space")
    name, _, encoded = line.removeprefix(SIGNATURE_PREFIX).partition(" ")
    check_key_name(name)
    data = decode_base64(encoded, f"the signature of {shown(name)}")
    if len(data) <= KEY_ID_SIZE:
        raise FormatError(f"the signature of {shown(name)} has {len(data)} bytes, not over 4")
    return Signature(name, data[:KEY_ID_SIZE], data[KEY_ID_SIZE:])


def _by_name_and_id(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        other = known.setdefault((key.name, key.key_id), key)
        # 32 bits collide on purpose easily; guessing which key was meant is not for us.
        if other != key:
            raise FormatError(f"two keys are both {shown(key.name)} with ID {key.key_id.hex()}")
    return known


def _key_id(name: str, material: bytes) -> bytes:
    """SHA-256(name || newline || type || public key)[:4], as C2SP recommends."""
    return sha256(name.encode("utf-8") + b"\n" + material).digest()[:KEY_ID_SIZE]


def _check_key_id(name: str, said: str, computed: bytes) -> None:
    if said != computed.hex():
        raise FormatError(f"key {shown(name)} says key ID {shown(said)}, not {computed.hex()}")


def _as_bytes(text: bytes | str) -> bytes:
    return encode_utf8(text, "note text") if isinstance(text, str) else text
