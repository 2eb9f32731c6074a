"""Field types of statements. Each holds a value to its one spelling and changes nothing.

The canonical form of the poster's own object is sealed, so loading never normalises,
defaults or drops: a field only says whether the value is right. docs/format.md, "Values".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, validates_schema

from ledger.entry import INTEGER_MAX, SYSTEM_PLATFORM, forbidden_character
from ledger.errors import FormatError
from ledger.goods import QUANTITY
from ledger.money import EXPONENT_MAX, AmountError, parse_amount
from ledger.signatures import key_of
from ledger.tlog.note import ED25519, KEY_ID_SIZE
from ledger.tlog.spelling import decode_base64

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
REF = re.compile(r"[A-Za-z0-9._:-]{1,64}")
HASH = re.compile(r"[0-9a-f]{64}")
CURRENCY = re.compile(r"[A-Z]{3}")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?")
DIGEST = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
UNIT = re.compile(r"[A-Z0-9]{2,3}")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# 24:00 is another spelling of the next midnight, and -00:00 of +00:00.
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3})?"
    r"(?:Z|(?!-00:00)[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
)
URL_MAX = 200
SIGNATURE_BYTES = KEY_ID_SIZE + 64


class Message(str):
    """A fault's text together with the refusal code it leads to."""

    code: str

    def __new__(cls, text: str, code: str = "invalid") -> Message:
        message = super().__new__(cls, text)
        message.code = code
        return message


class Spelled(fields.Field[Any]):
    """A value taken exactly as it stands, or refused with the fault that `fault` finds."""

    def fault(self, value: Any) -> str | None:
        """What is wrong with `value`, or None."""
        raise AssertionError("every field type says what it takes")

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if (fault := self.fault(value)) is not None:
            raise ValidationError([fault])
        return value


class Pattern(Spelled):
    """A text that a pattern matches from first to last character."""

    pattern: re.Pattern[str]
    expected: str

    def fault(self, value: Any) -> str | None:
        if isinstance(value, str) and self.pattern.fullmatch(value):
            return None
        return f"expected {self.expected}"


class Id(Pattern):
    """The id of a party, programme or fund: `names` says which, for whoever follows it."""

    pattern = ID
    expected = "an id: 1 to 63 of a-z, 0-9 and -, not beginning with -"

    def __init__(self, names: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = names

    def fault(self, value: Any) -> str | None:
        if value == SYSTEM_PLATFORM:
            return f"the id {SYSTEM_PLATFORM!r} is reserved"
        return super().fault(value)


class Ref(Pattern):
    pattern = REF
    expected = "a ref: 1 to 64 of A-Z, a-z, 0-9 and . _ : -"


class Hash(Pattern):
    pattern = HASH
    expected = "64 lower-case hex digits"


class Currency(Pattern):
    pattern = CURRENCY
    expected = "an ISO 4217 code of three capitals"


class CurrencyTable(Spelled):
    """ISO 4217 code -> exponent, as the genesis fixes it."""

    def fault(self, value: Any) -> str | None:
        if (
            isinstance(value, dict)
            and value
            and all(CURRENCY.fullmatch(code) for code in value)
            and all(type(e) is int and 0 <= e <= EXPONENT_MAX for e in value.values())
        ):
            return None
        return f"expected ISO 4217 codes with their exponents, 0 to {EXPONENT_MAX}"


class Decimal(Pattern):
    """A signed decimal number of up to 15 digits and 6 decimals, never minus zero."""

    pattern = DECIMAL
    expected = "a decimal string such as 12.5 or -3"

    def fault(self, value: Any) -> str | None:
        fault = super().fault(value)
        if fault is None and value.startswith("-") and not value.strip("-0."):
            return "minus zero is not a number here; write 0"
        return fault


class Quantity(Pattern):
    """How much of something, above zero: up to 15 digits and 6 decimals."""

    pattern = QUANTITY
    expected = "a decimal string above zero without a sign, such as 12 or 0.5"


class Unit(Pattern):
    """A common code of UN/CEFACT Recommendation 20 or 21, by its pattern alone."""

    pattern = UNIT
    expected = "a UN/CEFACT unit code of 2 or 3 of A-Z and 0-9, such as KGM"


class Digest(Pattern):
    """The digest of a disclosure: 32 bytes in unpadded base64url, unused bits being zero."""

    pattern = DIGEST
    expected = "the base64url of a SHA-256, 43 characters without padding"


class Url(Pattern):
    """An https URL in ASCII, without user information."""

    pattern = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")
    expected = f"an https URL of at most {URL_MAX} ASCII characters"

    def fault(self, value: Any) -> str | None:
        fault = super().fault(value)
        if fault is None and (len(value) > URL_MAX or not urlsplit(value).hostname):
            return f"expected {self.expected}"
        return fault


class Date(Pattern):
    pattern = DATE
    expected = "a real date, YYYY-MM-DD"

    def fault(self, value: Any) -> str | None:
        fault = super().fault(value)
        return fault if fault or _is_real(value) else f"expected {self.expected}"


class Time(Pattern):
    """A moment with its offset, as it happened in the world."""

    pattern = TIME
    expected = "a real time, YYYY-MM-DDThh:mm:ss[.fff](Z|+hh:mm|-hh:mm), offset within 14:00"

    def fault(self, value: Any) -> str | None:
        fault = super().fault(value)
        return fault if fault or _is_real(value[:10]) else f"expected {self.expected}"


def _is_real(day: str) -> bool:
    try:
        return bool(date.fromisoformat(day))
    except ValueError:
        return False


class Vkey(Spelled):
    """A public Ed25519 key, as C2SP signed-note spells it."""

    def fault(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return "expected a vkey: <name>+<key ID>+<base64>"
        try:
            key = key_of(value)
        except FormatError as error:
            return str(error)
        return None if key.type == ED25519 else f"the key is of type {key.type}, not 1 (Ed25519)"


class KeySignature(Spelled):
    """The ID of a key and a signature by it, in base64."""

    def fault(self, value: Any) -> str | None:
        try:
            if isinstance(value, str) and len(decode_base64(value, "sig")) == SIGNATURE_BYTES:
                return None
        except FormatError:
            pass
        return f"expected the base64 of {SIGNATURE_BYTES} bytes: key ID, then Ed25519 signature"


class Text(Spelled):
    """1 to `longest` code points, no space at either end."""

    def __init__(self, longest: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def fault(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return "expected a text"
        if not 1 <= len(value) <= self.longest:
            return f"expected 1 to {self.longest} characters, found {len(value)}"
        if (character := forbidden_character(value)) is not None:
            return f"the character {character} is not allowed in a text"
        return "a text has no space at either end" if value != value.strip() else None


class OneOf(Spelled):
    """One of a fixed set of words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def fault(self, value: Any) -> str | None:
        if isinstance(value, str) and value in self.words:
            return None
        return "expected one of " + ", ".join(self.words)


class Whole(Spelled):
    """An integer from `least` to `most`: an index, a count, a number of bytes."""

    def __init__(self, least: int = 0, most: int = INTEGER_MAX, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most = least, most

    def fault(self, value: Any) -> str | None:
        if type(value) is int and self.least <= value <= self.most:
            return None
        return f"expected an integer from {self.least} to {self.most}"


class Flag(Spelled):
    def fault(self, value: Any) -> str | None:
        return None if isinstance(value, bool) else "expected true or false"


class Amount(Spelled):
    """A decimal string of major units. How many decimals its currency has is checked after,
    when the currency is known (schemas/statements.py)."""

    def fault(self, value: Any) -> str | None:
        try:
            parse_amount(value, EXPONENT_MAX)
        except AmountError as error:
            return Message(str(error), error.code)
        return None


class Unsupported(Spelled):
    """A field of the format that this ledger does not enforce yet, and so does not admit."""

    def fault(self, value: Any) -> str | None:
        return Message("part of the format but not enforced here yet", "not_supported")


class Items(fields.List[Any]):
    """An array of at least one element, at most `most`, none twice."""

    def __init__(self, inner: fields.Field[Any], most: int = 32, **kwargs: Any) -> None:
        super().__init__(inner, **kwargs)
        self.most = most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if not is_sized(value, self.most):
            raise ValidationError([f"expected an array of 1 to {self.most} elements"])
        if stands_twice(value):
            raise ValidationError(["an element stands twice in the array"])
        return super()._deserialize(value, attr, data, **kwargs)


def is_sized(value: Any, most: int) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= most


def stands_twice(value: list[Any]) -> bool:
    """Whether any element equals an earlier one; objects compare field by field."""
    return len(value) > 1 and any(element in value[:i] for i, element in enumerate(value))


class RuledSchema(Schema):
    """An object with a rule across its fields, asked once each field by itself is right."""

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        """(field, fault) when the rule is broken; `_schema` when no one field is at fault."""
        raise AssertionError("a ruled schema says what its rule is")

    @validates_schema
    def _ask_rule(self, data: Mapping[str, Any], **_: Any) -> None:
        if (broken := self.broken_rule(data)) is not None:
            field, fault = broken
            raise ValidationError(fault, field)
