"""The entry: what a ledger seals, as exact bytes, and the strict reading of JSON around it.

An entry is canonical JSON (RFC 8785) restricted so that any encoder with sorted keys and no
spaces gives the same bytes: ASCII keys, no floats, no null. docs/format.md, "The entry".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import msgspec

from ledger.errors import Fault, FormatError, Refusal
from ledger.tlog.merkle import leaf_hash

FORMAT = "amanah/1"
ENTRY_BYTES_MAX = 48_000  # a tlog-proof carrying it stays within what other readers accept
STATEMENT_BYTES_MAX = 16 * 1024
INTEGER_MAX = 2**53 - 1  # what every JSON reader holds exactly
NESTING_MAX = 16
NO_PREV = "0" * 64
SYSTEM_PLATFORM = "ledger"

# DEL and C1 controls; bidi controls; U+FEFF; surrogates; noncharacters.
_UNWANTED = (
    "\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufdd0-\ufdef"
) + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
_FORBIDDEN = re.compile(f"[\x00-\x1f{_UNWANTED}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# In the text of a document: JSON itself refuses raw C0 controls within strings.
_FORBIDDEN_RAW = re.compile(f"[{_UNWANTED}]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_HASH = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"index", "platform", "prev", "recorded_at", "statement"}
_OPTIONAL = {"totals", "goods", "signatures"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement sealed into the log. `index` is 0-based; `prev` is 64 hex digits.

    signatures: party and sig of each that signed, in the order posted. unread: fields of the format
    that are there but that nothing here checks yet.
    """

    index: int
    platform: str
    prev: str
    recorded_at: str
    statement: dict[str, Any]
    totals: list[dict[str, Any]]
    goods: list[dict[str, Any]] = field(default_factory=list)
    signatures: Sequence[Mapping[str, str]] = ()
    unread: tuple[str, ...] = ()


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a value made of the kinds this format allows.

    Raises TypeError for an object of any other kind. msgspec, since it writes sorted keys ten
    times as fast as json; a property test holds it against RFC 8785.
    """
    return msgspec.json.encode(value, order="sorted")


class _Unfit:
    """Stands for a value that is refused until the walk can say where it was."""

    def __init__(self, detail: str) -> None:
        self.detail = detail


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Unfit:
    members = dict(pairs)
    if len(members) != len(pairs):
        # Not list.count for each key: a body of some 400,000 keys would take an hour.
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        return _Unfit(f"the key {twice[:40]!r} stands twice in one object")
    return members


def _not_whole(text: str) -> _Unfit:
    return _Unfit(
        f"{text[:20]} is not a whole number this format allows; "
        'decimal values are strings, such as "5.50"'
    )


def _integer(text: str) -> int | _Unfit:
    # int() on thousands of digits is slow and limited; nothing that long is in range anyway.
    # And -0 would become 0, which is another spelling.
    return int(text) if len(text) <= 17 and text != "-0" else _not_whole(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_not_whole,
    parse_int=_integer,
    parse_constant=_not_whole,  # NaN, Infinity and -Infinity, which are not JSON at all
)


def plain_json(data: bytes) -> Any:
    """The value of a JSON document that is spelled plainly; None when `read_json` must decide.

    Several times as fast, because msgspec does not look for what strict reading refuses. Where
    it takes another spelling for granted (-0) or drops a key that stands twice, what it read
    is shorter than what was sent, spaces between tokens aside. Nothing it reads is longer, but
    for numbers with a fraction or exponent; these it answers as floats, which no schema takes.
    """
    if b"\\" in data:  # an escape is another spelling, and may spell a lone surrogate
        return None
    try:
        value = msgspec.json.decode(data)
        written = msgspec.json.encode(value)
    except (ValueError, RecursionError):  # of which UnicodeDecodeError and msgspec's are kinds
        return None
    # Within strings both have the same spaces, since only spaces may stand there unescaped.
    outside = sum(map(data.count, (b" ", b"\t", b"\n", b"\r"))) - written.count(b" ")
    return value if len(written) + outside == len(data) else None


def _parse_json(data: bytes) -> Any:
    """Decode JSON in UTF-8; its values are not checked yet (`check_values`).

    Raises Refusal `malformed` for what is no JSON document.
    """
    try:
        text = data.decode("utf-8")
        value, end = _DECODER.raw_decode(text, _skip(text, 0))
        if _skip(text, end) != len(text):
            raise FormatError(f"something follows the JSON document at character {end}")
    except UnicodeDecodeError as error:
        raise Refusal("malformed", f"not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise Refusal("malformed", f"nested more than {NESTING_MAX} deep") from error
    except json.JSONDecodeError as error:
        raise Refusal("malformed", f"not JSON: {error.msg} at character {error.pos}") from error
    except FormatError as error:
        raise Refusal("malformed", str(error)) from error
    return value


def _is_plain(text: str) -> bool:
    """Whether no string of a JSON text can hold a forbidden character."""
    if "\\" in text:  # an escape may spell any character
        return False
    if text.isascii():
        return "\x7f" not in text
    return _FORBIDDEN_RAW.search(text) is None


def forbidden_character(text: str) -> str | None:
    """The first character of `text` that the format allows in none, as U+0000; None if none."""
    if text.isascii() and text.isprintable():
        return None
    found = _FORBIDDEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def check_values(value: Any, with_texts: bool = True) -> None:
    """Refuse (`malformed`) any value the format does not allow, saying where it stands.

    with_texts: look at the characters of texts too. Of a post they are left to the schema,
    since they are spelling; only a lone surrogate, which no UTF-8 can hold, is unreadable.
    """
    try:
        _walk(value, 1, _FORBIDDEN if with_texts else _SURROGATE)
    except _Bad as bad:
        pointer = "".join(f"/{pointer_token(str(step))}" for step in reversed(bad.path))
        _malformed(pointer, str(bad))


def read_json(data: bytes, with_texts: bool = True) -> Any:
    """Decode strict JSON: UTF-8, no duplicate keys, and only the values the format allows.

    Raises Refusal `malformed`, with a pointer where the place is known.
    """
    value = _parse_json(data)
    check_values(value, with_texts)
    return value


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\n\r":
        position += 1
    return position


class _Bad(Exception):
    """What strict reading refuses; the path grows, innermost first, as the walk unwinds."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.path: list[str | int] = []


def _walk(value: Any, depth: int, unwanted: re.Pattern[str]) -> None:
    """Raise _Bad for whatever strict reading refuses. unwanted: in texts."""
    if isinstance(value, str):
        if not (value.isascii() and value.isprintable()) and (bad := unwanted.search(value)):
            raise _Bad(f"the character U+{ord(bad[0]):04X} is not allowed in a text")
    elif value is True or value is False:
        return
    elif isinstance(value, int):
        if not 0 <= value <= INTEGER_MAX:
            raise _Bad(f"{value} is outside 0..{INTEGER_MAX}")
    elif isinstance(value, _Unfit):
        raise _Bad(value.detail)
    elif isinstance(value, float):  # from msgspec, which does not know what is unfit
        raise _Bad(_not_whole(repr(value)).detail)
    elif value is None:
        raise _Bad("null is not allowed; leave the field out")
    elif depth > NESTING_MAX:
        raise _Bad(f"nested more than {NESTING_MAX} deep")
    else:
        _walk_members(value, depth + 1, unwanted)


def _walk_members(value: dict[str, Any] | list[Any], depth: int, unwanted: re.Pattern[str]) -> None:
    members: Iterable[tuple[str | int, Any]]
    if isinstance(value, dict):
        members = value.items()
        for key in value:
            # The fault is the object's: such a key may have no UTF-8 to stand in a pointer.
            if not (key.isascii() and key.isprintable()):
                raise _Bad(f"the key {key[:40]!r} is not printable ASCII")
    else:
        members = enumerate(value)
    step: str | int = 0
    try:
        for step, member in members:  # noqa: B007 - the path of a _Bad wants the last step
            _walk(member, depth, unwanted)
    except _Bad as bad:
        bad.path.append(step)
        raise


def _malformed(pointer: str, detail: str) -> NoReturn:
    where = f"{pointer}: " if pointer else ""
    raise Refusal("malformed", where + detail, [Fault(pointer, detail)])


def pointer_token(key: str) -> str:
    """`key` as one RFC 6901 reference token."""
    return key.replace("~", "~0").replace("/", "~1")


def encode_entry(
    index: int,
    platform: str,
    prev: str,
    recorded_at: str,
    statement: bytes,
    totals: list[dict[str, Any]],
    goods: Sequence[dict[str, Any]] = (),
    signatures: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """The entry's bytes; `statement` is already canonical and goes in as it is.

    Writing the few sorted keys here, instead of encoding again, keeps the canonical form
    the poster's bytes and the write lock short; a property test holds it against RFC 8785.
    """
    tail = b',"totals":' + canonical(totals) if totals else b""
    first = b'"goods":' + canonical(goods) + b"," if goods else b""
    head = (
        f'"index":{index},"platform":"{platform}","prev":"{prev}","recorded_at":"{recorded_at}",'
    ).encode()
    if signatures:
        head += b'"signatures":' + canonical(signatures) + b","
    data = b"{" + first + head + b'"statement":' + statement + tail + b"}"
    assert len(data) <= ENTRY_BYTES_MAX, "the bounds of what is in an entry keep it small"
    return data


def decode_entry(data: bytes) -> Entry:
    """Read an entry and hold it to its one spelling. Raises Refusal `malformed`."""
    return _decode_entry(data, check_all=True)


def decode_audited_entry(data: bytes) -> Entry:
    """`decode_entry` for an auditor, who checks the kinds of all values by other means: those
    of the statement by its schema, and the totals by adding them up."""
    return _decode_entry(data, check_all=False)


def _decode_entry(data: bytes, check_all: bool) -> Entry:
    if len(data) > ENTRY_BYTES_MAX:
        raise Refusal("malformed", f"entry of {len(data)} bytes; at most {ENTRY_BYTES_MAX}")
    try:
        # Lenient where `read_json` is strict, but what is read otherwise than it is spelled
        # is not encoded as it is spelled either.
        value = msgspec.json.decode(data)
        is_canonical = canonical(value) == data
    except (msgspec.MsgspecError, ValueError, RecursionError):
        is_canonical = False
    if not is_canonical:
        read_json(data)  # says where, for what strict reading refuses
        raise Refusal("malformed", "the entry is not in canonical form (RFC 8785)")
    if check_all or not _is_plain(data.decode()):
        check_values(value)
    if not isinstance(value, dict) or not _FIELDS <= value.keys() <= _FIELDS | _OPTIONAL:
        raise Refusal("malformed", "an entry has the fields " + ", ".join(sorted(_FIELDS)))
    _check_shapes(value)
    return Entry(
        value["index"],
        value["platform"],
        value["prev"],
        value["recorded_at"],
        value["statement"],
        value.get("totals", []),
        value.get("goods", []),
        value.get("signatures", ()),
        tuple(sorted(value.keys() - _FIELDS - _OPTIONAL)),
    )


class SumsBytes(NamedTuple):
    """What an entry carries of the books, as its bytes; empty for what it does not carry."""

    totals: bytes = b""
    goods: bytes = b""


class SealedFields(msgspec.Struct, forbid_unknown_fields=True):
    """An entry as `decode_sealed` reads it. totals, goods: their bytes, unset when absent."""

    index: int
    platform: str
    prev: str
    recorded_at: str
    statement: dict[str, Any]
    signatures: list[Any] | msgspec.UnsetType = msgspec.UNSET
    totals: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    goods: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def sums(self) -> SumsBytes:
        return SumsBytes(_bytes_of(self.totals), _bytes_of(self.goods))

    @property
    def signed(self) -> Sequence[Mapping[str, str]]:
        """The signatures, whose form is still to be checked; empty when there are none."""
        return () if self.signatures is msgspec.UNSET else self.signatures


def _bytes_of(raw: msgspec.Raw | msgspec.UnsetType) -> bytes:
    return b"" if raw is msgspec.UNSET else bytes(raw)


_SEALED = msgspec.json.Decoder(SealedFields)
_CANONICAL = msgspec.json.Encoder(order="sorted")


def decode_sealed(data: bytes) -> SealedFields | None:
    """`decode_audited_entry` at a third of its cost, for whoever reads a whole log; None for what
    is not for certain an entry as they are sealed today, and of which that is to be asked.

    Neither `prev`, which the auditor compares, nor the form of totals and goods is looked at: he
    holds their bytes against those of what he adds up.
    """
    if len(data) > ENTRY_BYTES_MAX:
        return None
    try:
        entry = _SEALED.decode(data)
        is_right = _CANONICAL.encode(entry) == data and _is_time(entry.recorded_at)
        if is_right and not _is_plain(data.decode()):
            check_values([entry.platform, entry.statement, entry.signed])
    except (msgspec.MsgspecError, ValueError, RecursionError, Refusal):
        return None
    return entry if is_right and entry.signatures != [] else None


def _check_shapes(value: dict[str, Any]) -> None:
    if type(value["index"]) is not int:
        _malformed("/index", "the index is not an integer")
    if not isinstance(value["platform"], str):
        _malformed("/platform", "the platform is not a text")
    if not isinstance(value["prev"], str) or not _HASH.fullmatch(value["prev"]):
        _malformed("/prev", "prev is not 64 lower-case hex digits")
    if not isinstance(value["recorded_at"], str) or not _is_time(value["recorded_at"]):
        _malformed("/recorded_at", "recorded_at is not a real time, YYYY-MM-DDThh:mm:ss.fffZ")
    if not isinstance(value["statement"], dict):
        _malformed("/statement", "the statement is not an object")
    for name in ("totals", "goods", "signatures"):
        if name in value and not (isinstance(value[name], list) and value[name]):
            _malformed(f"/{name}", f"{name} is not a filled array")


@lru_cache(maxsize=64)  # entries of one batch share theirs
def _is_time(text: str) -> bool:
    try:
        return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def entry_hash(data: bytes) -> bytes:
    """The leaf hash: SHA-256(0x00 || entry). It is the next entry's `prev` and the tree's leaf."""
    return leaf_hash(data)
