"""The views are what a slow and plain sum over all entries says, however the log was followed."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from ledger.views.answers import Reading
from tests.view_logs import Kept, log
from tests.views_oracle import Entry, Oracle

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module", params=SEEDS)
def entries(request: pytest.FixtureRequest) -> list[Entry]:
    return log(request.param)


def plain(figures: Entry) -> Entry:
    """Figures as an oracle says them."""

    def share(said: Entry) -> tuple[Decimal, Decimal, int | None]:
        return Decimal(said["amount"]), Decimal(said["of"]), said["share_bp"]

    def median(said: Entry) -> tuple[Fraction | None, Decimal]:
        hours = said["median"]
        return None if hours is None else Fraction(hours), Decimal(said["over"])

    shares = ("cost", "acknowledged", "not_received", "disputed")
    waits = ("hours_to_disbursement", "hours_to_acknowledgement")
    return {
        "money": {name: Decimal(amount) for name, amount in figures["money"].items()},
        **{name: share(figures[name]) for name in shares},
        **{name: median(figures[name]) for name in waits},
        "age_hours": median(figures["unspent"]["age_hours"]),
        "inflow": {said["kind"]: share(said) for said in figures["inflow"]},
    }


def check(reading: Reading, entries: list[Entry]) -> None:
    oracle = Oracle(entries)
    funds = oracle.current("fund")
    for fund in funds:
        figures = reading.of_fund(fund)
        assert figures is not None
        assert plain(figures) == oracle.figures([fund]), fund
        by_age = [Decimal(age["amount"]) for age in figures["unspent"]["by_age"]]
        assert sum(by_age) == Decimal(figures["money"]["balance"])
    for kind, ids in (
        ("programme", oracle.current("programme")),
        ("owner", oracle.current("party")),
    ):
        for item_id in ids:
            members = [
                f for f, s in funds.items() if item_id in (*s.get("programmes", ()), s["owner"])
            ]
            found = {figures["currency"]: figures for figures in reading.of_members(kind, item_id)}
            assert [m["fund"] for f in found.values() for m in f["funds"]] == sorted(
                members, key=lambda fund: (funds[fund]["currency"], fund)
            )
            for currency, figures in found.items():
                mine = sorted(f for f in members if funds[f]["currency"] == currency)
                assert plain(figures) == oracle.figures(mine), (item_id, currency)


# -- the laws


def test_the_log_has_everything_that_matters(entries: list[Entry]) -> None:
    types = [entry["statement"]["type"] for entry in entries]
    for kind in ("donation", "disbursement", "transfer", "refund", "return", "acknowledgement"):
        assert types.count(kind) >= 10, kind
    spans = [t["spans"] for entry in entries for t in entry.get("totals", ())]
    assert any(len(pieces) > 1 for pieces in spans), "somebody spends around a hole"


@pytest.mark.parametrize("bulk", [1, 7, 1_024])
def test_figures_are_those_of_a_plain_sum(entries: list[Entry], bulk: int) -> None:
    kept = Kept(entries).follow(len(entries), bulk)
    check(kept.reading(len(entries)), entries)


@pytest.mark.parametrize("reach", [0, 1, 200, 450])
def test_what_is_not_stored_yet_is_folded_by_who_reads(entries: list[Entry], reach: int) -> None:
    size = 500
    kept = Kept(entries).follow(reach, 64)
    check(kept.reading(size), entries[:size])
    assert kept.tables.reach() == reach


def test_the_tables_do_not_tell_in_what_bulks_they_followed(entries: list[Entry]) -> None:
    one, *others = (Kept(entries).follow(len(entries), bulk).rows() for bulk in (1, 7, 1_024))
    assert all(one.values()), "each table has a row"
    for other in others:
        assert other == one


def test_a_reader_goes_on_with_what_it_has_folded(entries: list[Entry]) -> None:
    """Entry by entry, as requests find the log growing."""
    kept = Kept(entries).follow(300, 300)
    fold = kept.tables.fold(300)
    for entry in entries[300:420]:
        fold.add(entry)
        Reading(fold).of_members("programme", "clean-water")
    check(Reading(fold), entries[:420])


def test_money_within_a_programme_is_counted_once(entries: list[Entry]) -> None:
    for figures in Kept(entries).reading(len(entries)).of_members("programme", "clean-water"):
        money = {name: Decimal(amount) for name, amount in figures["money"].items()}
        came = money["given"] + money["moved_in"]
        went = ("moved_out", "platform_fees", "payment_fees", "disbursed", "operational")
        assert came == sum(money[name] for name in went) + money["balance"]
        assert sum(Decimal(share["amount"]) for share in figures["inflow"]) == came
