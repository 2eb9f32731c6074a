"""How the folds refuse, and the small checks that several of them make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from ledger.errors import BesideStatement, Fault, Refusal
from ledger.money import AmountError, parse_amount
from ledger.spans import PIECES_MAX, Span
from ledger.state import Fund


def refuse(code: str, pointer: str, detail: str) -> NoReturn:
    raise Refusal(code, f"{pointer}: {detail}" if pointer else detail, [Fault(pointer, detail)])


def unknown(what: str, name: str, pointer: str) -> NoReturn:
    refuse("unknown_reference", pointer, f"no {what} {name!r} is registered")


def know_below(size: int, target: int) -> None:
    """Refuse what is said of an entry that is not there yet."""
    if target >= size:
        detail = f"index {target} is not on the ledger yet; its size is {size}"
        refuse("unknown_reference", "/target", detail)


def check_right(platform: str, fund: Fund, fund_id: str) -> None:
    if platform not in fund.platforms:
        detail = f"{platform!r} is not among the platforms of the fund {fund_id!r}"
        refuse("forbidden", "", detail)


def check_open(fund: Fund, fund_id: str, pointer: str) -> None:
    if not fund.is_open:
        refuse("fund_closed", pointer, f"the fund {fund_id!r} is closed")


def check_pieces(pieces: list[Span]) -> None:
    if len(pieces) > PIECES_MAX:
        detail = f"the money lies in more than {PIECES_MAX} pieces; split the statement"
        refuse("too_fragmented", "/amount", detail)


def net_of(amount: int, fees: Mapping[str, int]) -> int:
    net = amount - sum(fees.values())
    if net < 0:
        refuse("fees_exceed_amount", "/fees", "the fees add up to more than the amount")
    return net


def is_looser(old_bp: int | None, new_bp: int | None) -> bool:
    return old_bp is not None and (new_bp is None or new_bp > old_bp)


def parse(amount: str, exponent: int, pointer: str) -> int:
    try:
        return parse_amount(amount, exponent)
    except AmountError as error:
        refuse("invalid_amount", pointer, str(error))


def refuse_beside(code: str, pointer: str, detail: str) -> NoReturn:
    """Refuse for what stands beside the statement; pointer: from the post."""
    raise BesideStatement(code, f"{pointer}: {detail}", [Fault(pointer, detail)])
