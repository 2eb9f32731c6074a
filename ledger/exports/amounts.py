"""The amounts of a statement of money, in minor units."""

from __future__ import annotations

from ledger.money import format_amount, parse_amount
from ledger.state import FEE_KINDS, Statement


def amount_of(statement: Statement, exponent: int) -> int:
    return parse_amount(statement["amount"], exponent)


def fees_of(statement: Statement, exponent: int) -> dict[str, int]:
    """Kind of fee -> its sum, zero where there is none; what a refund gives back, in a refund."""
    fees = dict.fromkeys(FEE_KINDS, 0)
    for fee in statement.get("fees", ()):
        fees[fee["kind"]] += parse_amount(fee["amount"], exponent)
    return fees


def signed(minor: int, exponent: int) -> str:
    """`minor` units, which may be negative, as a decimal string with all its decimals."""
    return ("-" if minor < 0 else "") + format_amount(abs(minor), exponent)
