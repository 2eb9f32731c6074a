"""What the books remember: registrations, funds, positions, movements. Pure values.

A position prints as one element of an entry's `totals`; docs/format.md, "Totals and spans".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol

from ledger.errors import Fault, Refusal
from ledger.goods import Stock, StockKey
from ledger.money import LIMIT_MINOR, format_amount, parse_amount, parse_total
from ledger.spans import Span

Total = dict[str, Any]
Statement = Mapping[str, Any]

# counter -> what it adds to the balance; a position prints them in this order.
COUNTERS: dict[str, int] = {
    "donated": 1,
    "transferred_in": 1,
    "returned": 1,
    "disbursed": -1,
    "operational": -1,
    "operational_returned": 0,  # already within `returned`
    "platform_fees": -1,
    "platform_fees_returned": 1,
    "payment_fees": -1,
    "payment_fees_returned": 1,
    "transferred_out": -1,
    "transferred_out_returned": 1,
    "transferred_in_returned": -1,
    "refunded": -1,
}
# What makes the inflow line longer: net inflows, each at the moment it came in.
_LINE = {
    "donated": 1,
    "transferred_in": 1,
    "returned": 1,
    "transferred_out_returned": 1,
    "platform_fees": -1,
    "payment_fees": -1,
}
FEE_KINDS = ("platform", "payment")


@dataclass(frozen=True, slots=True)
class Registration:
    """Who first registered a party or programme, and where its current statement stands."""

    index: int
    platform: str


@dataclass(frozen=True, slots=True)
class Party(Registration):
    """A party, with what its current statement says of its keys. keys: vkeys."""

    keys: tuple[str, ...] = ()
    signed_only: bool = False


@dataclass(frozen=True, slots=True)
class Approvals:
    """Who must sign what moves at least `from_minor`: `needed` of `approvers`."""

    from_minor: int
    needed: int
    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fund:
    """What the current statement of a fund says, as far as the rules ask.

    index: of that statement; platform: the one that first registered the fund.
    """

    index: int
    platform: str
    currency: str
    owner: str
    platforms: tuple[str, ...]
    is_open: bool
    cost_cap_bp: int | None
    approvals: Approvals | None = None
    evidence_from_minor: int | None = None

    def governance(self) -> tuple[object, ...]:
        """What is changed only with the owner's signature and the approvals of before."""
        policy = (self.cost_cap_bp, self.approvals, self.evidence_from_minor)
        return (self.owner, frozenset(self.platforms), self.is_open, policy)


class Position(NamedTuple):
    """Where a fund's money stands: `n` money entries, the `last` one's index, the line.

    cursor: everything of the inflow line below it is spent or refunded. counters: name ->
    minor units, zero ones absent. balance and line_end follow from the counters, and are
    carried along because every entry asks for them.
    """

    n: int = 0
    last: int | None = None
    cursor: int = 0
    counters: Mapping[str, int] = {}
    balance: int = 0
    line_end: int = 0

    @classmethod
    def stored(cls, n: int, last: int | None, cursor: int, counters: Mapping[str, int]) -> Position:
        """A position of which only the rest was stored."""
        balance = sum(COUNTERS[name] * minor for name, minor in counters.items())
        line_end = sum(_LINE.get(name, 0) * minor for name, minor in counters.items())
        return cls(n, last, cursor, counters, balance, line_end)

    def count(self, name: str) -> int:
        return self.counters.get(name, 0)

    def moved(self, index: int, changes: Mapping[str, int], cursor: int | None = None) -> Position:
        """The position after entry `index` added `changes` to its counters."""
        counters, balance, line_end = dict(self.counters), self.balance, self.line_end
        for name, minor in changes.items():
            if minor:
                counters[name] = total = counters.get(name, 0) + minor
                balance += COUNTERS[name] * minor
                line_end += _LINE.get(name, 0) * minor
                if total >= LIMIT_MINOR:
                    _refuse_too_large()
        if line_end >= LIMIT_MINOR:
            _refuse_too_large()
        assert balance >= 0, "spans and balance count the same money"
        after = self.cursor if cursor is None else cursor
        return Position(self.n + 1, index, after, counters, balance, line_end)


def _refuse_too_large() -> NoReturn:
    detail = "a counter of the fund, or its inflow line, would reach 10^18 minor units"
    raise Refusal("amount_too_large", f"/amount: {detail}", [Fault("/amount", detail)])


class Movement(NamedTuple):
    """A donation, disbursement or transfer as far as undoing or acknowledging it asks, in minor
    units; and goods handed out to a party, of no amount.

    start, end: a donation's span on its fund's line, or a transfer's on the receiving fund's.
    undone: refunded or returned so far, fees given back included. recipient: the party that a
    disbursement or goods went to, empty for a group. acknowledged: the index of the newest
    acknowledgement, 0 for none; is_received: whether that one says that anything came.
    """

    kind: str
    fund: str
    amount: int
    to_fund: str = ""
    is_operational: bool = False
    start: int = 0
    end: int = 0
    platform_fees: int = 0
    payment_fees: int = 0
    undone: int = 0
    platform_fees_undone: int = 0
    payment_fees_undone: int = 0
    recipient: str = ""
    acknowledged: int = 0
    is_received: bool = False


class State(Protocol):
    """What the books must be able to look up; None where there is nothing."""

    @property
    def origin(self) -> str:
        """The log's name, as its genesis says; empty before that."""
        ...

    def leaf_hash(self, index: int) -> bytes | None:
        """Of an entry that was sealed before; None for one that is not sealed yet."""
        ...

    def root_at(self, size: int) -> bytes | None:
        """Of the first `size` entries; None when not all of them are sealed yet."""
        ...

    def party(self, party_id: str) -> Party | None: ...
    def key_owner(self, public: bytes) -> str | None:
        """The party that has the public key (32 bytes), or ever had it."""
        ...

    def programme(self, programme_id: str) -> Registration | None: ...
    def fund(self, fund_id: str) -> Fund | None: ...
    def position(self, fund_id: str) -> Position | None: ...
    def movement(self, index: int) -> Movement | None: ...
    def stock(self, key: StockKey) -> Stock | None: ...
    def holes(self, fund_id: str, start: int) -> Iterable[Span]:
        """Refunded or returned spans that end after `start`, disjoint and ascending."""
        ...


class EmptyState:
    """A ledger before its first entry."""

    origin = ""

    def leaf_hash(self, index: int) -> bytes | None:
        return None

    def root_at(self, size: int) -> bytes | None:
        return None

    def party(self, party_id: str) -> Party | None:
        return None

    def key_owner(self, public: bytes) -> str | None:
        return None

    def programme(self, programme_id: str) -> Registration | None:
        return None

    def fund(self, fund_id: str) -> Fund | None:
        return None

    def position(self, fund_id: str) -> Position | None:
        return None

    def movement(self, index: int) -> Movement | None:
        return None

    def stock(self, key: StockKey) -> Stock | None:
        return None

    def holes(self, fund_id: str, start: int) -> Iterable[Span]:
        return ()


def party_of(index: int, registrar: str, statement: Statement) -> Party:
    """What the rules ask of a party statement that stands at `index`."""
    keys = tuple(statement.get("keys", ()))
    return Party(index, registrar, keys, statement.get("signed_only", False))


def fund_of(
    index: int, registrar: str, statement: Statement, currencies: Mapping[str, int]
) -> Fund:
    """What the rules ask of a fund statement that stands at `index`."""
    exponent, policy = currencies[statement["currency"]], statement["policy"]
    approvals, evidence_from = policy.get("approvals"), policy.get("evidence_from_amount")
    return Fund(
        index,
        registrar,
        statement["currency"],
        statement["owner"],
        tuple(statement["platforms"]),
        statement["status"] == "open",
        policy.get("cost_cap_bp"),
        approvals
        and Approvals(
            parse_amount(approvals["from_amount"], exponent),
            approvals["needed"],
            tuple(approvals["approvers"]),
        ),
        evidence_from and parse_amount(evidence_from, exponent),
    )


def fees_of(statement: Statement, exponent: int) -> dict[str, int]:
    """Kind of fee -> its sum in minor units, zero where there is none; in a refund, what is
    given back."""
    fees = dict.fromkeys(FEE_KINDS, 0)
    for fee in statement.get("fees", ()):
        fees[fee["kind"]] += parse_amount(fee["amount"], exponent)
    return fees


def movement_of(
    statement: Statement, totals: list[Total], currencies: Mapping[str, int]
) -> Movement | None:
    """What undoing a sealed entry would ask, nothing being undone yet; None if not undoable."""
    kind = statement["type"]
    if kind == "goods_out" and "party" in statement["recipient"]:
        return Movement(kind, statement["fund"], 0, recipient=statement["recipient"]["party"])
    if kind not in ("donation", "disbursement", "transfer"):
        return None
    exponent = currencies[statement["currency"]]
    amount = parse_amount(statement["amount"], exponent)
    if kind == "disbursement":
        is_operational = statement["category"] == "operational"
        recipient = statement["recipient"].get("party", "")
        return Movement(
            kind, statement["fund"], amount, is_operational=is_operational, recipient=recipient
        )
    nothing = format_amount(0, exponent)
    spans = totals[-1]["spans"] or [[nothing, nothing]]  # a donation that fees took whole
    start, end = (parse_total(text, exponent) for text in spans[0])
    if kind == "transfer":
        ends = {"start": start, "end": end, "to_fund": statement["to_fund"]}
        return Movement(kind, statement["from_fund"], amount, **ends)
    fees = fees_of(statement, exponent)
    return Movement(
        kind,
        statement["fund"],
        amount,
        start=start,
        end=end,
        platform_fees=fees["platform"],
        payment_fees=fees["payment"],
    )


def print_total(
    fund_id: str,
    currency: str,
    exponent: int,
    prev: int | None,
    after: Position,
    pieces: Iterable[Span],
) -> Total:
    """One element of an entry's `totals`. prev: the fund's money entry before this one."""
    total: Total = {"fund": fund_id, "currency": currency, "n": after.n}
    if prev is not None:
        total["prev"] = prev
    for name, minor in after.counters.items():
        total[name] = format_amount(minor, exponent)
    total["balance"] = format_amount(after.balance, exponent)
    total["spans"] = [[format_amount(end, exponent) for end in piece] for piece in pieces]
    return total
