"""Each figure by itself, at its edges: ties, nothing at all, and money that came back twice."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.books import Books
from ledger.errors import FormatError
from ledger.state import EmptyState
from ledger.views import figures
from ledger.views.figures import Median, Share
from ledger.views.fold import joined, part
from ledger.views.line import Line
from ledger.views.records import (
    DONOR_KIND,
    DONOR_PARTY,
    FROM_FUND,
    RECIPIENT_GROUP,
    RECIPIENT_PARTY,
    TO_FUND,
    Flow,
    Lot,
    hours,
)
from tests.independent.generator import CURRENCIES
from tests.support import disbursement, donation, fund, party, returned
from tests.view_logs import Kept

Entry = dict[str, Any]


@pytest.mark.parametrize(
    ("weights", "median"),
    [
        ({}, Median(None, 0)),
        ({5: 1}, Median(5, 1)),
        ({5: 1, 9: 1}, Median(5, 2)),  # half is enough
        ({5: 1, 9: 2}, Median(9, 3)),
        ({9: 50, -3: 51}, Median(-3, 101)),
        ({0: 10**18 - 1, 1: 10**18}, Median(1, 2 * 10**18 - 1)),  # a float would not tell
    ],
)
def test_median(weights: dict[int, int], median: Median) -> None:
    assert figures.median(weights) == median


@pytest.mark.parametrize(
    ("part_", "whole", "down", "up"),
    [
        (0, 0, None, None),
        (0, 7, 0, 0),
        (1, 3, 3333, 3334),
        (1, 10_000, 1, 1),
        (1, 10_001, 0, 1),
        (7, 7, 10_000, 10_000),
        (10**18 - 1, 10**18, 9_999, 10_000),
    ],
)
def test_shares(part_: int, whole: int, down: int | None, up: int | None) -> None:
    assert figures.share_down(part_, whole) == Share(part_, whole, down)
    assert figures.share_up(part_, whole) == Share(part_, whole, up)


def test_a_cost_share_is_above_a_cap_exactly_when_the_costs_are() -> None:
    for cap in (0, 1, 999, 1_000, 1_001):
        for costs in range(95, 106):
            share = figures.share_up(costs, 1_000).basis_points
            assert share is not None
            assert (share > cap) == (figures.BASIS_POINTS * costs > cap * 1_000)


def test_ages() -> None:
    day = 24
    waits = figures.ages({100: 1, 100 - 30 * day: 2, 101 - 30 * day: 4, 100 - 365 * day: 8}, 100)
    assert figures.by_age(waits) == [1 + 4, 2, 0, 0, 8]
    assert figures.by_age({-5: 3}) == [3, 0, 0, 0, 0]  # given after it was recorded, they say


@pytest.mark.parametrize(
    ("time", "hour"),
    [
        ("1970-01-01T00:59:59.999Z", 0),
        ("1970-01-01T07:00:00+07:00", 0),
        ("1969-12-31T23:59:59Z", -1),
        ("1970-01-01T00:30:00-00:30", 1),
    ],
)
def test_hours_are_rounded_down(time: str, hour: int) -> None:
    assert hours(time) == hour


def test_pieces() -> None:
    pieces = [(5, 10), (7, 10), (7, 5)]
    assert part(pieces, 0, 25) == pieces
    assert part(pieces, 8, 4) == [(5, 2), (7, 2)]
    assert part(pieces, 25, 0) == []
    assert joined(pieces) == [(5, 10), (7, 15)]


def test_a_line_is_cut_in_the_middle_and_lengthened() -> None:
    stored = [Lot(10, 0, 1), Lot(20, 10, 2)]

    def look(start: int, end: int) -> list[Lot]:
        return [lot for lot in stored if lot.start < end and lot.end > start]

    line = Line(look)
    assert line.take(5, 12) == [(1, 5), (2, 2)]
    line.put(20, [(2, 5), (3, 5)])  # the first of them joins the lot that stands before it
    assert line.changed == {
        10: None,
        5: Lot(5, 0, 1),
        20: None,
        25: Lot(25, 12, 2),
        30: Lot(30, 25, 3),
    }
    assert line.sharing(0, 100) == [Lot(5, 0, 1), Lot(25, 12, 2), Lot(30, 25, 3)]
    with pytest.raises(FormatError, match=r"4 to 13 .*`amanah rebuild`"):
        line.take(4, 13)


def test_edges_count_what_goes_between_two_of_the_funds_once() -> None:
    flows = {
        "a": {(DONOR_KIND, "pooled"): Flow(50, 0), (TO_FUND, "b"): Flow(40, 5)},
        "b": {
            (FROM_FUND, "a"): Flow(40, 5),
            (FROM_FUND, "z"): Flow(9, 9),
            (TO_FUND, "z"): Flow(2, 0),
        },
        "c": {(DONOR_PARTY, "o2"): Flow(7, 0), (RECIPIENT_GROUP, ""): Flow(3, 0)},
        "d": {(RECIPIENT_PARTY, "pooled"): Flow(1, 0)},
    }
    owners = {"a": "o1", "b": "o2", "c": "o1", "d": "o1", "z": "o3"}
    currencies = dict.fromkeys(owners, "IDR") | {"d": "AUD"}
    assert [tuple(edge) for edge in figures.edges(flows, owners, currencies)] == [
        (("party", "o1"), ("party", "pooled"), "disbursement", "AUD", 1),
        (("donors", "pooled"), ("party", "o1"), "donation", "IDR", 50),
        (("party", "o1"), ("party", "o2"), "transfer", "IDR", 35),
        (("party", "o2"), ("party", "o1"), "donation", "IDR", 7),
        (("party", "o1"), ("groups", "all"), "disbursement", "IDR", 3),
        (("party", "o2"), ("party", "o3"), "transfer", "IDR", 2),
    ]


# -- a short log, of which everything can be said by heart


def at(hour: int) -> str:
    return f"2026-01-01T{hour:02}:30:00Z"


def sealed(*statements: Entry) -> list[Entry]:
    """Entries of statements, with the totals that the books give them."""
    books, entries = Books(EmptyState(), {}), list[Entry]()
    genesis: Entry = {"type": "genesis", "ref": "genesis", "origin": "o", "currencies": CURRENCIES}
    for statement in (genesis, party("kita"), fund("air"), *statements):
        platform = "kita" if entries else "ledger"
        if statement["type"] == "acknowledgement":
            totals: list[Entry] = []  # the books do not know it
        else:
            totals = books.post(len(entries), platform, statement)
        entry = {"index": len(entries), "platform": platform, "statement": statement}
        time = "2026-02-01T00:00:00.000Z"
        entries.append(entry | {"recorded_at": time, "totals": totals})
    return entries


GIFTS = (
    donation(ref="one", amount="100", occurred_at=at(0)),
    donation(ref="two", amount="100", occurred_at=at(10)),
    disbursement(amount="160", occurred_at=at(20)),  # entry 5: waited 20 h, and 60 of it 10 h
)


def of_air(*statements: Entry, bulk: int = 1) -> Entry:
    entries = sealed(*GIFTS, *statements)
    figures_ = Kept(entries).follow(len(entries), bulk).reading(len(entries)).of_fund("air")
    assert figures_ is not None
    return figures_


@pytest.mark.parametrize("bulk", [1, 100])
def test_what_came_back_in_two_parts_was_given_when_it_was_given(bulk: int) -> None:
    """Lowest positions first: 90 and then 50 of 160 come back, so the last 20 remain spent."""
    back = (returned(5, "back", amount="90"), returned(5, "again", amount="50"))
    assert of_air(*back[:1], bulk=bulk)["hours_to_disbursement"] == {
        "median": "10",
        "over": "70.00",
    }
    figures_ = of_air(*back, bulk=bulk)
    assert figures_["hours_to_disbursement"] == {"median": "10", "over": "20.00"}
    assert figures_["unspent"]["age_hours"] == {"median": str(31 * 24), "over": "180.00"}
    paid = disbursement(ref="anew", amount="130", occurred_at=at(23))
    # The 40 of the second gift that were never spent, then what came back first: 90 of the first.
    again = of_air(*back, paid, bulk=bulk)["hours_to_disbursement"]
    assert again == {"median": "23", "over": "150.00"}


def say(status: str, hour: int, **more: Any) -> Entry:
    statement = {"type": "acknowledgement", "ref": "a", "target": 5, "status": status}
    return statement | {"occurred_at": at(hour)} | more


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ([], ("0.00", "0.00", "0.00", None)),
        ([say("received", 23)], ("160.00", "0.00", "0.00", "3")),
        ([say("partial", 22, amount="70")], ("70.00", "0.00", "0.00", "2")),
        ([say("received", 23), say("disputed", 23)], ("0.00", "0.00", "160.00", None)),
        ([say("not_received", 21), say("partial", 20, amount="1")], ("1.00", "0.00", "0.00", "0")),
        ([say("not_received", 21)], ("0.00", "160.00", "0.00", None)),
        (
            [say("partial", 22, amount="70"), returned(5, amount="100")],
            ("60.00", "0.00", "0.00", "2"),
        ),
        ([say("received", 22), returned(5, amount="160")], ("0.00", "0.00", "0.00", None)),
        ([say("received", 22) | {"target": 3}], ("0.00", "0.00", "0.00", None)),  # no disbursement
    ],
)
@pytest.mark.parametrize("bulk", [1, 100])
def test_the_current_acknowledgement_counts(
    statements: list[Entry], said: tuple[str, str, str, str | None], bulk: int
) -> None:
    figures_ = of_air(*statements, bulk=bulk)
    names = ("acknowledged", "not_received", "disputed")
    found = [figures_[name]["amount"] for name in names]
    assert (*found, figures_["hours_to_acknowledgement"]["median"]) == said
