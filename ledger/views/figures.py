"""The figures of the views, one pure function each: docs/views.md defines them in words.

Sums are integers of minor units. A share is in basis points, rounded so that it never flatters
who is held to account: costs and disputes up, what was acknowledged down. Nothing is a float.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ledger.state import Position
from ledger.views.records import (
    DONOR_KIND,
    DONOR_PARTY,
    FROM_FUND,
    HOURS_PER_DAY,
    TO_FUND,
    Flow,
    Flows,
    Weights,
)

BASIS_POINTS = 10_000
# Ages of unspent money are told apart at these days.
AGE_DAYS = (30, 90, 180, 365)


class Share(NamedTuple):
    """part of whole, in minor units; basis_points is None where there is no whole."""

    part: int
    whole: int
    basis_points: int | None


class Median(NamedTuple):
    """hours: None where there is nothing to wait for; of: minor units it is over."""

    hours: int | None
    of: int


class Money(NamedTuple):
    """What funds of one currency received and what became of it, each less what came back.

    given: donations, fees included. moved_in, moved_out: transfers from and to other funds than
    these. moved_within: transfers between these, in neither of the two. disbursed, operational:
    to recipients. given + moved_in = moved_out + fees + disbursed + operational + balance.
    """

    given: int
    moved_in: int
    moved_out: int
    moved_within: int
    platform_fees: int
    payment_fees: int
    disbursed: int
    operational: int
    balance: int


def share_down(part: int, whole: int) -> Share:
    """Rounded down to a basis point."""
    return Share(part, whole, BASIS_POINTS * part // whole if whole else None)


def share_up(part: int, whole: int) -> Share:
    """Rounded up to a basis point: at most n exactly when the share itself is."""
    return Share(part, whole, -(-BASIS_POINTS * part // whole) if whole else None)


def money(funds: Mapping[str, tuple[Position, Flows]]) -> Money:
    """What `funds`, by their ids and all of one currency, received and what became of it."""
    position = summed(position for position, _ in funds.values())
    net = position.net
    out = net("transferred_out", "transferred_out_returned")
    within = sum(
        flow.net
        for _, flows in funds.values()
        for (kind, other), flow in flows.items()
        if kind == TO_FUND and other in funds
    )
    return Money(
        given=net("donated", "refunded"),
        moved_in=net("transferred_in", "transferred_in_returned") - within,
        moved_out=out - within,
        moved_within=within,
        platform_fees=net("platform_fees", "platform_fees_returned"),
        payment_fees=net("payment_fees", "payment_fees_returned"),
        disbursed=net("disbursed") - net("returned", "operational_returned"),
        operational=net("operational", "operational_returned"),
        balance=position.balance,
    )


class Sum(NamedTuple):
    """Positions added up."""

    counters: Mapping[str, int]
    balance: int

    def net(self, name: str, undone: str = "") -> int:
        return self.counters.get(name, 0) - self.counters.get(undone, 0)


def summed(positions: Iterable[Position]) -> Sum:
    counters: dict[str, int] = {}
    balance = 0
    for position in positions:
        balance += position.balance
        for name, minor in position.counters.items():
            counters[name] = counters.get(name, 0) + minor
    return Sum(counters, balance)


def cost_share(total: Money) -> Share:
    """Platform fees and operational disbursements, of donations: what a cost cap is held to."""
    return share_up(total.platform_fees + total.operational, total.given)


def acknowledged_share(acknowledged: int, total: Money) -> Share:
    return share_down(acknowledged, total.disbursed + total.operational)


def disputed_share(disputed: int, total: Money) -> Share:
    """Also for what was not received."""
    return share_up(disputed, total.disbursed + total.operational)


def median(weights: Weights) -> Median:
    """The least wait within which half of the money, or more, had waited."""
    total = sum(weights.values())
    run = 0
    for at in sorted(weights):
        run += weights[at]
        if 2 * run >= total:
            return Median(at, total)
    return Median(None, 0)


def merged(many: Iterable[Weights]) -> Weights:
    """Weights of several funds as those of one."""
    found: Weights = {}
    for weights in many:
        for at, minor in weights.items():
            found[at] = found.get(at, 0) + minor
    return found


def ages(unspent: Weights, now: int) -> Weights:
    """How long what is unspent has been there, from when it was given to `now`."""
    return {now - given_at: minor for given_at, minor in unspent.items()}


def by_age(waits: Weights) -> list[int]:
    """How much waits less than each of AGE_DAYS, and not less than the one before; and the rest."""
    found = [0] * (len(AGE_DAYS) + 1)
    for wait, minor in waits.items():
        found[sum(wait >= days * HOURS_PER_DAY for days in AGE_DAYS)] += minor
    return found


def inflow_by_kind(
    flows: Iterable[Flows], within: Collection[str], kinds: Mapping[tuple[str, str], str]
) -> list[tuple[str, Share]]:
    """Kind of giver -> its share of what came in, the largest first.

    within: funds whose transfers are no inflow. kinds: what organisation stands behind a donor
    party or a giving fund.
    """
    found: dict[str, int] = {}
    for (kind, other), flow in _inflows(flows, within):
        name = other if kind == DONOR_KIND else kinds[kind, other]
        found[name] = found.get(name, 0) + flow.net
    whole = sum(found.values())
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [(name, share_down(minor, whole)) for name, minor in ranked if minor]


def _inflows(
    flows: Iterable[Flows], within: Collection[str]
) -> Iterable[tuple[tuple[str, str], Flow]]:
    for of_fund in flows:
        for (kind, other), flow in of_fund.items():
            if kind in (DONOR_KIND, DONOR_PARTY) or (kind == FROM_FUND and other not in within):
                yield (kind, other), flow


class Edge(NamedTuple):
    """Money from one organisation to another: how, in what currency, minor units."""

    source: tuple[str, str]
    target: tuple[str, str]
    how: str
    currency: str
    net: int


def edges(
    flows: Mapping[str, Flows], owners: Mapping[str, str], currencies: Mapping[str, str]
) -> list[Edge]:
    """What went between organisations through the funds of `flows`, the largest first.

    owners, currencies: of these funds; owners also of those at the other ends. By currency. A
    transfer between two of the funds is one edge, though both of them tell of it.
    """
    found: dict[tuple[tuple[str, str], tuple[str, str], str, str], int] = {}
    for fund, of_fund in flows.items():
        for (kind, other), flow in of_fund.items():
            if kind == FROM_FUND and other in flows:
                continue
            key = (*_ends(fund, kind, other, owners), currencies[fund])
            found[key] = found.get(key, 0) + flow.net
    all_edges = (Edge(*key, net) for key, net in found.items() if net)
    return sorted(all_edges, key=lambda edge: (edge.currency, -edge.net, *edge[:3]))


def _ends(
    fund: str, kind: str, other: str, owners: Mapping[str, str]
) -> tuple[tuple[str, str], tuple[str, str], str]:
    """Who gave, who took, and how."""
    owner = ("party", owners[fund])
    if kind in (DONOR_KIND, DONOR_PARTY):
        return ("party" if kind == DONOR_PARTY else "donors", other), owner, "donation"
    if kind == FROM_FUND:
        return ("party", owners[other]), owner, "transfer"
    if kind == TO_FUND:
        return owner, ("party", owners[other]), "transfer"
    return owner, ("party", other) if other else ("groups", "all"), "disbursement"
