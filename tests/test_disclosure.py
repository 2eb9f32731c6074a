"""Disclosures: one spelling, that of RFC 9901, and a digest that says nothing without it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.disclosure import Disclosure, decode, decode_text, digest, disclose_text, encode
from ledger.errors import FormatError
from tests.support import vectors

RIGHT, WRONG = (vectors("disclosures.json")[name] for name in ("right", "wrong"))
SALT = bytes(range(16))


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case["case"])
def test_right_ones(case: dict[str, Any]) -> None:
    disclosure = Disclosure(case["salt"], case["name"], case["value"])
    assert encode(disclosure) == case["disclosure"]
    assert digest(case["disclosure"]) == case["digest"]
    assert decode(case["disclosure"]) == disclosure


@pytest.mark.parametrize("case", RIGHT[1:], ids=lambda case: case["case"])
def test_texts(case: dict[str, Any]) -> None:
    assert disclose_text(case["value"], SALT) == case["disclosure"]
    assert decode_text(case["disclosure"]) == case["value"]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case["case"])
def test_wrong_ones(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        decode_text(case["disclosure"])


@given(st.binary(min_size=16, max_size=16), st.text(max_size=200))
def test_what_is_disclosed_is_read_again(salt: bytes, text: str) -> None:
    disclosure = disclose_text(text, salt)
    assert decode_text(disclosure) == text
    assert disclosure.isascii()


@given(st.text(max_size=60))
def test_whatever_is_read_has_no_other_spelling(text: str) -> None:
    try:
        disclosure = decode(text)
    except FormatError:
        return
    assert encode(disclosure) == text


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_salt_of_another_length(length: int) -> None:
    with pytest.raises(FormatError):
        disclose_text("words", bytes(length))


def test_a_lone_surrogate_has_no_digest() -> None:
    with pytest.raises(FormatError):
        disclose_text("\ud800", SALT)
