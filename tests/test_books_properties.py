"""Laws of the books that no sequence of statements can break, checked on what entries say.

The model knows nothing of cursors and holes: money is single minor units on a line, each of
them free or taken. Amounts are small, so that everything meets everything else.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from ledger.audit import audit
from ledger.books import Books
from ledger.entry import canonical
from ledger.errors import Refusal
from ledger.goods import divided
from ledger.money import format_amount, parse_total
from ledger.state import COUNTERS, EmptyState
from schemas.check import check_statement
from tests.independent.fold import Fold
from tests.independent.generator import CURRENCIES as GENERATED
from tests.independent.generator import generate
from tests.simulator import Log, new_log
from tests.support import (
    ORIGIN,
    PLATFORM,
    Statement,
    disbursement,
    donation,
    fund,
    party,
    refund,
    returned,
    transfer,
)

CURRENCIES = {"IDR": 2, "JPY": 0, "KWD": 3}
Span = tuple[int, int]
Total = dict[str, Any]


def admit(books: Books, index: int, platform: str, statement: Statement) -> list[Total] | str:
    """The totals, or the code of the refusal."""
    try:
        check_statement(statement, len(canonical(statement)), books.currencies)
        return books.post(index, platform, statement)
    except Refusal as refusal:
        return refusal.code


def contents(books: Books) -> Any:
    """All that books hold of their own, copied as deep as anything could be changed."""
    positions = {fund: (p, dict(p.counters)) for fund, p in books.positions.items()}
    holes = {fund: list(spans) for fund, spans in books.new_holes.items()}
    registered = dict(books.parties), dict(books.programmes), dict(books.funds)
    return registered, positions, dict(books.movements), holes, dict(books.stocks)


class Line:
    """The inflow line of one fund, minor unit by minor unit."""

    def __init__(self) -> None:
        self.end = 0
        self.taken: set[int] = set()
        self.last: Total | None = None
        self.last_index: int | None = None

    def free(self, start: int, end: int) -> list[int]:
        return [unit for unit in range(start, end) if unit not in self.taken]


def units(spans: list[Span]) -> list[int]:
    return [unit for low, high in spans for unit in range(low, high)]


class Laws:
    """Every law about one entry after another; `check` fails at the first that is broken."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.gifts: dict[int, Span] = {}  # donation -> its own span
        self.shares: dict[int, Span] = {}  # transfer -> its span in the receiving fund

    def check(self, index: int, statement: Statement, totals: list[Total]) -> None:
        kind = statement["type"]
        for total in totals:
            self._check_position(index, total)
        if kind == "donation":
            self.gifts[index] = self._flows_in(totals[0])
        elif kind == "disbursement":
            self._flows_out(totals[0])
        elif kind == "transfer":
            gave = self._flows_out(totals[0])
            self.shares[index] = self._flows_in(totals[1])
            assert len(gave) == self.shares[index][1] - self.shares[index][0]
        elif kind == "refund":
            self._refunded(totals[0], self.gifts[statement["target"]])
        elif statement["target"] in self.shares:
            self._flows_out(totals[0], *self.shares[statement["target"]])
            self._flows_in(totals[1])
        elif kind == "return":
            self._flows_in(totals[0])
        else:
            raise AssertionError(f"{kind} moves money")
        for total in totals:
            line = self._line(total)
            unspent = len(line.free(0, line.end))
            assert self._minor(total, total["balance"]) == unspent
            assert len(line.taken) + unspent == line.end

    def _line(self, total: Total) -> Line:
        return self.lines.setdefault(total["fund"], Line())

    @staticmethod
    def _minor(total: Total, text: str) -> int:
        return parse_total(text, CURRENCIES[total["currency"]])

    def _spans(self, total: Total) -> list[Span]:
        spans = [tuple(self._minor(total, end) for end in span) for span in total["spans"]]
        return [(low, high) for low, high in spans]

    def _check_position(self, index: int, total: Total) -> None:
        """A chain of positions for each fund, whose counters only ever grow."""
        line = self._line(total)
        before = line.last or {"n": 0}
        assert total["n"] == before["n"] + 1
        assert total.get("prev") == line.last_index
        balance = 0
        for name, sign in COUNTERS.items():
            now = self._minor(total, total[name]) if name in total else 0
            then = self._minor(total, before[name]) if name in before else 0
            assert now >= then
            assert now > 0 or name not in total
            balance += sign * now
        assert self._minor(total, total["balance"]) == balance >= 0
        line.last, line.last_index = total, index

    def _flows_in(self, total: Total) -> Span:
        """An inflow takes the next piece of the line, without gap or overlap."""
        line, spans = self._line(total), self._spans(total)
        if not spans:  # a donation that fees took whole
            return line.end, line.end
        ((low, high),) = spans
        assert low == line.end < high
        line.end = high
        return low, high

    def _flows_out(self, total: Total, start: int = 0, end: int | None = None) -> list[int]:
        """An outflow takes the lowest units that are free, from `start` to `end`."""
        line, spans = self._line(total), self._spans(total)
        gone = units(spans)
        assert gone == line.free(start, line.end if end is None else end)[: len(gone)]
        self._take(line, spans)
        return gone

    def _refunded(self, total: Total, own: Span) -> None:
        """A refund takes what is free of the donation's own span first, then the lowest."""
        line, spans = self._line(total), self._spans(total)
        gone = units(spans)
        first = line.free(*own)[: len(gone)]
        rest = [unit for unit in line.free(0, line.end) if not own[0] <= unit < own[1]]
        assert gone == sorted(first + rest[: len(gone) - len(first)])
        self._take(line, spans)

    def _take(self, line: Line, spans: list[Span]) -> None:
        ends = [end for span in spans for end in span]
        assert ends == sorted(set(ends))  # ascending, not empty, and no two pieces touch
        assert line.taken.isdisjoint(units(spans))
        line.taken.update(units(spans))


# -- whatever order they come in

MINOR = st.integers(1, 40)
FEE = st.just(0) | st.integers(0, 6)
FUND = st.sampled_from(("air", "desa", "laut", "yen"))
EXPONENTS = {"air": 2, "desa": 2, "laut": 2, "yen": 0}
CAPS = {"desa": 3000, "laut": 1000}


class AnyOrder(RuleBasedStateMachine):
    """Statements in any order: the books, in three ways, the laws, a stranger and the audit."""

    gifts = Bundle("gifts")
    outflows = Bundle("outflows")

    def __init__(self) -> None:
        super().__init__()
        self.plain = Books(EmptyState(), CURRENCIES)
        self.base = Books(EmptyState(), CURRENCIES)  # what a writer has committed
        self.group = Books(self.base, CURRENCIES)  # what it is about to commit
        self.stranger = Fold(CURRENCIES, parties=set())
        self.stranger.size = 1
        self.log: Log = new_log(ORIGIN)
        self.laws = Laws()
        self.size = 1
        self.current: dict[str, int] = {}

    @initialize(target=gifts)
    def open(self) -> Any:
        """Every fund begins with a gift, or most of what follows would be refused."""
        assert self.post(party(PLATFORM)) is not None
        gifts = []
        for fund_id in EXPONENTS:
            assert self.post(self.fund(fund_id)) is not None
            gifts.append((self.post(donation(fund_id, **self.money(fund_id, 60))), fund_id))
        return multiple(*gifts)

    def fund(self, fund_id: str, **more: Any) -> Statement:
        cap = CAPS.get(fund_id)
        statement = fund(fund_id, currency="JPY" if fund_id == "yen" else "IDR")
        statement |= {"policy": {} if cap is None else {"cost_cap_bp": cap}}
        if fund_id in self.current:
            statement |= {"supersedes": self.current[fund_id]}
        return statement | {"ref": f"fund-{self.size}"} | more

    def money(self, fund_id: str, minor: int) -> Statement:
        """The amount in the fund's currency, and a ref of its own."""
        exponent = EXPONENTS[fund_id]
        currency = "IDR" if exponent else "JPY"
        amount = format_amount(minor, exponent)
        return {"amount": amount, "currency": currency, "ref": f"money-{self.size}"}

    def fees(self, fund_id: str, **kinds: int) -> Statement:
        fees = [
            {"kind": kind, "amount": format_amount(minor, EXPONENTS[fund_id])}
            for kind, minor in kinds.items()
            if minor
        ]
        return {"fees": fees} if fees else {}

    def post(self, statement: Statement) -> int | None:
        """Post it everywhere; its index, or None when it was refused, everywhere alike."""
        index = self.size
        before = contents(self.plain), contents(self.base), contents(self.group)
        answer = admit(self.plain, index, PLATFORM, statement)
        layer = Books(self.group, CURRENCIES)
        assert admit(layer, index, PLATFORM, statement) == answer
        assert self.stranger.post(PLATFORM, statement) == answer
        assert contents(self.base) == before[1]  # a layer changes nothing below it
        assert contents(self.group) == before[2]
        event(f"{statement['type']}: {answer if isinstance(answer, str) else 'taken'}")
        if isinstance(answer, str):
            assert contents(self.plain) == before[0]
            return None
        self.group.absorb(layer)
        self.size += 1
        if statement["type"] == "fund":
            self.current[statement["id"]] = index
        if answer:
            self.laws.check(index, statement, answer)
        self.log.append(PLATFORM, statement, **({"totals": answer} if answer else {})).publish()
        return index

    @rule(target=gifts, fund_id=FUND, minor=MINOR, platform=FEE, payment=FEE)
    def donate(self, fund_id: str, minor: int, platform: int, payment: int) -> Any:
        fees = self.fees(fund_id, platform=platform, payment=payment)
        index = self.post(donation(fund_id, **self.money(fund_id, minor), **fees))
        return multiple() if index is None else (index, fund_id)

    @rule(target=gifts, fund_id=FUND, minor=MINOR)
    def donate_without_fees(self, fund_id: str, minor: int) -> Any:
        return self.donate(fund_id, minor, 0, 0)

    @rule(target=outflows, fund_id=FUND, minor=MINOR, operational=st.booleans())
    def disburse(self, fund_id: str, minor: int, operational: bool) -> Any:
        category = "operational" if operational else "programme"
        paid = disbursement(fund_id, **self.money(fund_id, minor), category=category)
        index = self.post(paid)
        return multiple() if index is None else (index, fund_id)

    @rule(target=outflows, giver=st.sampled_from(("air", "desa")), taker=FUND, minor=MINOR)
    def share(self, giver: str, taker: str, minor: int) -> Any:
        index = self.post(transfer(giver, taker, **self.money(giver, minor)))
        return multiple() if index is None else (index, giver)

    @rule(gift=gifts, minor=MINOR, platform=FEE, payment=FEE)
    def give_back(self, gift: tuple[int, str], minor: int, platform: int, payment: int) -> None:
        target, fund_id = gift
        money = self.money(fund_id, minor)
        del money["currency"]
        fees = self.fees(fund_id, platform=platform, payment=payment)
        self.post(refund(target, **money, **fees))

    @rule(outflow=outflows, minor=MINOR)
    def come_back(self, outflow: tuple[int, str], minor: int) -> None:
        target, fund_id = outflow
        money = self.money(fund_id, minor)
        del money["currency"]
        self.post(returned(target, **money))

    @rule(fund_id=FUND, status=st.sampled_from(("open", "open", "open", "closed")))
    def change(self, fund_id: str, status: str) -> None:
        self.post(self.fund(fund_id, status=status))

    @rule()
    def commit(self) -> None:
        """The writer commits what it has gathered and begins anew."""
        self.base.absorb(self.group)
        self.group = Books(self.base, CURRENCIES)
        assert contents(self.base) == contents(self.plain)

    @invariant()
    def sound(self) -> None:
        report = audit(self.log, self.log.policy)
        assert report.is_sound
        assert report.checkpoint.size == self.size

    def teardown(self) -> None:
        self.commit()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


# -- whatever the generator comes up with, in amounts of every size


def disjoint(spans: list[Span]) -> bool:
    ends = [end for span in sorted(spans) for end in span]
    return ends == sorted(ends)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_generated_statements_keep_every_line_whole(seed: int) -> None:
    plain = Books(EmptyState(), GENERATED)
    base = Books(EmptyState(), GENERATED)
    inflows: dict[str, list[Span]] = {}
    consumed: dict[str, list[Span]] = {}
    balances: dict[str, int] = {}
    size, refused = 1, 0
    for platform, statement in generate(seed, 3_000):
        layer = Books(base, GENERATED)
        answer = admit(layer, size, platform, statement)
        if isinstance(answer, str):
            before = contents(plain)
            assert admit(plain, size, platform, statement) == answer
            assert contents(plain) == before
            refused += 1
            continue
        assert admit(plain, size, platform, statement) == answer
        base.absorb(layer)
        totals, _ = divided(statement["type"], answer)
        for number, total in enumerate(totals):
            exponent = GENERATED[total["currency"]]
            spans = [
                (parse_total(a, exponent), parse_total(b, exponent)) for a, b in total["spans"]
            ]
            flows_in = statement["type"] == "donation" or number == 1
            if statement["type"] == "return":
                flows_in = number == len(answer) - 1
            side = inflows if flows_in else consumed
            side.setdefault(total["fund"], []).extend(spans)
            balances[total["fund"]] = parse_total(total["balance"], exponent)
        size += 1
    assert contents(base) == contents(plain)
    assert refused > 100
    assert len(balances) > 10
    for fund_id, spans in inflows.items():
        taken = consumed.get(fund_id, [])
        assert [low for low, _ in spans] == [0, *(high for _, high in spans[:-1])]
        assert disjoint(taken)
        line_end = spans[-1][1]
        assert all(high <= line_end for _, high in taken)
        assert sum(high - low for low, high in taken) + balances[fund_id] == line_end
