"""The one spelling of a value: strict readers that every parser of this floor shares.

Each refuses what it would not have written itself, so that accepted bytes always re-format
to themselves. A lenient reader lets one signed thing have many faces, and two programs then
disagree about what was signed.
"""

from __future__ import annotations

import binascii
import re

from ledger.errors import FormatError

# Sizes, indexes and timestamps stay in a signed 64-bit integer, as in Go, SQLite and Java.
INTEGER_MAX = 2**63 - 1
SHOWN_CHARACTERS = 60

_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_CONTROLS = re.compile(rb"[\x00-\x09\x0b-\x1f]")


def shown(value: str | bytes) -> str:
    """`value` as an error message shows it: quoted, and cut so that a message stays a line."""
    if len(value) <= SHOWN_CHARACTERS:
        return repr(value)
    return f"{value[:SHOWN_CHARACTERS]!r}... ({len(value)} long)"


def parse_decimal(text: str, what: str) -> int:
    """Read an ASCII decimal of 0..2^63-1 without sign or leading zero. `what` names it in errors.

    A bare int() would take " 5", "1_000", "+5" and Arabic digits.
    """
    if not _DECIMAL.match(text) or int(text) > INTEGER_MAX:
        raise FormatError(f"{what} is {shown(text)}, not a plain decimal of at most 2^63-1")
    return int(text)


def decode_base64(text: str, what: str) -> bytes:
    """Read standard padded base64 (RFC 4648 section 4) in its only spelling.

    Python's decoder, even with validate=True, takes stray bits in the last character; only
    encoding again and comparing finds every second spelling.
    """
    try:
        data = binascii.a2b_base64(text)
    except ValueError as error:  # binascii.Error, and text outside ASCII
        raise FormatError(f"{what} is {shown(text)}, not base64: {error}") from None
    if encode_base64(data) != text:
        raise FormatError(f"{what} is {shown(text)}, not base64 in its canonical spelling")
    return data


def encode_base64(data: bytes) -> str:
    """Standard padded base64 (RFC 4648 section 4) on one line."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_text(data: bytes, what: str) -> str:
    """Read the text of a note: UTF-8 that ends in a newline, without other ASCII controls.

    Source: C2SP signed-note, "Format".
    """
    if control := _CONTROLS.search(data):
        raise FormatError(
            f"{what} has the control character {control[0]!r} at byte {control.start()}"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not UTF-8 at byte {error.start}") from None
    if not text.endswith("\n"):
        raise FormatError(f"{what} ends in {shown(text[-1:])}, not in a newline")
    return text


def encode_utf8(text: str, what: str) -> bytes:
    """UTF-8 of `text`; a lone surrogate, which JSON can smuggle into a str, is refused."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(f"{what} has a lone surrogate at character {error.start}") from None
