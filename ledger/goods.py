"""Goods: the running stock of each fund, item and unit, apart from all money. Pure.

A stock prints as the one element of an entry's `goods`; docs/format.md, "Goods". Quantities
are whole millionths inside and decimal strings outside, never floats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from ledger.errors import Fault, Refusal

TYPES = frozenset({"goods_in", "goods_out"})
DECIMALS = 6
LIMIT_MILLIONTHS = 10**18  # the sums stay below; fits SQLite's 64-bit integers
QUANTITY = re.compile(r"(?=[0.]*[1-9])(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,6}))?", re.ASCII)


class StockKey(NamedTuple):
    """Which goods: texts are compared code point by code point, so `Rice` is not `rice`."""

    fund: str
    item: str
    unit: str


class Stock(NamedTuple):
    """What `n` goods entries added up to, the `last` one's index among them, in millionths."""

    n: int = 0
    last: int | None = None
    in_millionths: int = 0
    out_millionths: int = 0

    @property
    def left(self) -> int:
        return self.in_millionths - self.out_millionths


def key_of(statement: Mapping[str, Any]) -> StockKey:
    """The stock that a goods statement moves."""
    return StockKey(statement["fund"], statement["item"], statement["unit"])


def moved(before: Stock, index: int, statement: Mapping[str, Any]) -> Stock:
    """The stock after a goods statement, which passed its schema, was sealed as entry `index`.

    Raises Refusal: insufficient_stock or amount_too_large.
    """
    quantity = parse_quantity(statement["quantity"])
    if statement["type"] == "goods_out":
        if quantity > before.left:
            held, unit = format_quantity(before.left), statement["unit"]
            detail = f"the fund holds {held} {unit} of this item; {statement['quantity']} is asked"
            _refuse("insufficient_stock", detail)
        return Stock(before.n + 1, index, before.in_millionths, before.out_millionths + quantity)
    received = before.in_millionths + quantity
    if received >= LIMIT_MILLIONTHS:
        _refuse("amount_too_large", "what came in of this item would reach 10^12")
    return Stock(before.n + 1, index, received, before.out_millionths)


def print_stock(key: StockKey, prev: int | None, after: Stock) -> dict[str, Any]:
    """The element of an entry's `goods`. prev: the entry of the same stock before this one."""
    line: dict[str, Any] = {**key._asdict(), "n": after.n}
    if prev is not None:
        line["prev"] = prev
    return line | {
        "in": format_quantity(after.in_millionths),
        "out": format_quantity(after.out_millionths),
        "stock": format_quantity(after.left),
    }


def parse_quantity(text: str) -> int:
    """The millionths of a quantity as it is posted, which `QUANTITY` matches."""
    match = QUANTITY.fullmatch(text)
    assert match is not None, "a schema has held the quantity to its spelling"
    return int(match[1] + (match[2] or "").ljust(DECIMALS, "0"))


def format_quantity(millionths: int) -> str:
    """The shortest decimal: no zero at the end of its decimals, no point when it is whole."""
    whole, decimals = divmod(millionths, 10**DECIMALS)
    return f"{whole}.{decimals:0{DECIMALS}d}".rstrip("0").rstrip(".")


def divided(kind: str, sums: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], ...]:
    """(totals, goods): what the books added up for a statement of type `kind`, by its field."""
    return ([], sums) if kind in TYPES else (sums, [])


def _refuse(code: str, detail: str) -> NoReturn:
    raise Refusal(code, f"/quantity: {detail}", [Fault("/quantity", detail)])
