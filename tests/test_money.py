"""Amounts: one spelling in, one spelling out, and the currency table of ISO 4217."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import iso4217
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.money import (
    CURRENCIES,
    EXPONENT_MAX,
    LIMIT_MINOR,
    AmountError,
    format_amount,
    parse_amount,
    parse_total,
)

exponents = st.integers(0, EXPONENT_MAX)
UNITS_MAX = 10**15  # amounts have at most fifteen digits before the point
# Numbers, right and nearly right, and now and then with a character that could be taken for a part.
numbers = st.from_regex(r"[0-9]{1,16}(\.[0-9]{0,5})?", fullmatch=True)
strays = st.sampled_from([*"+-,.eE_ '\n\u00a0\u0660\uff11\u00b2", ""])
near_amounts = st.builds("{1}{0}{2}".format, numbers, strays, strays) | numbers


def test_the_table_is_every_iso_4217_code_that_has_an_exponent() -> None:
    assert iso4217.__published__ == date(2026, 1, 1)  # the list that the table says it is of
    expected = {
        code: int(str(row["CcyMnrUnts"]))
        for code, row in iso4217.raw_table.items()
        if code and str(row["CcyMnrUnts"]).isdecimal()
    }
    assert expected == CURRENCIES
    assert len(CURRENCIES) > 150
    assert CURRENCIES["IDR"] == 2  # although a rupiah is shown without decimals
    assert max(CURRENCIES.values()) == EXPONENT_MAX
    assert "XAU" not in CURRENCIES


@given(st.data(), exponents)
def test_parsing_what_was_printed_gives_it_back(data: st.DataObject, exponent: int) -> None:
    minor = data.draw(st.integers(1, UNITS_MAX * 10**exponent - 1))
    assert parse_amount(format_amount(minor, exponent), exponent) == minor


@given(st.integers(0, LIMIT_MINOR - 1), exponents)
@example(0, 0)
@example(0, 4)
@example(LIMIT_MINOR - 1, 0)
@example(LIMIT_MINOR - 1, 4)
def test_parsing_a_printed_total_gives_it_back(minor: int, exponent: int) -> None:
    printed = format_amount(minor, exponent)
    assert parse_total(printed, exponent) == minor
    assert Decimal(printed) == Decimal(minor).scaleb(-exponent)
    assert len(printed.partition(".")[2]) == exponent


@given(near_amounts, exponents)
@example("5", 2)
@example("5.0", 2)
@example("5.00", 2)
def test_an_amount_is_spelled_as_a_number_of_its_own_decimals_is_printed(
    text: str, exponent: int
) -> None:
    """So 5, 5.0 and 5.00 are amounts, and nothing else is worth as much."""
    try:
        minor = parse_amount(text, exponent)
    except AmountError:
        return
    decimals = len(text.partition(".")[2])
    own, rest = divmod(minor, 10 ** (exponent - decimals))
    assert (format_amount(own, decimals), rest) == (text, 0)


@given(near_amounts, exponents)
@example("0.00", 2)
@example("5.00", 2)
def test_a_total_has_one_spelling(text: str, exponent: int) -> None:
    try:
        minor = parse_total(text, exponent)
    except AmountError:
        return
    assert format_amount(minor, exponent) == text


NOT_AMOUNTS = {
    "nothing": "",
    "zero": "0",
    "zero with decimals": "0.00",
    "minus": "-5",
    "plus": "+5",
    "minus zero": "-0",
    "leading zero": "05",
    "two zeros": "00.5",
    "no units": ".5",
    "no decimals": "5.",
    "two points": "5.0.0",
    "comma": "5,00",
    "grouped": "1,000",
    "grouped with points": "1.000.000",
    "underscore": "1_000",
    "exponent": "1e3",
    "space before": " 5",
    "space after": "5 ",
    "line feed after": "5\n",
    "no-break space": "\u00a05",
    "currency": "Rp5",
    "words": "five",
    "Arabic digits": "\u0665",
    "full-width digits": "\uff15",
    "superscript": "5\u00b2",
    "not a number": "NaN",
    "infinite": "Infinity",
    "hexadecimal": "0x5",
    "five decimals": "5.00000",
    "sixteen digits": "1" + "0" * 15,
    "ten thousand digits": "9" * 10_000,
    "ten thousand decimals": "5." + "0" * 10_000,
}


@pytest.mark.parametrize("text", NOT_AMOUNTS.values(), ids=NOT_AMOUNTS)
def test_not_an_amount(text: str) -> None:
    with pytest.raises(AmountError) as caught:
        parse_amount(text, EXPONENT_MAX)
    assert caught.value.code == "invalid_amount"
    assert len(str(caught.value)) < 200  # however long the text was


@pytest.mark.parametrize("value", [5, 5.0, True, None, b"5", ["5"], {"amount": "5"}], ids=repr)
def test_an_amount_is_a_text(value: Any) -> None:
    with pytest.raises(AmountError):
        parse_amount(value, 2)
    with pytest.raises(AmountError):
        parse_total(value, 2)


NOT_TOTALS = ["", "5", "5.0", "5.000", "05.00", "-5.00", ".50", "5,00", "5.00\n", "\u0665.00"]


@pytest.mark.parametrize(
    "text", [*NOT_TOTALS, "9" * 5_000, "9" * 5_000 + ".00"], ids=lambda t: t[:9]
)
def test_not_a_total_of_two_decimals(text: str) -> None:
    with pytest.raises(AmountError):
        parse_total(text, 2)


@pytest.mark.parametrize("exponent", range(EXPONENT_MAX + 1))
def test_decimals_end_at_the_currencys_exponent(exponent: int) -> None:
    for decimals in range(1, EXPONENT_MAX + 1):
        text = "5." + "0" * (decimals - 1) + "1"
        if decimals <= exponent:
            assert parse_amount(text, exponent) == 5 * 10**exponent + 10 ** (exponent - decimals)
        else:
            with pytest.raises(AmountError):
                parse_amount(text, exponent)


@pytest.mark.parametrize(
    ("text", "exponent", "minor"),
    [
        ("150000", 2, 15_000_000),
        ("150000.5", 2, 15_000_050),
        ("150000.00", 2, 15_000_000),
        ("0.01", 2, 1),
        ("0.0001", 4, 1),
        ("1", 0, 1),
        ("999999999999999", 0, 10**15 - 1),
        ("999999999999999.99", 2, 10**17 - 1),
    ],
)
def test_amounts_in_minor_units(text: str, exponent: int, minor: int) -> None:
    assert parse_amount(text, exponent) == minor
