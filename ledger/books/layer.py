"""What the books remember of entries, laid over what was remembered before, and look-ups in it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from heapq import merge
from typing import NamedTuple

from ledger.books.refusing import check_pieces, know_below, parse, refuse, unknown
from ledger.goods import Stock, StockKey
from ledger.money import format_amount
from ledger.signatures import Signature
from ledger.spans import Span, free, lowest
from ledger.state import (
    FEE_KINDS,
    Fund,
    Movement,
    Party,
    Position,
    Registration,
    State,
    Statement,
    Total,
    print_total,
)


class Posted(NamedTuple):
    """What is to be entry `index`: a statement, who posts it, and who signed it."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a post
    platform: str
    statement: Statement
    signatures: Sequence[Signature]

    def signers(self) -> set[str]:
        """The parties that are said to have signed."""
        return {signature["party"] for signature in self.signatures}


class Layer:
    """What the fold changed on top of `base` (itself a State, so books can be layered).

    currencies: ISO code -> exponent. movements: where to keep what the fold learns of each
    entry, stocks: of goods; an auditor of a large log passes some that live on disk.
    """

    def __init__(
        self,
        base: State,
        currencies: Mapping[str, int],
        movements: MutableMapping[int, Movement] | None = None,
        stocks: MutableMapping[StockKey, Stock] | None = None,
    ) -> None:
        self.base = base
        self.currencies = currencies
        self.new_origin = ""
        self.parties: dict[str, Party] = {}
        self.key_owners: dict[bytes, str] = {}
        self.programmes: dict[str, Registration] = {}
        self.funds: dict[str, Fund] = {}
        self.positions: dict[str, Position] = {}
        self.movements: MutableMapping[int, Movement] = {} if movements is None else movements
        self.stocks: MutableMapping[StockKey, Stock] = {} if stocks is None else stocks
        self.new_holes: dict[str, list[Span]] = {}

    # -- State, so that books can lie on books

    @property
    def origin(self) -> str:
        return self.new_origin or self.base.origin

    def leaf_hash(self, index: int) -> bytes | None:
        return self.base.leaf_hash(index)

    def root_at(self, size: int) -> bytes | None:
        return self.base.root_at(size)

    def party(self, party_id: str) -> Party | None:
        return self.parties.get(party_id) or self.base.party(party_id)

    def key_owner(self, public: bytes) -> str | None:
        return self.key_owners.get(public) or self.base.key_owner(public)

    def programme(self, programme_id: str) -> Registration | None:
        return self.programmes.get(programme_id) or self.base.programme(programme_id)

    def fund(self, fund_id: str) -> Fund | None:
        return self.funds.get(fund_id) or self.base.fund(fund_id)

    def position(self, fund_id: str) -> Position | None:
        return self.positions.get(fund_id) or self.base.position(fund_id)

    def movement(self, index: int) -> Movement | None:
        return self.movements.get(index) or self.base.movement(index)

    def stock(self, key: StockKey) -> Stock | None:
        return self.stocks.get(key) or self.base.stock(key)

    def holes(self, fund_id: str, start: int) -> Iterable[Span]:
        below = self.base.holes(fund_id, start)
        new = self.new_holes.get(fund_id)
        if new is None:
            return below
        first = bisect_left(new, start, key=lambda hole: hole[1] - 1)
        return merge(below, (new[i] for i in range(first, len(new))))

    def absorb(self, other: Layer) -> None:
        """Take over everything `other`, which lies on these books, has changed."""
        self.parties.update(other.parties)
        self.key_owners.update(other.key_owners)
        self.programmes.update(other.programmes)
        self.funds.update(other.funds)
        self.positions.update(other.positions)
        self.movements.update(other.movements)
        self.stocks.update(other.stocks)
        for fund_id, holes in other.new_holes.items():
            for hole in holes:
                self._add_hole(fund_id, hole)

    # -- what several folds share

    def _outflow(self, fund_id: str, before: Position, amount: int) -> tuple[list[Span], int]:
        holes = self.holes(fund_id, before.cursor)
        pieces, _ = lowest(free(before.cursor, before.line_end, holes), amount)
        check_pieces(pieces)
        return pieces, pieces[-1][1]

    def _add_hole(self, fund_id: str, hole: Span) -> None:
        insort(self.new_holes.setdefault(fund_id, []), hole)

    def _position(self, fund_id: str) -> Position:
        return self.position(fund_id) or Position()

    def _know_party(self, party_id: str, pointer: str) -> None:
        if self.party(party_id) is None:
            unknown("party", party_id, pointer)

    def _know_fund(self, fund_id: str, pointer: str) -> Fund:
        return self.fund(fund_id) or unknown("fund", fund_id, pointer)

    def _known_fund(self, fund_id: str) -> Fund:
        fund = self.fund(fund_id)
        assert fund is not None, "a movement names a fund that was there"
        return fund

    def _know_target(self, size: int, target: int, kinds: tuple[str, ...]) -> Movement:
        know_below(size, target)
        movement = self.movement(target)
        if movement is None or movement.kind not in kinds:
            refuse("wrong_target", "/target", f"entry {target} is not a {' or '.join(kinds)}")
        return movement

    def _minor(self, statement: Statement, currency: str) -> int:
        return parse(statement["amount"], self.currencies[currency], "/amount")

    def _amount_and_fees(self, statement: Statement, currency: str) -> tuple[int, dict[str, int]]:
        """The amount, and the sum of the fees of each kind, in minor units."""
        exponent = self.currencies[currency]
        amount = parse(statement["amount"], exponent, "/amount")
        fees = dict.fromkeys(FEE_KINDS, 0)
        for i, fee in enumerate(statement.get("fees", ())):
            fees[fee["kind"]] += parse(fee["amount"], exponent, f"/fees/{i}/amount")
        return amount, fees

    def _check_currency(self, statement: Statement, fund: Fund) -> None:
        if statement["currency"] != fund.currency:
            refuse("currency_mismatch", "/currency", f"the fund is in {fund.currency}")

    def _check_funds(self, fund: Fund, before: Position, amount: int) -> None:
        if amount > before.balance:
            held, asked = (self._print(minor, fund.currency) for minor in (before.balance, amount))
            detail = f"the fund holds {held} {fund.currency}; {asked} is asked of it"
            refuse("insufficient_funds", "/amount", detail)

    def _print(self, minor: int, currency: str) -> str:
        return format_amount(minor, self.currencies[currency])

    def _total(
        self, fund_id: str, fund: Fund, before: Position, after: Position, pieces: Iterable[Span]
    ) -> Total:
        return print_total(
            fund_id, fund.currency, self.currencies[fund.currency], before.last, after, pieces
        )
