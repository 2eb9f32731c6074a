"""`amanah export iati`: valid by the standard's schema, codelists and rules; sums that agree."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from ledger.errors import NotFound
from ledger.exports.iati import export
from ledger.exports.iati_activity import element
from ledger.exports.iati_codes import COUNTRIES
from ledger.exports.log import Log
from ledger.money import CURRENCIES
from ledger.service import Ledger
from tests.exports.ruleset import broken
from tests.support import (
    HERE,
    PLATFORM,
    Statement,
    disbursement,
    donation,
    fund,
    party,
    programme,
    refund,
    returned,
    transfer,
)

STANDARD = HERE / "vectors" / "iati"
PERMIT = {"number": "1/2026", "issuer": "Dinas Sosial", "valid_from": "2026-01-01"}
# Where a code stands, and the codelist it is of.
CODES = {
    "//transaction-type/@code": "TransactionType",
    "//activity-status/@code": "ActivityStatus",
    "//activity-date/@type": "ActivityDateType",
    "//participating-org/@role": "OrganisationRole",
    "//reporting-org/@type | //participating-org/@type": "OrganisationType",
    "//recipient-country/@code": "Country",
    "//@default-currency": "Currency",
    "//sector/@vocabulary": "SectorVocabulary",
    "//indicator/@measure": "IndicatorMeasure",
}


def codelist(name: str) -> set[str]:
    items = etree.parse(STANDARD / "codelists" / f"{name}.xml").iter("codelist-item")
    return {item.findtext("code") for item in items if item.get("status") != "withdrawn"}


@pytest.fixture(scope="module")
def schema() -> Any:
    return etree.XMLSchema(etree.parse(STANDARD / "iati-activities-schema.xsd"))


@pytest.fixture
def activities(schema: Any, ledger: Ledger):
    """Post statements of `PLATFORM`, and get the activities of them all, which must be sound."""
    ledger.register_platform(PLATFORM)

    def activities(*statements: Statement) -> dict[str, Any]:
        ledger.post(PLATFORM, list(statements))
        return by_title(sound(ledger, schema))

    return activities


def sound(ledger: Ledger, schema: Any) -> Any:
    """The exported document, which must be valid in every way that the standard has."""
    document = etree.fromstring(b"".join(export(Log(ledger.store, ledger.store.checkpoint()))))
    schema.assertValid(document)
    assert broken(document) == []
    for path, name in CODES.items():
        assert set(document.xpath(path)) <= codelist(name), path
    return document


def by_title(document: Any) -> dict[str, Any]:
    """Funds have their ids as titles here."""
    return {activity.findtext("title/narrative"): activity for activity in document}


def transactions(activity: Any) -> list[tuple[str, str, str]]:
    """(type, day, value) of each."""
    return [
        (
            found.find("transaction-type").get("code"),
            found.find("transaction-date").get("iso-date"),
            found.findtext("value"),
        )
        for found in activity.iter("transaction")
    ]


def test_the_mixed_ledger_is_sound(mixed: Ledger, schema: Any) -> None:
    document = sound(mixed, schema)
    assert [path for path in CODES if not document.xpath(path)] == []
    assert set(document.xpath("//transaction-type/@code")) == {"1", "3", "4"}


def test_the_schema_and_the_rules_can_refuse(schema: Any) -> None:
    head = '<iati-activities version="2.03">'
    activity = "<iati-activity><iati-identifier>a/b</iati-identifier></iati-activity>"
    bad = etree.fromstring(f"{head}{activity}</iati-activities>")
    assert not schema.validate(bad)
    ids = {message.split(":")[0] for message in broken(bad)}
    assert ids >= {"1.3.13", "3.7.1", "4.1.1", "6.2.2", "6.11.1", "7.8.1"}


def test_the_transactions_of_each_fund_add_up_to_its_balance(mixed: Ledger, log: Log) -> None:
    funds = {s.entry.statement["id"]: None for s in log if s.entry.statement["type"] == "fund"}
    last = {
        t["fund"]: t for s in Log(mixed.store, mixed.store.checkpoint()) for t in s.entry.totals
    }
    document = etree.fromstring(b"".join(export(Log(mixed.store, mixed.store.checkpoint()))))
    assert len(document) == len(funds)  # and in the order of their registration
    for fund_id, activity in zip(funds, document, strict=True):
        assert activity.findtext("iati-identifier").endswith(f":{fund_id}")
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for code, _, value in transactions(activity):
            sums[code] += Decimal(value)
        balance = last[fund_id]["balance"] if fund_id in last else "0"
        assert sums["1"] - sums["3"] - sums["4"] == Decimal(balance)


def test_both_ends_of_a_transfer_name_the_same_two_activities(mixed: Ledger) -> None:
    """Money that moves between funds is found from either, and cancels out."""
    document = etree.fromstring(b"".join(export(Log(mixed.store, mixed.store.checkpoint()))))
    known = set(document.xpath("//iati-identifier/text()"))
    ends_known = "provider-org/@provider-activity-id and receiver-org/@receiver-activity-id"
    both = document.xpath(f"//transaction[{ends_known}]")
    pairs: dict[str, list[Any]] = defaultdict(list)
    for found in both:
        giver = found.find("provider-org").get("provider-activity-id")
        taker = found.find("receiver-org").get("receiver-activity-id")
        assert {giver, taker} <= known
        here = found.getparent().findtext("iati-identifier")
        code = found.find("transaction-type").get("code")
        assert (here, code) in {(giver, "3"), (taker, "1")}
        pairs[found.get("ref")].append((code, giver, taker, found.findtext("value")))
    assert len(pairs) > 90
    for ends in pairs.values():
        assert sorted(code for code, *_ in ends) == ["1", "3"]
        assert len({tuple(rest) for _, *rest in ends}) == 1


def test_no_two_funds_are_one_activity(activities) -> None:
    """Whatever hyphens stand in the ids of the owners and the funds."""
    found = activities(party("a"), party("a-b"), fund("b-c", owner="a"), fund("c", owner="a-b"))
    identifiers = [activity.findtext("iati-identifier") for activity in found.values()]
    assert identifiers == [
        "ledger.example:tests:a-ledger.example:tests:b-c",
        "ledger.example:tests:a-b-ledger.example:tests:c",
    ]


def test_donors_are_added_up_by_day_and_nobody_is_named(activities) -> None:
    gifts = [donation(ref=f"g{n}", amount="10.50", donor={"kind": "individual"}) for n in range(3)]
    gifts += [donation(ref="pooled", amount="1", donor={"kind": "pooled"}), donation(ref="bare")]
    gifts += [donation(ref="next", occurred_at="2026-01-06T00:00:00+07:00")]
    air = activities(fund("air"), *gifts)["air"]
    assert transactions(air) == [("1", "2026-01-05", "1032.50"), ("1", "2026-01-06", "1000.00")]
    assert air.xpath("transaction/@ref") == []
    assert set(air.xpath("transaction/provider-org/narrative/text()")) == {"Donors"}


def test_an_organisation_that_gave_is_named_and_so_is_its_refund(activities) -> None:
    donor = {"kind": "organisation", "party": "pt"}
    gift = donation(donor=donor, fees=[{"kind": "payment", "amount": "7"}])
    activities(party("pt", registry="ID-KVK-1"), fund("air"), gift)
    back = refund(4, amount="100", occurred_at="2026-01-07T00:00:00Z")
    air = activities(back | {"fees": [{"kind": "payment", "amount": "7"}]})["air"]
    assert transactions(air) == [
        ("1", "2026-01-05", "1000.00"),
        ("4", "2026-01-05", "7.00"),
        ("1", "2026-01-07", "-100.00"),
        ("4", "2026-01-07", "-7.00"),
    ]
    assert air.xpath("transaction/provider-org/@ref") == ["ID-KVK-1"] * 2


def test_what_was_paid_is_a_disbursement_or_an_expenditure(activities) -> None:
    group = {"group": "Rahmawati and family", "count": 4, "area": "ID"}
    air = activities(
        party("lsm"),
        fund("air"),
        donation(amount="9000"),
        disbursement(ref="d1", amount="1", recipient={"party": "lsm"}),
        disbursement(ref="d2", amount="2", recipient={"party": "lsm"}, category="operational"),
        disbursement(ref="d3", amount="3"),  # to the owner itself
        disbursement(ref="d4", amount="4", recipient=group),
        returned(5, ref="r1", amount="0.50", occurred_at="2026-01-09T00:00:00Z"),
        returned(8, ref="r2", amount="0.25", occurred_at="2026-01-09T00:00:00Z"),
    )["air"]
    assert [(code, value) for code, _, value in transactions(air)] == [
        ("1", "9000.00"),
        ("3", "1.00"),
        ("4", "2.00"),
        ("4", "3.00"),
        ("4", "4.00"),
        ("3", "-0.50"),
        ("4", "-0.25"),
    ]
    named = [t.get("ref") for t in air.iter("transaction") if t.find("receiver-org") is not None]
    assert named == ["5", "6", "7", "9"]
    assert b"Rahmawati" not in etree.tostring(air)


def test_a_transfer_that_came_back_is_negative_on_both_sides(activities) -> None:
    found = activities(
        fund("air"),
        fund("laut"),
        donation(),
        transfer("air", "laut"),
        returned(5, amount="400", occurred_at="2026-01-09T00:00:00Z"),
    )
    assert transactions(found["air"])[1:] == [
        ("3", "2026-01-05", "1000.00"),
        ("3", "2026-01-09", "-400.00"),
    ]
    assert transactions(found["laut"]) == [
        ("1", "2026-01-05", "1000.00"),
        ("1", "2026-01-09", "-400.00"),
    ]


def test_an_identifier_stays_when_the_owner_changes(activities) -> None:
    before = activities(
        party("a", registry="GB-CHC-1", area="GB"), party("b"), fund("air", owner="a")
    )
    again = fund("air", ref="again", owner="b", supersedes=4, status="closed", category="Water")
    after = activities(again)
    for found in (before, after):
        assert found["air"].findtext("iati-identifier") == "GB-CHC-1-ledger.example:tests:air"
    assert before["air"].xpath("reporting-org/@ref | recipient-country/@code") == ["GB-CHC-1", "GB"]
    air = after["air"]
    assert air.xpath("reporting-org/@ref") == ["ledger.example:tests:b"]
    assert air.xpath("other-identifier/@*") == ["GB-CHC-1", "B1"]
    assert air.xpath("recipient-region/@code") == ["998"]
    assert air.xpath("activity-status/@code") == ["4"]
    assert air.xpath("activity-date/@type") == ["2", "4"]
    assert air.xpath("sector/narrative/text()") == ["Water"]


def test_an_activity_begins_with_its_first_money_or_its_registration(activities) -> None:
    found = activities(
        fund("air"),
        fund("laut"),
        donation(occurred_at="2019-07-02T00:00:00Z"),
        donation(ref="older", occurred_at="2018-03-04T23:00:00-05:00"),
    )
    starts = {name: found[name].xpath("activity-date/@iso-date") for name in found}
    assert starts["air"] == ["2018-03-04"]
    assert starts["laut"] == [found["laut"].get("last-updated-datetime")[:10]]


def test_a_registry_that_is_no_identifier_is_not_used_as_one(activities) -> None:
    air = activities(party("a", registry="see https://x/?q=1"), fund("air", owner="a"))["air"]
    assert air.xpath("reporting-org/@ref") == ["ledger.example:tests:a"]


def test_the_goal_is_a_budget_where_a_permit_says_of_which_time(activities) -> None:
    goal = {"goal_amount": "500000"}
    found = activities(
        fund("year", permit=PERMIT | {"valid_until": "2026-12-31"}, **goal),
        fund("longer", permit=PERMIT | {"valid_until": "2027-01-02"}, **goal),
        fund("bare", **goal),
    )
    assert found["year"].xpath("budget/value/text()") == ["500000"]
    assert found["year"].xpath("budget/*/@iso-date") == ["2026-01-01", "2026-12-31"]
    assert not found["longer"].findall("budget")
    assert found["bare"].xpath("description/narrative/text()") == [
        "Fund bare of kita. Goal: 500000 IDR."
    ]


@pytest.mark.parametrize(
    ("goal", "targets"),
    [
        ({"target": "24", "by": "2027-12-31", "baseline": "37.9"}, ["24"]),
        ({"target": "24", "by": "1999-12-31"}, []),  # over before it began
        ({"target": "24"}, []),
        ({}, []),
    ],
)
def test_programmes_give_their_partners_and_their_goals(
    activities, goal: Statement, targets: list[str]
) -> None:
    roles = ("orchestrator", "funding", "accountable", "extending", "implementing")
    partners = [{"party": "lsm", "role": role} for role in roles]
    shared = programme("p", participants=partners, goal={"indicator": "Stunting"} | goal)
    air = activities(party("lsm"), shared, fund("air", programmes=["p"]))["air"]
    orgs = air.findall("participating-org")
    assert [(org.findtext("narrative"), org.get("role")) for org in orgs] == [
        ("kita", "2"),
        ("kita", "3"),
        ("lsm", "3"),
        ("lsm", "1"),
        ("lsm", "2"),
        ("lsm", "4"),
    ]
    assert air.xpath("result/indicator/title/narrative/text()") == ["Stunting"]
    assert air.xpath("result/indicator/period/target/@value") == targets


def test_texts_cannot_break_out(activities) -> None:
    nasty = '</narrative><x a="1">\u2028&amp;'
    registry = 'GB"-<1>'
    air = activities(party("a", name=nasty, registry=registry), fund("air", owner="a"))["air"]
    assert air.findtext("reporting-org/narrative") == nasty
    assert air.find("reporting-org").get("ref") == registry
    assert element("x", {"a": '"<&>'}, text="<&>") == "<x a='\"&lt;&amp;&gt;'>&lt;&amp;&gt;</x>"


def test_a_ledger_without_funds_has_nothing_to_export(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no fund"):
        list(export(Log(ledger.store, ledger.store.checkpoint())))


def test_the_countries_are_those_of_the_codelist() -> None:
    assert codelist("Country") == COUNTRIES


def test_the_currencies_that_the_codelist_lacks_are_those_of_the_docs() -> None:
    docs = (HERE.parent / "docs" / "exports.md").read_text("utf-8")
    missing = sorted(CURRENCIES.keys() - codelist("Currency"))
    assert ", ".join(missing) in docs
