"""The tripwire: public texts that look like they hold somebody's personal data.

What is posted is public for ever, so a slip of a form field must be caught at the door. It
looks at short free texts, refs and ids; door-only, so it may be tightened at any time and no
audit asks it again. It must not lock a platform out: numeric order ids look like telephone
numbers, so in refs and ids only whole card and identity numbers count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ledger.entry import pointer_token
from ledger.errors import Fault

# Machine-made values: digests and times hold long runs of digits and are nobody's.
_NEVER = frozenset(
    "sha256 occurred_at amount goal_amount baseline target currency type target_leaf text_digest "
    "quantity estimated_value value".split()
)
_CODES = frozenset(
    "ref id fund from_fund to_fund owner lead party platforms programmes registry uri url".split()
)

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
# Indonesian mobile numbers, and any international number written with its plus; but neither
# the middle of 1.081.234.567.890 nor 62.850.000.000, which are rupiah, nor 0.8123456789.
_PHONE = re.compile(
    r"(?<![\w+])(?<![0-9][.,])(?!62(?:[.,][0-9]{3})+(?![0-9]))"
    r"(?:\+?62[ .()-]{0,2}|0[ ()-]{0,2})8(?:[ .()-]{0,2}[0-9]){8,11}(?![\w])"
)
_PLUS_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ .()-]{0,2}[0-9]){8,14}(?![\w])")
_DIGIT_RUN = re.compile(r"(?<![\w.,-])[0-9](?:[ -]?[0-9]){12,18}(?![\w]|[.,][0-9])")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# Card networks by leading digits and length: a run that merely passes Luhn is one order id in
# ten. Visa, Mastercard (two lines), American Express, JCB, Discover.
_CARD = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|5[1-5][0-9]{14}"
    r"|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|(?:6011|65[0-9]{2})[0-9]{12,15}"
)
_PROVINCES = frozenset(
    "11 12 13 14 15 16 17 18 19 21 31 32 33 34 35 36 51 52 53 61 62 63 64 65 71 72 73 74 75 76 "
    "81 82 91 92 93 94 95 96 97".split()
)


# Whatever trips it holds an @ or nine digits with no more than separators between them. Looked
# for without a pattern, since every statement is: separators go, and all digits become one.
_SEPARATORS = b" .()-"
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_DIGITS_LEAST = b"0" * 9


def may_hold(text: bytes) -> bool:
    """Whether canonical bytes, or a text in UTF-8, are worth a look by `suspect`. Cheap."""
    return b"@" in text or _DIGITS_LEAST in text.translate(_DIGITS_ALIKE, _SEPARATORS)


def suspect(statement: Mapping[str, Any]) -> list[Fault]:
    """A fault for each text of `statement` that looks like personal data."""
    return list(_walk(statement, "", ""))


def _walk(value: Any, pointer: str, name: str) -> Iterator[Fault]:
    if isinstance(value, str):
        if name in _NEVER or not may_hold(value.encode()):
            return
        if found := _look(value, is_code=name in _CODES):
            yield Fault(pointer, f"looks like {found}")
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _walk(member, f"{pointer}/{pointer_token(key)}", key)
    elif isinstance(value, list):
        for i, member in enumerate(value):
            yield from _walk(member, f"{pointer}/{i}", name)


def _look(text: str, is_code: bool) -> str | None:
    if _EMAIL.search(text):
        return "an e-mail address"
    if is_code:
        return _number(text)
    text = _UUID.sub("|", text)  # digits of it that look like a number are chance
    if _PHONE.search(text) or _PLUS_PHONE.search(text):
        return "a telephone number"
    for match in _DIGIT_RUN.finditer(text):
        if found := _number(match[0]):
            return found
    return None


def _number(text: str) -> str | None:
    """What a whole run of digits is, separators aside, if it is somebody's number."""
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    if len(digits) == 16 and _is_nik(digits):
        return "an identity number (NIK)"
    if _CARD.fullmatch(digits) and _luhn(digits):
        return "a card number"
    return None


def _is_nik(digits: str) -> bool:
    """PPKKCCDDMMYYSSSS: province, regency, district, birth date (+40 for women), serial."""
    day, month = int(digits[6:8]), int(digits[8:10])
    return (
        digits[:2] in _PROVINCES
        and 1 <= int(digits[2:4]) <= 79
        and 1 <= int(digits[4:6]) <= 79
        and 1 <= (day - 40 if day > 40 else day) <= 31
        and 1 <= month <= 12
        and digits[12:] != "0000"
    )


def _luhn(digits: str) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
