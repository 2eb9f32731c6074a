"""The quick way into a JSON document: whatever it reads, strict reading reads the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.entry import plain_json, read_json
from ledger.errors import Refusal

scalars = st.one_of(
    st.text(max_size=8), st.integers(), st.booleans(), st.none(), st.floats(), st.just(-0.0)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abc"), inner, max_size=4)
    ),
    max_leaves=8,
)


class _Said(Exception):
    pass


def _strictly(data: bytes) -> Any:
    """What a document says, floats included, by the standard library; raises _Said where a key
    stands twice or a zero has a minus."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise _Said("twice")
        return members

    def whole(text: str) -> int:
        if text == "-0":
            raise _Said("-0")
        return int(text)

    return json.loads(data.decode(), object_pairs_hook=unique, parse_int=whole)


def _holds_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_float, value.values()))
    return isinstance(value, float) or (isinstance(value, list) and any(map(_holds_float, value)))


def _check(data: bytes) -> None:
    value = plain_json(data)
    if value is None:
        return  # left to read_json
    if _holds_float(value):  # which no schema takes, and no door without asking read_json again
        with pytest.raises(Refusal):
            read_json(data)
    else:
        assert json.dumps(value) == json.dumps(_strictly(data))  # 1 == True, but not in JSON


@given(values, st.booleans(), st.sampled_from([None, 0, 3]), st.data())
def test_no_document_is_read_otherwise_than_strictly(
    value: Any, to_ascii: bool, indent: int | None, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=to_ascii, indent=indent).encode("utf-8", "surrogatepass")
    _check(text)
    # And with a piece of it gone, doubled or replaced.
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    for middle in (b"", text[start:end] * 2, data.draw(st.sampled_from(PIECES))):
        _check(text[:start] + middle + text[end:])


PIECES = [
    b"-0",
    b"1e2",
    b'"a":1,',
    b"\t",
    b"  ",
    b"\\u0061",
    b"\xff",
    b"\x00",
    b"0.10",
    b"[",
    b"{}",
]


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1, "a":100000}',
        b"[-0]",
        b'["\\u0061"]',
        b'{"a":1,"\\u0061":2}',
        b"\xef\xbb\xbf[]",
        b"[] []",
        b"[01]",
        b'["\xed\xa0\x80"]',
        b"[" * 100_000 + b"]" * 100_000,
        b"",
        b"nul",
    ],
    ids=lambda data: data[:20].decode("latin-1"),
)
def test_another_spelling_is_left_to_strict_reading(data: bytes) -> None:
    assert plain_json(data) is None


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.lists(st.sampled_from(["x y", " ", "é", 0, 7, True]))
    )
)
@example({"a": ["two  spaces"]})
def test_what_is_spelled_plainly_is_read_at_once(value: Any) -> None:
    for indent in (None, 0, 2):
        assert plain_json(json.dumps(value, ensure_ascii=False, indent=indent).encode()) == value
