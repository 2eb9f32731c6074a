"""`amanah export 360giving`: valid by the schema of the standard, and an import comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from ledger.errors import NotFound
from ledger.exports.grants import _UNKNOWN_CURRENCIES, export
from ledger.exports.log import Log
from ledger.importers.giving360 import import_grants
from ledger.money import CURRENCIES
from ledger.service import Ledger
from tests.exports.conftest import DESK, GRANTS
from tests.support import PLATFORM, disbursement, donation, fund, party, returned, transfer, vectors

Grant = dict[str, Any]
GRANT_SCHEMA = vectors("360giving/360-giving-schema.json")
PACKAGE_SCHEMA = vectors("360giving/360-giving-package-schema.json")


FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(text: object) -> bool:
    """What jsonschema looks at only with one more package; without, a date would be both."""
    return isinstance(text, str) and "T" in text and bool(datetime.fromisoformat(text))


def validator() -> Draft202012Validator:
    """Of the package; its schema still names the grant's by the version before."""
    grant = DRAFT202012.create_resource(GRANT_SCHEMA)  # it spells its dialect with http
    names = [GRANT_SCHEMA["$id"], GRANT_SCHEMA["$id"].replace("1.4.3", "1.4.2")]
    registry = Registry().with_resources([(name, grant) for name in names])
    return Draft202012Validator(PACKAGE_SCHEMA, registry=registry, format_checker=FORMATS)


def package(log: Log) -> Any:
    """The exported document, which must be valid; numbers as they are spelled."""
    text = b"".join(export(log))
    validator().validate(json.loads(text))
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def exported(ledger: Ledger) -> list[Grant]:
    grants: list[Grant] = package(Log(ledger.store, ledger.store.checkpoint()))["grants"]
    return grants


@pytest.fixture
def desk(ledger: Ledger) -> Ledger:
    """A ledger with two organisations, each with a fund, and a gift of 1,000 to the first."""
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [party("a", name="Ada", registry="GB-CHC-1"), party("b", name="Ben")])
    ledger.post(
        PLATFORM, [fund("air", owner="a"), fund("bumi", owner="b"), fund("laut", owner="a")]
    )
    ledger.post(PLATFORM, [donation()])
    return ledger


def test_the_schema_can_refuse() -> None:
    bare: Grant = {"grants": [{"id": "x"}]}
    assert not validator().is_valid(bare)
    assert not validator().is_valid({"grants": []})


def test_the_mixed_ledger_is_valid(mixed: Ledger) -> None:
    log = Log(mixed.store, mixed.store.checkpoint())
    document = package(log)
    ids = [grant["id"] for grant in document["grants"]]
    assert len(ids) == len(set(ids)) > 300
    (remark,) = log.remarks
    assert remark.startswith("Left out, as the format has no place for them: ")
    assert document["publisher"] == {"name": "Tests"}
    assert log.checkpoint.root.hex() in document["identifier"]


def test_each_grant_names_its_entry(mixed: Ledger, log: Log) -> None:
    leaves = {sealed.entry.index: (sealed.leaf, sealed.entry.statement) for sealed in log}
    for grant in exported(mixed):
        leaf, statement = leaves[grant["ledgerEntry"]["index"]]
        assert grant["ledgerEntry"]["leafHash"] == leaf
        assert grant["amountAwarded"] == Decimal(statement["amount"])


# -- what was imported


def test_the_imported_grants_come_back(ledger: Ledger) -> None:
    """All 153 that were sealed, to the penny: who gave how much to whom, and when."""
    ledger.register_platform(DESK)
    import_grants(GRANTS.read_bytes(), ledger.at(DESK))
    source = json.loads(GRANTS.read_bytes(), parse_float=Decimal, parse_int=Decimal)["grants"]
    good = [grant for grant in source if grant["amountAwarded"] > 0]
    assert (len(source), len(good)) == (154, 153)
    grants = exported(ledger)
    assert sorted(map(facts, grants)) == sorted(map(facts, good))
    assert sum(grant["amountDisbursed"] for grant in grants) == Decimal("16589361.49")


def facts(grant: Grant) -> tuple[Any, ...]:
    """What must come back of a grant; of an individual, that it was one."""
    (funder,) = grant["fundingOrganization"]
    (recipient,) = grant.get("recipientOrganization", [{"id": ""}])
    amount = (grant["amountAwarded"], grant["currency"])
    return grant["id"], *amount, grant["awardDate"], funder["id"], recipient["id"], title(grant)


def title(grant: Grant) -> str:
    """Nothing of a grant to an individual is imported but that it was one."""
    individual = "recipientIndividual" in grant
    return "Grant to an individual" if individual else grant["title"].strip()


def test_organisations_come_back_under_their_first_names(ledger: Ledger) -> None:
    ledger.register_platform(DESK)
    import_grants(GRANTS.read_bytes(), ledger.at(DESK))
    first: dict[str, str] = {}
    for grant in json.loads(GRANTS.read_bytes())["grants"]:
        for end in ("fundingOrganization", "recipientOrganization"):
            for organisation in grant.get(end, ()):
                first.setdefault(organisation["id"], organisation["name"].strip())
    ends = ("fundingOrganization", "recipientOrganization")
    named = {o["id"]: o["name"] for g in exported(ledger) for end in ends for o in g.get(end, ())}
    assert len(named) == 73
    assert named.items() <= first.items()


def test_one_file_imported_by_two_platforms_has_no_id_twice(ledger: Ledger) -> None:
    for desk in (DESK, "other-desk"):
        ledger.register_platform(desk)
    import_grants(GRANTS.read_bytes(), ledger.at(DESK))
    again = {"type": "fund", "ref": "more", "id": "more", "title": "More", "policy": {}}
    again |= {"owner": DESK, "platforms": ["other-desk"], "currency": "GBP", "status": "open"}
    ref = "360G-LeedCF-A645814"
    gift = donation("more", currency="GBP")
    out = disbursement("more", ref, currency="GBP", recipient={"party": "other-desk"})
    ledger.post("other-desk", [again, gift, out])
    ids = [grant["id"] for grant in exported(ledger)]
    assert len(ids) == len(set(ids)) == 154
    assert ids[-1] == f"{ledger.origin.replace('/', ':')}:{ledger.store.size() - 1}"


# -- what is a grant


@pytest.mark.parametrize(
    ("statement", "recipient"),
    [
        (disbursement(recipient={"party": "b"}), "Ben"),
        (transfer("air", "bumi"), "Ben"),
        (disbursement(recipient={"group": "a student", "count": 1, "area": "ID"}), "a student"),
        (transfer("air", "laut"), None),  # of one owner
        (disbursement(recipient={"party": "a"}), None),  # to the owner itself
        (disbursement(recipient={"party": "b"}, category="operational"), None),
        (disbursement(recipient={"group": "families", "count": 2, "area": "ID"}), None),
    ],
)
def test_what_is_a_grant(desk: Ledger, statement: Grant, recipient: str | None) -> None:
    desk.post(PLATFORM, [statement])
    if recipient is None:
        with pytest.raises(NotFound, match="no grant"):
            exported(desk)
        return
    (grant,) = exported(desk)
    assert grant["fundingOrganization"] == [{"id": "GB-CHC-1", "name": "Ada"}]
    assert grant["id"] == "ledger.example:tests:8"  # no prefix of 360Giving is made up
    to = grant.get("recipientIndividual") or grant["recipientOrganization"][0]
    assert to["name"] == recipient
    assert grant["amountAwarded"] == grant["amountDisbursed"] == 1000


@pytest.mark.parametrize(
    "given", [lambda: disbursement(recipient={"party": "b"}), lambda: transfer("air", "bumi")]
)
def test_what_came_back_was_not_disbursed(desk: Ledger, given: Callable[[], Grant]) -> None:
    desk.post(PLATFORM, [given()])
    target = desk.store.size() - 1
    desk.post(PLATFORM, [returned(target, amount="0.01"), returned(target, "r2", amount="250")])
    (grant,) = exported(desk)
    assert (grant["amountAwarded"], grant["amountDisbursed"]) == (1000, Decimal("749.99"))


@pytest.mark.parametrize(
    ("occurred_at", "awarded"),
    [
        ("2026-01-05T00:00:00Z", "2026-01-05"),  # as the import writes a date alone
        ("2026-01-05T00:00:00+00:00", "2026-01-05T00:00:00+00:00"),
        ("2026-01-05T09:00:00.250+07:00", "2026-01-05T09:00:00.250+07:00"),
    ],
)
def test_dates(desk: Ledger, occurred_at: str, awarded: str) -> None:
    desk.post(PLATFORM, [disbursement(recipient={"party": "b"}, occurred_at=occurred_at)])
    (grant,) = exported(desk)
    assert grant["awardDate"] == awarded


def test_amounts_are_spelled_in_full(desk: Ledger) -> None:
    """Past what a float can hold, too."""
    most = "999999999999999.99"
    desk.post(PLATFORM, [donation(ref="more", amount=most)])
    desk.post(PLATFORM, [disbursement(amount=most, recipient={"party": "b"})])
    assert f'"amountAwarded":{most},'.encode() in b"".join(
        export(Log(desk.store, desk.store.checkpoint()))
    )


def test_a_currency_that_the_standard_does_not_know_is_left_out_aloud(desk: Ledger) -> None:
    known = set(GRANT_SCHEMA["$defs"]["currency"]["enum"])
    assert CURRENCIES.keys() - known == _UNKNOWN_CURRENCIES
    more = {"currency": "ZWG"}
    desk.post(PLATFORM, [fund("zw", owner="a", **more), donation("zw", "z", **more)])
    desk.post(PLATFORM, [disbursement("zw", recipient={"party": "b"}, **more)])
    desk.post(PLATFORM, [disbursement(ref="d2", recipient={"party": "b"})])
    log = Log(desk.store, desk.store.checkpoint())
    assert len(package(log)["grants"]) == 1
    assert log.remarks == ["Left out, as the format has no place for them: 1 grants in ZWG."]
