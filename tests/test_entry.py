"""The entry's bytes: canonical form against RFC 8785, and everything strict reading refuses."""

from __future__ import annotations

import json
import sys
import unicodedata
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import (
    ENTRY_BYTES_MAX,
    INTEGER_MAX,
    NESTING_MAX,
    Entry,
    canonical,
    decode_entry,
    encode_entry,
    entry_hash,
    read_json,
)
from ledger.errors import Refusal

# What no string may hold, from the format's own words: C0 and C1 controls and DEL, bidi
# controls, U+FEFF, noncharacters, surrogates.
CONTROLS = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cc"]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
NONCHARACTERS = [
    chr(code) for code in range(0x110000) if 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
]
EXPLICIT = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
FORBIDDEN = [*CONTROLS, *BIDI, "\ufeff", *NONCHARACTERS]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=FORBIDDEN), max_size=40)
keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
leaves = st.booleans() | st.integers(0, INTEGER_MAX) | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=NESTING_MAX - 2,
)
objects = st.dictionaries(keys, values, max_size=6)


def refusal_of(data: bytes) -> Refusal:
    """What `read_json` has against `data`, which is always the code `malformed`."""
    with pytest.raises(Refusal) as caught:
        read_json(data)
    assert caught.value.code == "malformed"
    return caught.value


def pointers(refusal: Refusal) -> list[str]:
    return [fault.pointer for fault in refusal.faults]


# -- one form


@given(values)
def test_canonical_is_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(values)
def test_reading_what_canonical_wrote_gives_it_back(value: Any) -> None:
    # Compared as text: to Python, true is 1 and 1 is true.
    assert repr(read_json(canonical(value))) == repr(sorted_deep(value))


def sorted_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_deep(value[key]) for key in sorted(value)}
    return [sorted_deep(v) for v in value] if isinstance(value, list) else value


@given(values, st.booleans(), st.sampled_from([None, 0, 3]))
def test_every_spelling_of_a_value_has_one_canonical_form(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    spelled = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert canonical(read_json(f" \r\n\t{spelled}\n".encode())) == rfc8785.dumps(value)


@given(
    st.integers(0, INTEGER_MAX),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
    st.datetimes(),
    objects,
    st.lists(objects, max_size=2),
)
def test_an_entry_is_the_rfc_8785_form_of_its_fields(
    index: int, platform: str, prev: bytes, moment: Any, statement: Any, totals: list[Any]
) -> None:
    recorded_at = moment.isoformat(timespec="milliseconds") + "Z"
    fields = {"index": index, "platform": platform, "prev": prev.hex(), "recorded_at": recorded_at}
    fields |= {"statement": statement} | ({"totals": totals} if totals else {})
    data = encode_entry(index, platform, prev.hex(), recorded_at, rfc8785.dumps(statement), totals)
    assert data == rfc8785.dumps(fields)
    decoded = decode_entry(data)
    assert decoded == Entry(index, platform, prev.hex(), recorded_at, statement, totals)


# -- strict reading

DEEP = 100_000
MALFORMED: list[tuple[str, bytes, list[str]]] = [
    ("nothing", b"", []),
    ("white space alone", b" \n", []),
    ("a cut-off document", b'{"a":', []),
    ("a trailing comma", b'{"a":1,}', []),
    ("single quotes", b"{'a':1}", []),
    ("a comment", b'{"a":1} // one', []),
    ("two documents", b"{}{}", []),
    ("a NUL after the document", b"{}\0", []),
    ("a no-break space after the document", b"{}\xc2\xa0", []),
    ("a byte order mark", b"\xef\xbb\xbf{}", []),
    ("UTF-16", '{"a":"b"}'.encode("utf-16"), []),
    ("invalid UTF-8", b'{"a":"\xff"}', []),
    ("an overlong slash", b'{"a":"\xc0\xaf"}', []),
    ("UTF-8 that is cut off", b'{"a":"\xe2\x82', []),
    ("a lone surrogate as bytes", b'{"a":"\xed\xa0\x80"}', []),
    ("a pair of surrogates as bytes", b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}', []),
    ("a code point beyond Unicode", b'{"a":"\xf4\x90\x80\x80"}', []),
    ("a raw line feed in a text", b'{"a":"\n"}', []),
    ("an unknown escape", rb'{"a":"\x41"}', []),
    ("a short unicode escape", rb'{"a":"\u41"}', []),
    ("a plus sign", b'{"a":+1}', []),
    ("a leading zero", b'{"a":01}', []),
    ("hexadecimal", b'{"a":0x1}', []),
    ("an underscore", b'{"a":1_000}', []),
    ("Arabic digits", '{"a":١}'.encode(), []),
    ("no digit before the point", b'{"a":.5}', []),
    ("no digit after the point", b'{"a":5.}', []),
    ("undefined", b'{"a":undefined}', []),
    ("True", b'{"a":True}', []),
    ("open arrays without end", b"[" * DEEP, []),
    ("arrays in arrays", b"[" * DEEP + b"]" * DEEP, []),
    ("objects in objects", b'{"a":' * DEEP + b"1" + b"}" * DEEP, []),
    ("a key twice", b'{"a":1,"a":2}', [""]),
    ("a key twice, the same value", b'{"a":1,"a":1}', [""]),
    ("a key twice, once escaped", rb'{"a":1,"\u0061":2}', [""]),
    ("a key twice within an array", b'{"b":[{},{"a":1,"b":2,"a":3}]}', ["/b/1"]),
    ("a key twice far down", b'[[{"a/b":{"~":{"k":1,"k":2}}}]]', ["/0/0/a~1b/~0"]),
    ("an object of two null keys", b'{"a":{"":1,"":1}}', ["/a"]),
    ("NaN", b'{"a":NaN}', ["/a"]),
    ("Infinity", b'{"a":[0,Infinity]}', ["/a/1"]),
    ("minus Infinity", b'[{"a":-Infinity}]', ["/0/a"]),
    ("a float that is whole", b'{"a":1.0}', ["/a"]),
    ("an exponent", b'{"a":1e3}', ["/a"]),
    ("a capital exponent", b'{"a":1E3}', ["/a"]),
    ("a float", b'{"a":{"b":0.1}}', ["/a/b"]),
    ("a float that is minus zero", b'{"a":-0.0}', ["/a"]),
    ("minus zero", b'{"a":-0}', ["/a"]),
    ("a float too large for a double", b'{"a":1e999}', ["/a"]),
    ("a negative integer", b'{"a":-1}', ["/a"]),
    ("2^53", b'{"a":9007199254740992}', ["/a"]),
    ("2^64", b'{"a":18446744073709551616}', ["/a"]),
    ("minus 2^64", b'{"a":-18446744073709551616}', ["/a"]),
    ("an integer of 10,000 digits", b'{"a":' + b"9" * 10_000 + b"}", ["/a"]),
    ("null", b'{"a":[true,null]}', ["/a/1"]),
    ("null alone", b"null", [""]),
    ("a lone high surrogate", rb'{"a":"\ud800"}', ["/a"]),
    ("a lone low surrogate", rb'{"a":"x\udfff"}', ["/a"]),
    ("surrogates the wrong way round", rb'{"a":"\ude00\ud83d"}', ["/a"]),
    ("a key beyond ASCII", '{"a":{"é":1}}'.encode(), ["/a"]),
    ("a key of full-width digits", '{"１":1}'.encode(), [""]),
    ("a key with a control", rb'{"a\u0000":1}', [""]),
    ("a key with a DEL", b'[{"\x7f":1}]', ["/0"]),
    ("a key that is a lone surrogate", rb'{"a":[{"\ud800":1}]}', ["/a/0"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "where"), [c[1:] for c in MALFORMED], ids=[c[0] for c in MALFORMED]
)
def test_malformed(data: bytes, where: list[str]) -> None:
    """Refused, with the place where the parser still knows it."""
    refusal = refusal_of(data)
    assert pointers(refusal) == where
    # Whatever stood in the body, the answer about it can be sent.
    str(refusal).encode()


def test_the_largest_integer_is_read() -> None:
    assert read_json(b"[0,9007199254740991]") == [0, 2**53 - 1]


@pytest.mark.parametrize("opening", ["[", '{"k":'], ids=["arrays", "objects"])
def test_nesting_ends_at_sixteen(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    for depth in range(1, 17):
        read_json((opening * depth + "1" + closing * depth).encode())
    step = "/0" if opening == "[" else "/k"
    refusal = refusal_of((opening * 17 + "1" + closing * 17).encode())
    assert pointers(refusal) == [step * 16]


def test_one_key_twice_among_very_many_is_found_at_once() -> None:
    members = ",".join(f'"{number}":0' for number in range(300_000))
    refusal = refusal_of(f'{{{members},"299999":0}}'.encode())
    assert "299999" in str(refusal)


def test_the_lists_of_forbidden_characters_are_the_ones_meant() -> None:
    assert len(CONTROLS) == 32 + 1 + 32
    assert len(NONCHARACTERS) == 32 + 2 * 17
    # Unicode's property Bidi_Control, as far as Python knows it by other names.
    bidi = {c for c in map(chr, range(0x110000)) if unicodedata.bidirectional(c) in EXPLICIT}
    assert set(BIDI) - bidi == set("\u061c\u200e\u200f")  # the marks: ALM, LRM and RLM
    assert not bidi - set(BIDI)


@pytest.mark.parametrize("spell", ["raw", "escaped"])
def test_forbidden_characters_are_refused(spell: str) -> None:
    for character in FORBIDDEN:
        text = json.dumps(f"a{character}b", ensure_ascii=spell == "escaped")
        if spell == "raw" and character < " ":
            text = f'"a{character}b"'
        refusal = refusal_of(f'{{"k":["",{text}]}}'.encode())
        # A raw C0 control is no JSON at all, so the parser stops before any place is known.
        known = not (spell == "raw" and character < " ")
        assert pointers(refusal) == (["/k/1"] if known else []), f"U+{ord(character):04X}"


def test_all_other_characters_are_read_as_they_are() -> None:
    forbidden = set(FORBIDDEN)
    allowed = "".join(
        c for c in map(chr, range(sys.maxunicode + 1))
        if c not in forbidden and not 0xD800 <= ord(c) <= 0xDFFF
    )  # fmt: skip
    assert read_json(json.dumps(allowed, ensure_ascii=False).encode()) == allowed
    assert read_json(json.dumps(allowed).encode()) == allowed


def test_nothing_is_normalised() -> None:
    for text in ("é", "e\u0301", "ﬁ", "Å", "Ω", "가"):
        assert read_json(canonical(text)) == text


# -- the entry

STATEMENT = {"type": "party", "ref": "r-1", "id": "yayasan", "name": "Yayasan “Gizi” 🌾"}
TOTALS = [
    {"fund": "air", "currency": "IDR", "n": 1, "balance": "5.00", "spans": [["0.00", "5.00"]]}
]
FIELDS: dict[str, Any] = {
    "index": 7,
    "platform": "kita",
    "prev": "0123456789abcdef" * 4,
    "recorded_at": "2026-11-24T02:06:13.123Z",
    "statement": STATEMENT,
    "totals": TOTALS,
}
DATA = rfc8785.dumps(FIELDS)


def entry_refusal(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode_entry(data)
    assert caught.value.code == "malformed"
    return caught.value


def test_the_leaf_hash_is_what_sha256sum_says_of_nul_and_entry() -> None:
    assert entry_hash(DATA) == sha256(b"\x00" + DATA).digest()
    assert entry_hash(b"").hex() == (  # the hash of an empty leaf in RFC 6962 test data
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


def test_any_bit_flipped_is_refused_or_another_entry() -> None:
    original, leaf = decode_entry(DATA), entry_hash(DATA)
    decoded = 0
    for bit in range(len(DATA) * 8):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        assert entry_hash(bytes(flipped)) != leaf
        try:
            other = decode_entry(bytes(flipped))
        except Refusal:
            continue
        decoded += 1
        assert other != original, f"bit {bit} changes the bytes and not the entry"
    assert decoded > 100  # or the law above was not put to the test


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(DATA + b"\n", id="a line feed after it"),
        pytest.param(b" " + DATA, id="a space before it"),
        pytest.param(DATA.replace(b'"index":7', b'"index": 7'), id="a space within"),
        pytest.param(b'{"platform":"kita",' + DATA[1:].replace(b'"platform":"kita",', b""),
                     id="keys out of order"),
        pytest.param(DATA.replace(b"kita", rb"kit\u0061"), id="an escape that need not be"),
        pytest.param(DATA.replace("🌾".encode(), rb"\ud83c\udf3e"), id="an escaped character"),
        pytest.param(DATA.replace(b"r-1", rb"r\/1"), id="an escaped slash"),
        pytest.param(DATA.replace(b'"totals":', b'"totals":[],"totals":'), id="totals twice"),
        pytest.param(json.dumps(FIELDS).encode(), id="as a common encoder writes it"),
    ],
)  # fmt: skip
def test_another_spelling_of_the_same_entry_is_refused(data: bytes) -> None:
    assert data != DATA
    entry_refusal(data)


@pytest.mark.parametrize(
    ("data", "where"), [c[1:] for c in MALFORMED], ids=[c[0] for c in MALFORMED]
)
def test_what_is_malformed_is_malformed_within_an_entry(data: bytes, where: list[str]) -> None:
    """However an entry is decoded: the reading of it is as strict as that of a post."""
    head, tail = DATA.split(rfc8785.dumps(STATEMENT))
    assert pointers(entry_refusal(head + data + tail)) == [f"/statement{one}" for one in where]


@pytest.mark.parametrize("name", ["index", "platform", "prev", "recorded_at", "statement"])
def test_no_field_of_an_entry_may_be_missing(name: str) -> None:
    assert "an entry has the fields" in str(entry_refusal(without(name)))


def without(name: str) -> bytes:
    return rfc8785.dumps({key: value for key, value in FIELDS.items() if key != name})


def test_totals_may_be_missing() -> None:
    assert decode_entry(without("totals")).totals == []


@pytest.mark.parametrize("name", ["Index", "hash", "leaf_hash", ""])
def test_an_entry_has_no_other_field(name: str) -> None:
    assert "an entry has the fields" in str(entry_refusal(rfc8785.dumps(FIELDS | {name: "x"})))


@pytest.mark.parametrize("value", [[], "entry", 7, True], ids=repr)
def test_what_is_no_object_is_no_entry(value: Any) -> None:
    entry_refusal(rfc8785.dumps(value))


WRONG_FIELDS = {
    "index": ["7", True, [7], {}],
    "platform": [7, True, [], {}],
    "prev": ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n", "٠" * 64, 0, []],
    "recorded_at": [
        "2026-11-24T02:06:13Z",
        "2026-11-24T02:06:13.12Z",
        "2026-11-24T02:06:13.1234Z",
        "2026-11-24T02:06:13.123",
        "2026-11-24T02:06:13.123z",
        "2026-11-24t02:06:13.123Z",
        "2026-11-24 02:06:13.123Z",
        "2026-11-24T02:06:13,123Z",
        "2026-11-24T02:06:13.123+00:00",
        "2026-11-24T24:00:00.000Z",
        "2026-11-24T02:06:60.000Z",
        "2026-02-30T02:06:13.123Z",
        "2026-13-01T02:06:13.123Z",
        "0000-01-01T00:00:00.000Z",
        "٢٠٢٦-11-24T02:06:13.123Z",
        "",
        7,
        {},
    ],
    "statement": ["", 7, [], [STATEMENT], True],
    "totals": ["", 7, [], {}, True],
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, vs in WRONG_FIELDS.items() for v in vs], ids=repr
)
def test_a_field_of_the_wrong_shape_is_named(name: str, value: Any) -> None:
    assert pointers(entry_refusal(rfc8785.dumps(FIELDS | {name: value}))) == [f"/{name}"]


def test_an_entry_ends_at_48_000_bytes() -> None:
    room = ENTRY_BYTES_MAX - len(rfc8785.dumps(FIELDS | {"statement": {"x": ""}}))
    longest = rfc8785.dumps(FIELDS | {"statement": {"x": "x" * room}})
    assert len(longest) == 48_000
    assert decode_entry(longest).index == 7
    longer = rfc8785.dumps(FIELDS | {"statement": {"x": "x" * (room + 1)}})
    assert "48001 bytes" in str(entry_refusal(longer))
