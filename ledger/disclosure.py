"""Disclosures: texts beside the log, of which only a digest is sealed. Pure, standard library.

A report's `text_digest` is the digest of `["<salt>", "text", "<text>"]`, in the way of RFC 9901
(SD-JWT): whoever has the disclosure can check that it is what was sealed, and nobody can guess
it from the digest. docs/format.md, "Disclosures".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from ledger.errors import FormatError

SALT_BYTES = 16
TEXT = "text"
TEXT_MAX = 20_000  # code points
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class Disclosure(NamedTuple):
    """What is disclosed. salt: base64url, as it stands in the disclosure."""

    salt: str
    name: str
    value: str


def encode(disclosure: Disclosure) -> str:
    """The one spelling of a disclosure: base64url of its JSON, with a space behind each comma.

    Raises FormatError.
    """
    # json's own separators, and characters as themselves: as RFC 9901 prints it.
    spelled = json.dumps(list(disclosure), ensure_ascii=False)
    try:
        return encode_base64url(spelled.encode())
    except UnicodeEncodeError as error:
        raise FormatError(f"a lone surrogate has no UTF-8: {error.reason}") from error


def digest(encoded: str) -> str:
    """What is sealed of a disclosure: base64url of the SHA-256 of its ASCII."""
    return encode_base64url(sha256(encoded.encode()).digest())


def asked_for(statement: Mapping[str, Any]) -> set[str]:
    """The digests of the disclosures that may stand beside a statement."""
    return {statement["text_digest"]} if "text_digest" in statement else set()


def disclose_text(text: str, salt: bytes) -> str:
    """The disclosure to post beside a report whose `text_digest` is its `digest`.

    salt: 16 random bytes, fresh for each text. Raises FormatError. Which texts a ledger takes is
    for its door to say.
    """
    if len(salt) != SALT_BYTES:
        raise FormatError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return encode(Disclosure(encode_base64url(salt), TEXT, text))


def decode(encoded: str) -> Disclosure:
    """Read a disclosure and hold it to its one spelling. Raises FormatError."""
    try:
        elements = json.loads(decode_base64url(encoded).decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not base64url of JSON: {error}") from error
    if not (isinstance(elements, list) and list(map(type, elements)) == [str] * 3):
        raise FormatError("not an array of three texts: salt, name and value")
    disclosure = Disclosure(*elements)
    if encode(disclosure) != encoded:
        raise FormatError('not spelled as ["<salt>", "text", "<text>"] is in RFC 9901')
    return disclosure


def decode_text(encoded: str) -> str:
    """The text of a disclosure that may stand beside a report. Raises FormatError."""
    salt, name, text = decode(encoded)
    if name != TEXT:
        raise FormatError(f"it discloses {name[:40]!r}, not {TEXT!r}")
    if len(decode_base64url(salt)) != SALT_BYTES:
        raise FormatError(f"its salt is not base64url of {SALT_BYTES} bytes")
    return text


def encode_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_base64url(text: str) -> bytes:
    """The bytes of unpadded base64url in its one spelling. Raises FormatError."""
    if not _BASE64URL.fullmatch(text):
        raise FormatError("not base64url without padding")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise FormatError(f"not base64url: {error}") from error
    if encode_base64url(data) != text:
        raise FormatError("not the one spelling of base64url: unused bits are set")
    return data
