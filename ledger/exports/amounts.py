"""The amounts of a statement of money, in minor units."""

from __future__ import annotations

from ledger.money import format_amount, parse_amount
from ledger.state import Statement


def amount_of(statement: Statement, exponent: int) -> int:
    return parse_amount(statement["amount"], exponent)


def signed(minor: int, exponent: int) -> str:
    """`minor` units, which may be negative, as a decimal string with all its decimals."""
    return ("-" if minor < 0 else "") + format_amount(abs(minor), exponent)
