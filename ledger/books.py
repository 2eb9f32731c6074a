"""The books: one fold of statements into totals, spans and refusals, for writer and auditor.

`Books.post` looks at one statement that already passed its schema, in the order of admission
(docs/format.md, "Admission"), and either refuses it and changes nothing, or returns the
totals its entry carries. Pure: what it must remember it asks of a `State` and keeps staged
on top, so a writer lays one over its database and throws it away when a batch is refused,
and an auditor starts from nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, MutableMapping
from heapq import merge
from typing import NoReturn

from ledger import goods
from ledger.entry import SYSTEM_PLATFORM
from ledger.errors import Fault, Refusal
from ledger.goods import Stock, StockKey
from ledger.money import AmountError, format_amount, parse_amount
from ledger.spans import PIECES_MAX, Span, free, joined, lowest
from ledger.state import (
    FEE_KINDS,
    Fund,
    Movement,
    Position,
    Registration,
    State,
    Statement,
    Total,
    fund_of,
    print_total,
)

BASIS_POINTS = 10_000


class Books:
    """The fold, and all it changed on top of `base` (itself a State, so books can be layered).

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
        self.parties: dict[str, Registration] = {}
        self.programmes: dict[str, Registration] = {}
        self.funds: dict[str, Fund] = {}
        self.positions: dict[str, Position] = {}
        self.movements: MutableMapping[int, Movement] = {} if movements is None else movements
        self.stocks: MutableMapping[StockKey, Stock] = {} if stocks is None else stocks
        self.new_holes: dict[str, list[Span]] = {}

    # -- State, so that books can lie on books

    def party(self, party_id: str) -> Registration | None:
        return self.parties.get(party_id) or self.base.party(party_id)

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

    def leaf_hash(self, index: int) -> bytes | None:
        return self.base.leaf_hash(index)

    def holes(self, fund_id: str, start: int) -> Iterable[Span]:
        below = self.base.holes(fund_id, start)
        new = self.new_holes.get(fund_id)
        if new is None:
            return below
        first = bisect_left(new, start, key=lambda hole: hole[1] - 1)
        return merge(below, (new[i] for i in range(first, len(new))))

    def absorb(self, other: Books) -> None:
        """Take over everything `other`, which lies on these books, has changed."""
        self.parties.update(other.parties)
        self.programmes.update(other.programmes)
        self.funds.update(other.funds)
        self.positions.update(other.positions)
        self.movements.update(other.movements)
        self.stocks.update(other.stocks)
        for fund_id, holes in other.new_holes.items():
            for hole in holes:
                self._add_hole(fund_id, hole)

    # -- the fold

    def post(self, index: int, platform: str, statement: Statement) -> list[Total]:
        """Admit `statement` as entry `index`, posted by `platform`; its totals, or goods.

        The statement has passed its schema. Raises Refusal and changes nothing.
        """
        kind = statement["type"]
        if kind != "genesis":
            self._check_platform(platform, statement)
        return _FOLDS[kind](self, index, platform, statement)

    def _check_platform(self, platform: str, statement: Statement) -> None:
        registers_itself = statement["type"] == "party" and statement["id"] == platform
        if not registers_itself and self.party(platform) is None:
            _refuse("unknown_reference", "", f"platform {platform!r} is not a registered party")

    def _genesis(self, index: int, platform: str, statement: Statement) -> list[Total]:
        if platform != SYSTEM_PLATFORM or index != 0:
            _refuse("forbidden", "/type", "only the ledger itself writes its genesis, as entry 0")
        self.currencies = statement["currencies"]
        return []

    def _party(self, index: int, platform: str, statement: Statement) -> list[Total]:
        current = self.party(statement["id"])
        _check_supersedes(current, platform, statement)
        registrar = current.platform if current else platform
        self.parties[statement["id"]] = Registration(index, registrar)
        return []

    def _programme(self, index: int, platform: str, statement: Statement) -> list[Total]:
        self._know_party(statement["lead"], "/lead")
        for i, participant in enumerate(statement.get("participants", ())):
            self._know_party(participant["party"], f"/participants/{i}/party")
        current = self.programme(statement["id"])
        _check_supersedes(current, platform, statement)
        registrar = current.platform if current else platform
        self.programmes[statement["id"]] = Registration(index, registrar)
        return []

    def _fund(self, index: int, platform: str, statement: Statement) -> list[Total]:
        self._know_party(statement["owner"], "/owner")
        for i, party_id in enumerate(statement["platforms"]):
            self._know_party(party_id, f"/platforms/{i}")
        for i, programme_id in enumerate(statement.get("programmes", ())):
            if self.programme(programme_id) is None:
                _unknown("programme", programme_id, f"/programmes/{i}")
        current = self.fund(statement["id"])
        _check_supersedes(current, platform, statement)
        new = fund_of(index, current.platform if current else platform, statement)
        if current:
            self._check_replaces(statement["id"], current, new)
        self.funds[statement["id"]] = new
        return []

    def _check_replaces(self, fund_id: str, current: Fund, new: Fund) -> None:
        if new.currency != current.currency:
            detail = f"the currency of a fund stays {current.currency}"
            _refuse("immutable_field", "/currency", detail)
        if self._position(fund_id).n and _is_looser(current.cost_cap_bp, new.cost_cap_bp):
            detail = f"money was given under a cap of {current.cost_cap_bp}; it may only tighten"
            _refuse("cap_loosened", "/policy/cost_cap_bp", detail)

    def _donation(self, index: int, platform: str, statement: Statement) -> list[Total]:
        fund_id = statement["fund"]
        fund = self._know_fund(fund_id, "/fund")
        if "party" in statement.get("donor", {}):
            self._know_party(statement["donor"]["party"], "/donor/party")
        _check_right(platform, fund, fund_id)
        _check_open(fund, fund_id, "/fund")
        self._check_currency(statement, fund)
        amount, fees = self._amount_and_fees(statement, fund.currency)
        net = _net(amount, fees)
        before = self._position(fund_id)
        changes = {
            "donated": amount,
            "platform_fees": fees["platform"],
            "payment_fees": fees["payment"],
        }
        if fees["platform"]:
            _check_cost_cap(fund, before, changes)
        span = (before.line_end, before.line_end + net)
        after = before.moved(index, changes)
        self.positions[fund_id] = after
        self.movements[index] = Movement(
            "donation",
            fund_id,
            amount,
            start=span[0],
            end=span[1],
            platform_fees=fees["platform"],
            payment_fees=fees["payment"],
        )
        return [self._total(fund_id, fund, before, after, [span] if net else [])]

    def _disbursement(self, index: int, platform: str, statement: Statement) -> list[Total]:
        fund_id = statement["fund"]
        fund = self._know_fund(fund_id, "/fund")
        if "party" in statement["recipient"]:
            self._know_party(statement["recipient"]["party"], "/recipient/party")
        _check_right(platform, fund, fund_id)
        _check_open(fund, fund_id, "/fund")
        self._check_currency(statement, fund)
        amount = self._minor(statement, fund.currency)
        before = self._position(fund_id)
        self._check_funds(fund, before, amount)
        is_operational = statement["category"] == "operational"
        changes = {"operational" if is_operational else "disbursed": amount}
        if is_operational:
            _check_cost_cap(fund, before, changes)
        pieces, cursor = self._outflow(fund_id, before, amount)
        after = before.moved(index, changes, cursor)
        self.positions[fund_id] = after
        self.movements[index] = Movement(
            "disbursement", fund_id, amount, is_operational=is_operational
        )
        return [self._total(fund_id, fund, before, after, pieces)]

    def _transfer(self, index: int, platform: str, statement: Statement) -> list[Total]:
        giver_id, taker_id = statement["from_fund"], statement["to_fund"]
        giver = self._know_fund(giver_id, "/from_fund")
        taker = self._know_fund(taker_id, "/to_fund")
        if giver_id == taker_id:
            _refuse("self_transfer", "/to_fund", "both funds are the same")
        _check_right(platform, giver, giver_id)
        _check_open(giver, giver_id, "/from_fund")
        _check_open(taker, taker_id, "/to_fund")
        self._check_currency(statement, giver)
        self._check_currency(statement, taker)
        if _is_looser(giver.cost_cap_bp, taker.cost_cap_bp):
            detail = f"{giver_id} is capped at {giver.cost_cap_bp}; {taker_id} must be as tight"
            _refuse("cap_loosened", "/to_fund", detail)
        amount = self._minor(statement, giver.currency)
        gives, takes = self._position(giver_id), self._position(taker_id)
        self._check_funds(giver, gives, amount)
        pieces, cursor = self._outflow(giver_id, gives, amount)
        gave = gives.moved(index, {"transferred_out": amount}, cursor)
        took = takes.moved(index, {"transferred_in": amount})
        if statement["basis"] != "terms" and "evidence" not in statement:
            detail = f"a transfer by {statement['basis']} shows its evidence"
            _refuse("evidence_required", "/evidence", detail)
        span = (takes.line_end, takes.line_end + amount)
        self.positions[giver_id], self.positions[taker_id] = gave, took
        self.movements[index] = Movement(
            "transfer", giver_id, amount, to_fund=taker_id, start=span[0], end=span[1]
        )
        return [
            self._total(giver_id, giver, gives, gave, pieces),
            self._total(taker_id, taker, takes, took, [span]),
        ]

    def _refund(self, index: int, platform: str, statement: Statement) -> list[Total]:
        target = statement["target"]
        donation = self._know_target(index, target, ("donation",))
        fund_id = donation.fund
        fund = self._known_fund(fund_id)
        amount, fees = self._amount_and_fees(statement, fund.currency)
        _check_right(platform, fund, fund_id)
        line_part = _net(amount, fees)
        self._check_original(donation, line_part, fees, fund.currency)
        before = self._position(fund_id)
        self._check_funds(fund, before, line_part)
        own, rest, cursor = self._refund_pieces(donation, before, line_part)
        changes = {
            "refunded": amount,
            "platform_fees_returned": fees["platform"],
            "payment_fees_returned": fees["payment"],
        }
        after = before.moved(index, changes, cursor)
        self.positions[fund_id] = after
        for hole in own:
            self._add_hole(fund_id, hole)
        self.movements[target] = donation._replace(
            undone=donation.undone + amount,
            platform_fees_undone=donation.platform_fees_undone + fees["platform"],
            payment_fees_undone=donation.payment_fees_undone + fees["payment"],
        )
        return [self._total(fund_id, fund, before, after, joined(own + rest))]

    def _check_original(
        self, donation: Movement, line_part: int, fees: Mapping[str, int], currency: str
    ) -> None:
        given_back = donation.platform_fees_undone + donation.payment_fees_undone
        left = donation.end - donation.start - (donation.undone - given_back)
        left_fees = {
            "platform": donation.platform_fees - donation.platform_fees_undone,
            "payment": donation.payment_fees - donation.payment_fees_undone,
        }
        if line_part > left:
            detail = f"of the donation {self._print(left, currency)} is left beside its fees"
            _refuse("exceeds_original", "/amount", detail)
        for kind, minor in fees.items():
            if minor > left_fees[kind]:
                detail = f"of the {kind} fees {self._print(left_fees[kind], currency)} is left"
                _refuse("exceeds_original", "/fees", detail)

    def _refund_pieces(
        self, donation: Movement, before: Position, line_part: int
    ) -> tuple[list[Span], list[Span], int]:
        """Own span first, lowest positions first; the rest like an outflow around it."""
        start = max(donation.start, before.cursor)
        holes = self.holes(donation.fund, start)
        own, missing = lowest(free(start, donation.end, holes), line_part)
        rest: list[Span] = []
        if missing:
            # More is asked than the own span still holds, so all of it counts as taken.
            own_span = (donation.start, donation.end)
            around = merge(self.holes(donation.fund, before.cursor), [own_span])
            rest, _ = lowest(free(before.cursor, before.line_end, around), missing)
        _check_pieces(joined(own + rest))
        return own, rest, rest[-1][1] if rest else before.cursor

    def _return(self, index: int, platform: str, statement: Statement) -> list[Total]:
        moved = self._know_target(index, statement["target"], ("disbursement", "transfer"))
        giver_id, taker_id = moved.fund, moved.to_fund
        giver = self._known_fund(giver_id)
        amount = self._minor(statement, giver.currency)
        if not (taker_id and platform in self._known_fund(taker_id).platforms):
            _check_right(platform, giver, giver_id)
        left = moved.amount - moved.undone
        if amount > left:
            detail = f"of the target {self._print(left, giver.currency)} is left"
            _refuse("exceeds_original", "/amount", detail)
        if taker_id:
            totals = self._return_transfer(index, moved, amount)
        else:
            totals = self._return_disbursement(index, moved, amount)
        self.movements[statement["target"]] = moved._replace(undone=moved.undone + amount)
        return totals

    def _return_disbursement(self, index: int, moved: Movement, amount: int) -> list[Total]:
        before = self._position(moved.fund)
        changes = {
            "returned": amount,
            "operational_returned": amount if moved.is_operational else 0,
        }
        after = before.moved(index, changes)
        self.positions[moved.fund] = after
        span = (before.line_end, before.line_end + amount)
        return [self._total(moved.fund, self._known_fund(moved.fund), before, after, [span])]

    def _return_transfer(self, index: int, moved: Movement, amount: int) -> list[Total]:
        giver, taker = self._known_fund(moved.fund), self._known_fund(moved.to_fund)
        gives, takes = self._position(moved.fund), self._position(moved.to_fund)
        start = max(moved.start, takes.cursor)
        unspent = free(start, moved.end, self.holes(moved.to_fund, start))
        pieces, missing = lowest(unspent, amount)
        if missing and len(pieces) <= PIECES_MAX:
            held = self._print(amount - missing, giver.currency)
            detail = f"of this transfer the fund {moved.to_fund!r} still holds {held}"
            _refuse("insufficient_funds", "/amount", detail)
        _check_pieces(pieces)
        took = takes.moved(index, {"transferred_in_returned": amount})
        gave = gives.moved(index, {"transferred_out_returned": amount})
        self.positions[moved.to_fund], self.positions[moved.fund] = took, gave
        for hole in pieces:
            self._add_hole(moved.to_fund, hole)
        span = (gives.line_end, gives.line_end + amount)
        return [
            self._total(moved.to_fund, taker, takes, took, pieces),
            self._total(moved.fund, giver, gives, gave, [span]),
        ]

    # -- what moves no money

    def _goods(self, index: int, platform: str, statement: Statement) -> list[Total]:
        fund = self._know_fund(statement["fund"], "/fund")
        if "party" in statement.get("recipient", {}):
            self._know_party(statement["recipient"]["party"], "/recipient/party")
        _check_right(platform, fund, statement["fund"])
        _check_open(fund, statement["fund"], "/fund")
        key = goods.key_of(statement)
        before = self.stock(key) or Stock()
        after = goods.moved(before, index, statement)
        self.stocks[key] = after
        return [goods.print_stock(key, before.last, after)]

    def _report(self, index: int, platform: str, statement: Statement) -> list[Total]:
        if "fund" in statement:
            self._know_fund(statement["fund"], "/fund")
        elif self.programme(statement["programme"]) is None:
            _unknown("programme", statement["programme"], "/programme")
        self._know_party(statement["by"], "/by")
        return []

    def _evidence(self, index: int, platform: str, statement: Statement) -> list[Total]:
        self._know_leaf(index, statement)
        return []

    def _know_leaf(self, size: int, statement: Statement) -> None:
        """Check that `target` is an earlier entry, and `target_leaf` its leaf hash."""
        target = statement["target"]
        _check_earlier(size, target)
        leaf = self.leaf_hash(target)
        if leaf is None or leaf.hex() != statement["target_leaf"]:
            _refuse("wrong_target", "/target_leaf", f"this is not the leaf hash of entry {target}")

    # -- what several folds share

    def _outflow(self, fund_id: str, before: Position, amount: int) -> tuple[list[Span], int]:
        holes = self.holes(fund_id, before.cursor)
        pieces, _ = lowest(free(before.cursor, before.line_end, holes), amount)
        _check_pieces(pieces)
        return pieces, pieces[-1][1]

    def _add_hole(self, fund_id: str, hole: Span) -> None:
        insort(self.new_holes.setdefault(fund_id, []), hole)

    def _position(self, fund_id: str) -> Position:
        return self.position(fund_id) or Position()

    def _know_party(self, party_id: str, pointer: str) -> None:
        if self.party(party_id) is None:
            _unknown("party", party_id, pointer)

    def _know_fund(self, fund_id: str, pointer: str) -> Fund:
        return self.fund(fund_id) or _unknown("fund", fund_id, pointer)

    def _known_fund(self, fund_id: str) -> Fund:
        fund = self.fund(fund_id)
        assert fund is not None, "a movement names a fund that was there"
        return fund

    def _know_target(self, size: int, target: int, kinds: tuple[str, ...]) -> Movement:
        _check_earlier(size, target)
        movement = self.movement(target)
        if movement is None or movement.kind not in kinds:
            _refuse("wrong_target", "/target", f"entry {target} is not a {' or '.join(kinds)}")
        return movement

    def _minor(self, statement: Statement, currency: str) -> int:
        return _parse(statement["amount"], self.currencies[currency], "/amount")

    def _amount_and_fees(self, statement: Statement, currency: str) -> tuple[int, dict[str, int]]:
        """The amount, and the sum of the fees of each kind, in minor units."""
        exponent = self.currencies[currency]
        amount = _parse(statement["amount"], exponent, "/amount")
        fees = dict.fromkeys(FEE_KINDS, 0)
        for i, fee in enumerate(statement.get("fees", ())):
            fees[fee["kind"]] += _parse(fee["amount"], exponent, f"/fees/{i}/amount")
        return amount, fees

    def _check_currency(self, statement: Statement, fund: Fund) -> None:
        if statement["currency"] != fund.currency:
            _refuse("currency_mismatch", "/currency", f"the fund is in {fund.currency}")

    def _check_funds(self, fund: Fund, before: Position, amount: int) -> None:
        if amount > before.balance:
            held, asked = (self._print(minor, fund.currency) for minor in (before.balance, amount))
            detail = f"the fund holds {held} {fund.currency}; {asked} is asked of it"
            _refuse("insufficient_funds", "/amount", detail)

    def _print(self, minor: int, currency: str) -> str:
        return format_amount(minor, self.currencies[currency])

    def _total(
        self, fund_id: str, fund: Fund, before: Position, after: Position, pieces: Iterable[Span]
    ) -> Total:
        return print_total(
            fund_id, fund.currency, self.currencies[fund.currency], before.last, after, pieces
        )


_FOLDS = {
    "genesis": Books._genesis,
    "party": Books._party,
    "programme": Books._programme,
    "fund": Books._fund,
    "donation": Books._donation,
    "disbursement": Books._disbursement,
    "transfer": Books._transfer,
    "refund": Books._refund,
    "return": Books._return,
    "goods_in": Books._goods,
    "goods_out": Books._goods,
    "report": Books._report,
    "evidence": Books._evidence,
}


def _check_earlier(size: int, target: int) -> None:
    if target >= size:
        detail = f"index {target} is not on the ledger yet; its size is {size}"
        _refuse("unknown_reference", "/target", detail)


def _check_supersedes(
    current: Registration | Fund | None, platform: str, statement: Statement
) -> None:
    """Only the registering platform replaces, and only what is current."""
    if current and current.platform != platform:
        detail = f"{statement['id']!r} was registered by {current.platform!r}, who may replace it"
        _refuse("forbidden", "/id", detail)
    if statement.get("supersedes") != (current.index if current else None):
        now = f"its current statement is {current.index}" if current else "it is not registered yet"
        _refuse("stale", "/supersedes", f"{statement['id']!r}: {now}")


def _check_right(platform: str, fund: Fund, fund_id: str) -> None:
    if platform not in fund.platforms:
        detail = f"{platform!r} is not among the platforms of the fund {fund_id!r}"
        _refuse("forbidden", "", detail)


def _check_open(fund: Fund, fund_id: str, pointer: str) -> None:
    if not fund.is_open:
        _refuse("fund_closed", pointer, f"the fund {fund_id!r} is closed")


def _check_cost_cap(fund: Fund, before: Position, changes: Mapping[str, int]) -> None:
    """10000 x costs <= cap x money given, this entry included; never asked of refunds."""
    if fund.cost_cap_bp is None:
        return

    def after(name: str) -> int:
        return before.count(name) + changes.get(name, 0)

    costs = after("platform_fees") - after("platform_fees_returned")
    costs += after("operational") - after("operational_returned")
    given = after("donated") - after("refunded")
    if BASIS_POINTS * costs > fund.cost_cap_bp * given:
        detail = f"costs may be {fund.cost_cap_bp} basis points of what was given and not refunded"
        _refuse("cost_cap_exceeded", "/amount", detail)


def _check_pieces(pieces: list[Span]) -> None:
    if len(pieces) > PIECES_MAX:
        detail = f"the money lies in more than {PIECES_MAX} pieces; split the statement"
        _refuse("too_fragmented", "/amount", detail)


def _net(amount: int, fees: Mapping[str, int]) -> int:
    net = amount - sum(fees.values())
    if net < 0:
        _refuse("fees_exceed_amount", "/fees", "the fees add up to more than the amount")
    return net


def _is_looser(old_bp: int | None, new_bp: int | None) -> bool:
    return old_bp is not None and (new_bp is None or new_bp > old_bp)


def _parse(amount: str, exponent: int, pointer: str) -> int:
    try:
        return parse_amount(amount, exponent)
    except AmountError as error:
        _refuse("invalid_amount", pointer, str(error))


def _unknown(what: str, name: str, pointer: str) -> NoReturn:
    _refuse("unknown_reference", pointer, f"no {what} {name!r} is registered")


def _refuse(code: str, pointer: str, detail: str) -> NoReturn:
    raise Refusal(code, f"{pointer}: {detail}" if pointer else detail, [Fault(pointer, detail)])
