"""The fold of entries into views. Pure: what stands already it asks of a `Base`.

Every figure is added up from published entries alone: their statements, and the spans of their
totals, which say whose money an outflow was. What each figure means: docs/views.md.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from itertools import chain
from typing import Any, NamedTuple

from ledger.money import parse_amount, parse_total
from ledger.views.line import Line
from ledger.views.records import (
    ACKNOWLEDGED,
    DONOR_KIND,
    DONOR_PARTY,
    FROM_FUND,
    RECIPIENT_GROUP,
    RECIPIENT_PARTY,
    SPENT,
    TO_FUND,
    UNSPENT,
    Base,
    Flow,
    Flows,
    Lot,
    Mark,
    Outflow,
    Pieces,
    Purse,
    Weights,
    hours,
    misfit,
)

Entry = Mapping[str, Any]
Other = tuple[str, str]  # the other end of a flow: what it is, and its id
UNSTATED = "unstated"  # a donor of whom nothing is said


class Fold:
    """The views after the first `size` entries: those of `base`, and what changed on top.

    start: how many entries `base` holds. It is a `Base` itself, for whoever reads the figures.
    """

    def __init__(self, base: Base, start: int) -> None:
        self.base = base
        self.start = self.size = start
        self.purses: dict[str, Purse] = {}  # but for their `last`
        self.last: dict[str, int] = {}
        self.outflows: dict[int, Outflow] = {}
        self.kinds: dict[str, str] = {}
        self.lines: dict[str, Line] = {}
        # Added to what is stored, so that it need not be read.
        self.more_flows: dict[str, Flows] = {}
        self.more_weights: dict[tuple[str, str], Weights] = {}
        self.more_came: dict[str, list[Mark]] = {}
        self.more_went: dict[str, list[Mark]] = {}
        self.more_returns: dict[int, list[int]] = {}
        self._currencies: Mapping[str, int] = {}

    # -- Base

    def currencies(self) -> Mapping[str, int]:
        if not self._currencies:
            self._currencies = self.base.currencies()
        return self._currencies

    def entry(self, index: int) -> Entry:
        return self.base.entry(index)

    def purse(self, fund_id: str) -> Purse | None:
        purse = self.purses.get(fund_id) or self.base.purse(fund_id)
        if purse is None or fund_id not in self.last:
            return purse
        return purse._replace(last=self.last[fund_id])

    def outflow(self, index: int) -> Outflow | None:
        return self.outflows.get(index) or self.base.outflow(index)

    def kind(self, party_id: str) -> str | None:
        return self.kinds.get(party_id) or self.base.kind(party_id)

    def members(self, kind: str, item_id: str) -> list[str]:
        found = {fund for fund in self.base.members(kind, item_id) if fund not in self.purses}
        found |= {f for f, purse in self.purses.items() if item_id in memberships(purse)[kind]}
        return sorted(found)

    def flows(self, fund_id: str) -> Flows:
        found = self.base.flows(fund_id)
        for other, more in self.more_flows.get(fund_id, {}).items():
            old = found.get(other, Flow(0, 0))
            found[other] = Flow(old.amount + more.amount, old.undone + more.undone)
        return found

    def weights(self, fund_id: str, figure: str) -> Weights:
        found = self.base.weights(fund_id, figure)
        for at, minor in self.more_weights.get((fund_id, figure), {}).items():
            found[at] = found.get(at, 0) + minor
        return {at: minor for at, minor in found.items() if minor}

    def lots(self, fund_id: str, start: int, end: int) -> Iterable[Lot]:
        return self._line(fund_id).sharing(start, end)

    def came(self, fund_id: str, start: int, end: int) -> Iterable[Mark]:
        more = self.more_came.get(fund_id, [])
        return chain(self.base.came(fund_id, start, end), sharing(more, start, end))

    def went(self, fund_id: str, start: int, end: int) -> Iterable[Mark]:
        more = self.more_went.get(fund_id, [])
        return merge(self.base.went(fund_id, start, end), sharing(more, start, end))

    def returns(self, disbursement: int) -> list[int]:
        return self.base.returns(disbursement) + self.more_returns.get(disbursement, [])

    # -- the fold

    def add(self, entry: Entry) -> None:
        """Fold the next entry, decoded; what it does not know it passes over."""
        statement = entry["statement"]
        if (fold := _FOLDS.get(statement["type"])) is not None:
            fold(self, entry, statement)
        for total in entry.get("totals", ()):
            self.last[total["fund"]] = entry["index"]
        self.size = entry["index"] + 1

    def _genesis(self, entry: Entry, statement: Entry) -> None:
        self._currencies = statement["currencies"]

    def _party(self, entry: Entry, statement: Entry) -> None:
        self.kinds[statement["id"]] = statement["kind"]

    def _fund(self, entry: Entry, statement: Entry) -> None:
        new = Purse(
            entry["index"],
            statement["currency"],
            statement["owner"],
            tuple(statement.get("programmes", ())),
        )
        old = self.purse(statement["id"])
        self.purses[statement["id"]] = new if old is None else old._replace(**_said(new))

    def _donation(self, entry: Entry, statement: Entry) -> None:
        (total,) = entry["totals"]
        given_at = hours(statement["occurred_at"])
        for start, end in self._spans(total):  # none when fees took all of it
            self._put(total["fund"], Mark(end, start, entry["index"]), [(given_at, end - start)])
        self._flow(total["fund"], donor_of(statement), self._amount(statement, total))

    def _disbursement(self, entry: Entry, statement: Entry) -> None:
        (total,) = entry["totals"]
        fund, amount = total["fund"], self._amount(statement, total)
        recipient, paid_at = recipient_of(statement), hours(statement["occurred_at"])
        pieces = self._take(entry, total)
        self._weigh(fund, SPENT, _waits(paid_at, pieces), 1)
        self._flow(fund, recipient, amount)
        self.outflows[entry["index"]] = Outflow(fund, recipient, amount, paid_at, pieces)

    def _transfer(self, entry: Entry, statement: Entry) -> None:
        gave, took = entry["totals"]
        self._pass_on(entry, took, self._take(entry, gave))
        amount = self._amount(statement, gave)
        self._flow(gave["fund"], (TO_FUND, took["fund"]), amount)
        self._flow(took["fund"], (FROM_FUND, gave["fund"]), amount)

    def _refund(self, entry: Entry, statement: Entry) -> None:
        (total,) = entry["totals"]
        self._take(entry, total)
        donor = donor_of(self.entry(statement["target"])["statement"])
        self._flow(total["fund"], donor, undone=self._amount(statement, total))

    def _return(self, entry: Entry, statement: Entry) -> None:
        if len(entry["totals"]) > 1:
            self._return_transfer(entry, statement)
        else:
            self._return_disbursement(entry, statement)

    def _return_transfer(self, entry: Entry, statement: Entry) -> None:
        took, gave = entry["totals"]
        self._pass_on(entry, gave, self._take(entry, took))
        amount = self._amount(statement, gave)
        self._flow(gave["fund"], (TO_FUND, took["fund"]), undone=amount)
        self._flow(took["fund"], (FROM_FUND, gave["fund"]), undone=amount)

    def _return_disbursement(self, entry: Entry, statement: Entry) -> None:
        (total,) = entry["totals"]
        old = self._outflow(statement["target"])
        amount = self._amount(statement, total)
        pieces = part(old.pieces, old.undone, amount)
        self._pass_on(entry, total, pieces)
        self.more_returns.setdefault(statement["target"], []).append(entry["index"])
        self._weigh(old.fund, SPENT, _waits(old.paid_at, pieces), -1)
        self._flow(old.fund, old.recipient, undone=amount)
        self._restate(statement["target"], old, old._replace(undone=old.undone + amount))

    def _acknowledgement(self, entry: Entry, statement: Entry) -> None:
        old = self.outflow(statement["target"])
        if old is None:
            return  # of a transfer, or of goods
        currency = self._purse(old.fund).currency
        partial = 0
        if "amount" in statement:
            partial = parse_amount(statement["amount"], self.currencies()[currency])
        new = old._replace(
            status=statement["status"],
            acknowledged_at=hours(statement["occurred_at"]),
            partial=partial,
        )
        self._restate(statement["target"], old, new)

    # -- what several folds share

    def _restate(self, index: int, old: Outflow, new: Outflow) -> None:
        """Put `new` in the place of `old`, also in what its fund says of acknowledgements."""
        purse = self._purse(old.fund)
        for outflow, sign in ((old, -1), (new, 1)):
            said = said_of(outflow)
            purse = purse._replace(
                acknowledged=purse.acknowledged + sign * said.acknowledged,
                not_received=purse.not_received + sign * said.not_received,
                disputed=purse.disputed + sign * said.disputed,
            )
            if said.acknowledged:
                wait = outflow.acknowledged_at - outflow.paid_at
                self._weigh(old.fund, ACKNOWLEDGED, [(wait, said.acknowledged)], sign)
        self.purses[old.fund] = purse
        self.outflows[index] = new

    def _pass_on(self, entry: Entry, total: Entry, pieces: Pieces) -> None:
        """Put money that was given earlier on the one span of a fund's totals."""
        ((start, end),) = self._spans(total)
        self._put(total["fund"], Mark(end, start, entry["index"]), pieces)

    def _put(self, fund_id: str, mark: Mark, pieces: Pieces) -> None:
        self._weigh(fund_id, UNSPENT, pieces, 1)
        self._line(fund_id).put(mark.start, pieces)
        self.more_came.setdefault(fund_id, []).append(mark)

    def _take(self, entry: Entry, total: Entry) -> Pieces:
        """Take the spans of a fund's totals off its line."""
        fund = total["fund"]
        line = self._line(fund)
        pieces: Pieces = []
        for start, end in self._spans(total):
            pieces += line.take(start, end)
            insort(self.more_went.setdefault(fund, []), Mark(end, start, entry["index"]))
        pieces = joined(pieces)
        self._weigh(fund, UNSPENT, pieces, -1)
        return pieces

    def _line(self, fund_id: str) -> Line:
        if fund_id not in self.lines:
            # Of the base as it is when it is asked: each reader has a connection of its own.
            self.lines[fund_id] = Line(lambda start, end: self.base.lots(fund_id, start, end))
        return self.lines[fund_id]

    def _weigh(self, fund_id: str, figure: str, pieces: Pieces, sign: int) -> None:
        weights = self.more_weights.setdefault((fund_id, figure), {})
        for at, minor in pieces:
            weights[at] = weights.get(at, 0) + sign * minor

    def _flow(self, fund_id: str, other: Other, amount: int = 0, undone: int = 0) -> None:
        flows = self.more_flows.setdefault(fund_id, {})
        old = flows.get(other, Flow(0, 0))
        flows[other] = Flow(old.amount + amount, old.undone + undone)

    def _purse(self, fund_id: str) -> Purse:
        return self.purse(fund_id) or misfit(f"there is no fund {fund_id!r}")

    def _outflow(self, index: int) -> Outflow:
        return self.outflow(index) or misfit(f"there is no disbursement {index}")

    def _amount(self, statement: Entry, total: Entry) -> int:
        return parse_amount(statement["amount"], self.currencies()[total["currency"]])

    def _spans(self, total: Entry) -> list[tuple[int, int]]:
        exponent = self.currencies()[total["currency"]]
        return [(parse_total(a, exponent), parse_total(b, exponent)) for a, b in total["spans"]]


_FOLDS: dict[str, Callable[[Fold, Entry, Entry], None]] = {
    "genesis": Fold._genesis,
    "party": Fold._party,
    "fund": Fold._fund,
    "donation": Fold._donation,
    "disbursement": Fold._disbursement,
    "transfer": Fold._transfer,
    "refund": Fold._refund,
    "return": Fold._return,
    "acknowledgement": Fold._acknowledgement,
}


def sharing(marks: list[Mark], start: int, end: int) -> Iterator[Mark]:
    """Those of ascending `marks` that share a position with `[start, end)`."""
    for i in range(bisect_right(marks, start, key=lambda mark: mark.end), len(marks)):
        if marks[i].start >= end:
            return
        yield marks[i]


def memberships(purse: Purse) -> dict[str, tuple[str, ...]]:
    """kind of what funds are listed by -> ids that list this one."""
    return {"programme": purse.programmes, "owner": (purse.owner,)}


def _said(purse: Purse) -> dict[str, Any]:
    """The fields of a purse that its fund's statement says."""
    return {name: getattr(purse, name) for name in ("stated_at", "currency", "owner", "programmes")}


def donor_of(donation: Entry) -> Other:
    donor = donation.get("donor", {})
    if "party" in donor:
        return DONOR_PARTY, donor["party"]
    return DONOR_KIND, donor.get("kind", UNSTATED)


def recipient_of(disbursement: Entry) -> Other:
    """Groups of people are one: their description names nobody."""
    recipient = disbursement["recipient"]
    return (RECIPIENT_PARTY, recipient["party"]) if "party" in recipient else (RECIPIENT_GROUP, "")


class Said(NamedTuple):
    """How much of a disbursement is acknowledged, not received, and disputed."""

    acknowledged: int = 0
    not_received: int = 0
    disputed: int = 0


def said_of(outflow: Outflow) -> Said:
    left = outflow.amount - outflow.undone
    match outflow.status:
        case "received":
            return Said(acknowledged=left)
        case "partial":
            return Said(acknowledged=min(outflow.partial, left))
        case "not_received":
            return Said(not_received=left)
        case "disputed":
            return Said(disputed=left)
    return Said()


def part(pieces: Pieces, start: int, length: int) -> Pieces:
    """What of `pieces`, one behind another, lies in `[start, start + length)`."""
    found, at, end = [], 0, start + length
    for given_at, minor in pieces:
        low, high = max(start, at), min(end, at + minor)
        if low < high:
            found.append((given_at, high - low))
        at += minor
    return found


def joined(pieces: Pieces) -> Pieces:
    """The same with neighbours that were given at one time made one."""
    found: Pieces = []
    for given_at, minor in pieces:
        if found and found[-1][0] == given_at:
            found[-1] = (given_at, found[-1][1] + minor)
        else:
            found.append((given_at, minor))
    return found


def _waits(until: int, pieces: Pieces) -> Pieces:
    return [(until - given_at, minor) for given_at, minor in pieces]
