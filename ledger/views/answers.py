"""Figures as the API answers them: JSON objects with decimal strings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from ledger.money import format_amount, parse_total
from ledger.state import COUNTERS, Position
from ledger.views import figures
from ledger.views.fold import Fold
from ledger.views.records import (
    ACKNOWLEDGED,
    DONOR_PARTY,
    FROM_FUND,
    SPENT,
    TO_FUND,
    UNSPENT,
    Flows,
    Purse,
    hours,
    misfit,
)
from ledger.views.trace import Step, trace

Json = dict[str, Any]


class Seen(NamedTuple):
    """A fund as the views see it. cap: its cost cap in basis points."""

    purse: Purse
    position: Position
    flows: Flows
    cap: int | None


class Reading:
    """The figures of one fold. time: when its last entry was recorded."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self.size = fold.size
        self.time: str = fold.entry(fold.size - 1)["recorded_at"]

    def as_of(self) -> Json:
        """Up to which entry the log was added up."""
        return {"index": self.size - 1, "size": self.size, "recorded_at": self.time}

    def of_fund(self, fund_id: str) -> Json | None:
        """The figures of one fund; None while the views do not reach its first statement."""
        found = self._by_currency([fund_id])
        return self._figures(*found.popitem()) if found else None

    def of_members(self, kind: str, item_id: str) -> list[Json]:
        """The figures of all funds of a `programme` or an `owner`, for each currency."""
        funds = self._by_currency(self._fold.members(kind, item_id))
        return [self._figures(currency, seen) for currency, seen in sorted(funds.items())]

    def graph(self, programme_id: str, limit: int) -> Json:
        """The organisations of a programme and the money between them, `limit` edges at most."""
        members = self._fold.members("programme", programme_id)
        flows = {fund: self._fold.flows(fund) for fund in members}
        ends = {o for of_fund in flows.values() for k, o in of_fund if k in (FROM_FUND, TO_FUND)}
        purses = {fund: self._purse(fund) for fund in {*members, *ends}}
        owners = {fund: purse.owner for fund, purse in purses.items()}
        currencies = {fund: purse.currency for fund, purse in purses.items()}
        edges = figures.edges(flows, owners, currencies)
        shown = edges[:limit]
        nodes = sorted({end for edge in shown for end in (edge.source, edge.target)})
        return {
            "nodes": [self._node(*node) for node in nodes],
            "edges": [self._edge(edge) for edge in shown],
            "edges_total": len(edges),
        }

    def trace(self, index: int, after: str, limit: int) -> Json | None:
        """The money of an entry from `after` on, in `limit` steps; None when it moved none.

        after: a decimal string. Raises AmountError.
        """
        totals = self._fold.entry(index).get("totals")
        if not totals:
            return None
        exponent = self._exponent(totals[0]["currency"])
        start = parse_total(after, exponent) if after else 0
        found = trace(self._fold, index, start, limit)
        return {
            "index": index,
            "question": found.question,
            "currency": totals[0]["currency"],
            "amount": format_amount(found.minor, exponent),
            "steps": [_step(step, exponent) for step in found.steps],
            "next": None if found.follow is None else format_amount(found.follow, exponent),
        }

    # -- what the log says of funds

    def _by_currency(self, fund_ids: Iterable[str]) -> dict[str, dict[str, Seen]]:
        found: dict[str, dict[str, Seen]] = {}
        for fund_id in fund_ids:
            if (seen := self._seen(fund_id)) is not None:
                found.setdefault(seen.purse.currency, {})[fund_id] = seen
        return found

    def _seen(self, fund_id: str) -> Seen | None:
        purse = self._fold.purse(fund_id)
        if purse is None:
            return None
        cap = self._fold.entry(purse.stated_at)["statement"]["policy"].get("cost_cap_bp")
        return Seen(purse, self._position(fund_id, purse), self._fold.flows(fund_id), cap)

    def _position(self, fund_id: str, purse: Purse) -> Position:
        if purse.last is None:
            return Position()
        totals = self._fold.entry(purse.last)["totals"]
        total = next(total for total in totals if total["fund"] == fund_id)
        exponent = self._exponent(purse.currency)
        counters = {name: parse_total(total[name], exponent) for name in COUNTERS if name in total}
        return Position.stored(total["n"], purse.last, 0, counters)

    def _purse(self, fund_id: str) -> Purse:
        return self._fold.purse(fund_id) or misfit(f"there is no fund {fund_id!r}")

    def _kind(self, party_id: str) -> str:
        return self._fold.kind(party_id) or misfit(f"there is no party {party_id!r}")

    def _exponent(self, currency: str) -> int:
        return self._fold.currencies()[currency]

    def _givers(self, flows: Iterable[Flows]) -> dict[tuple[str, str], str]:
        """What kind of organisation stands behind the other end of each inflow that has one."""
        ends = {end for of_fund in flows for end in of_fund}
        parties = {(kind, party): party for kind, party in ends if kind == DONOR_PARTY}
        parties |= {(kind, f): self._purse(f).owner for kind, f in ends if kind == FROM_FUND}
        return {end: self._kind(party) for end, party in parties.items()}

    # -- as JSON

    def _figures(self, currency: str, funds: Mapping[str, Seen]) -> Json:
        """The figures of funds of one currency, taken together."""
        total = figures.money({fund: (s.position, s.flows) for fund, s in funds.items()})
        purses = [s.purse for s in funds.values()]
        flows = [s.flows for s in funds.values()]
        exponent = self._exponent(currency)
        inflow = figures.inflow_by_kind(flows, funds, self._givers(flows))
        said = {
            "cost": figures.cost_share(total),
            "acknowledged": figures.acknowledged_share(sum(p.acknowledged for p in purses), total),
            "not_received": figures.disputed_share(sum(p.not_received for p in purses), total),
            "disputed": figures.disputed_share(sum(p.disputed for p in purses), total),
        }
        return {
            "currency": currency,
            "money": {n: format_amount(v, exponent) for n, v in total._asdict().items()},
            **{name: _share(share, exponent) for name, share in said.items()},
            "hours_to_disbursement": self._median(funds, SPENT, exponent),
            "hours_to_acknowledgement": self._median(funds, ACKNOWLEDGED, exponent),
            "unspent": self._unspent(funds, exponent),
            "inflow": [{"kind": kind, **_share(share, exponent)} for kind, share in inflow],
            "funds": [_proof(fund, seen) for fund, seen in funds.items()],
        }

    def _weights(self, funds: Iterable[str], figure: str) -> dict[int, int]:
        return figures.merged(self._fold.weights(fund, figure) for fund in funds)

    def _median(self, funds: Iterable[str], figure: str, exponent: int) -> Json:
        return _median(figures.median(self._weights(funds, figure)), exponent)

    def _unspent(self, funds: Iterable[str], exponent: int) -> Json:
        ages = figures.ages(self._weights(funds, UNSPENT), hours(self.time))
        amounts = [format_amount(minor, exponent) for minor in figures.by_age(ages)]
        bounds: list[tuple[int, int | None]] = [*pairwise((0, *figures.AGE_DAYS))]
        bounds.append((figures.AGE_DAYS[-1], None))
        return {
            "age_hours": _median(figures.median(ages), exponent),
            "by_age": [
                {"from_days": low, "to_days": high, "amount": amount}
                for (low, high), amount in zip(bounds, amounts, strict=True)
            ],
        }

    def _node(self, what: str, name: str) -> Json:
        kind = self._kind(name) if what == "party" else what
        return {"id": f"{what}/{name}", "kind": kind}

    def _edge(self, edge: figures.Edge) -> Json:
        return {
            "source": "/".join(edge.source),
            "target": "/".join(edge.target),
            "how": edge.how,
            "currency": edge.currency,
            "amount": format_amount(edge.net, self._exponent(edge.currency)),
        }


def _step(step: Step, exponent: int) -> Json:
    return {
        "amount": format_amount(step.minor, exponent),
        "ended": step.ended,
        "fund": step.fund,
        "entry": step.entry,
        "path": list(step.path),
    }


def _share(share: figures.Share, exponent: int) -> Json:
    part, whole = (format_amount(minor, exponent) for minor in share[:2])
    return {"amount": part, "of": whole, "share_bp": share.basis_points}


def _median(median: figures.Median, exponent: int) -> Json:
    hours = None if median.hours is None else str(median.hours)
    return {"median": hours, "over": format_amount(median.of, exponent)}


def _proof(fund_id: str, seen: Seen) -> Json:
    """The entries that hold what was added up of a fund, and its own cost share and cap."""
    total = figures.money({fund_id: (seen.position, seen.flows)})
    return {
        "fund": fund_id,
        "owner": seen.purse.owner,
        "index": seen.purse.stated_at,
        "totals_index": seen.purse.last,
        "cost_share_bp": figures.cost_share(total).basis_points,
        "cost_cap_bp": seen.cap,
    }
