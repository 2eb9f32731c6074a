"""The 360Giving importer: a real file to the penny, and a nasty one record by record."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import audit
from ledger.chain import SealedEntry
from ledger.entry import Entry, decode_entry
from ledger.errors import Refusal, Unavailable
from ledger.importers.giving360 import Report, Sums, import_grants, read_grants, statements
from ledger.importers.giving360_file import Grant, Refused
from ledger.service import Ledger, LocalPlatform
from ledger.tlog.policy import Policy
from tests.support import HERE

REAL = (HERE / "data" / "360giving-154-grants.json").read_bytes()
NASTY = (HERE / "data" / "360giving-nasty.json").read_bytes()
PLATFORM = "grants-desk"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger; whatever a test did to it, it must stand a full audit in the end."""
    ledger = Ledger.create(tmp_path / "ledger.db", "grants.example/ledger", "Grants Desk")
    ledger.register_platform(PLATFORM)
    yield ledger
    assert audit(ledger.store, Policy.for_key(ledger.vkeys[0])).is_sound
    ledger.close()


@pytest.fixture
def target(ledger: Ledger) -> LocalPlatform:
    return ledger.at(PLATFORM)


class CutOff:
    """A target that fails when so many posts were made."""

    def __init__(self, target: LocalPlatform, posts: int) -> None:
        self.target, self.platform, self.posts = target, target.platform, posts

    def registered(self, kind: str, item_id: str) -> bool:
        return self.target.registered(kind, item_id)

    def post(self, statements: Sequence[dict[str, Any]]) -> list[SealedEntry]:
        self.posts -= 1
        if self.posts < 0:
            raise Unavailable("the outcome is unknown")
        return self.target.post(statements)


def entries(ledger: Ledger) -> list[Entry]:
    return [decode_entry(data) for data in ledger.store.entries(0, ledger.store.size())]


def sealed(ledger: Ledger, kind: str) -> list[dict[str, Any]]:
    """The statements of one type on the ledger, in order; no party is the platform itself."""
    found = [e.statement for e in entries(ledger) if e.statement["type"] == kind]
    return [statement for statement in found if statement.get("id") != PLATFORM]


def totals(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Fund -> its position after its last money entry."""
    return {total["fund"]: total for entry in entries(ledger) for total in entry.totals}


def total(amounts: Iterator[str]) -> str:
    return f"{sum(map(Decimal, amounts)):,.2f}"


# -- the real file


def test_the_real_file_to_the_penny(target: LocalPlatform) -> None:
    report = import_grants(REAL, target)
    assert [(r.id, r.code) for r in report.refused] == [
        ("360G-FoundationScotland-A459085", "invalid_amount")
    ]
    assert (report.grants, report.replayed) == (153, 0)
    assert (report.parties, report.funds, report.money_entries) == (73, 41, 306)
    assert report.sums == {
        "GBP": Sums("16589361.49", "16589361.49", "16510802.26", "78559.23"),
    }


def test_what_the_ledger_says_of_the_real_file(ledger: Ledger, target: LocalPlatform) -> None:
    import_grants(REAL, target)
    donations, disbursements = sealed(ledger, "donation"), sealed(ledger, "disbursement")
    assert len(sealed(ledger, "party")) == 73
    assert len(sealed(ledger, "fund")) == 41
    assert (len(donations), len(disbursements)) == (153, 153)
    assert total(s["amount"] for s in donations) == "16,589,361.49"
    received: defaultdict[str, Decimal] = defaultdict(Decimal)
    for statement in disbursements:
        received[statement["recipient"].get("party", "")] += Decimal(statement["amount"])
    assert received.pop("") == Decimal("78559.23")
    assert sum(received.values()) == Decimal("16510802.26")
    assert received["gb-coh-07831511"] == Decimal("3659000.00")
    assert len(received) == 40
    funds = totals(ledger)
    assert len(funds) == 41
    assert {fund["balance"] for fund in funds.values()} == {"0.00"}
    assert total(fund["donated"] for fund in funds.values()) == "16,589,361.49"
    assert total(fund["disbursed"] for fund in funds.values()) == "16,589,361.49"


def test_parties_and_order_of_the_real_file(ledger: Ledger, target: LocalPlatform) -> None:
    import_grants(REAL, target)
    parties = {party["id"]: party for party in sealed(ledger, "party")}
    assert Counter(party["kind"] for party in parties.values()) == {"foundation": 41, "ngo": 32}
    assert parties["gb-chc-1110522"] == {  # the file calls it "The Trussell Trust" later on
        "type": "party",
        "ref": "party.gb-chc-1110522",
        "id": "gb-chc-1110522",
        "name": "Trussell Trust",
        "kind": "ngo",
        "registry": "GB-CHC-1110522",
    }
    assert parties["gb-coh-00357963"]["name"] == "Joseph Rowntree Reform Trust"  # a space less
    order = [(s["occurred_at"], s["ref"]) for s in sealed(ledger, "disbursement")]
    assert order == sorted(order)
    assert {s["amount"] for s in sealed(ledger, "donation")} >= {"702428.4", "268.8", "649.99"}


@pytest.mark.parametrize("data", [REAL, NASTY], ids=["real", "nasty"])
def test_a_second_run_adds_nothing(ledger: Ledger, target: LocalPlatform, data: bytes) -> None:
    first = import_grants(data, target)
    size = ledger.store.size()
    again = import_grants(data, target)
    assert ledger.store.size() == size
    assert again == Report(0, first.grants + first.replayed, 0, 0, 0, {}, again.refused)
    assert [r[:2] for r in again.refused] == [r[:2] for r in first.refused]


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(
    ledger: Ledger, target: LocalPlatform
) -> None:
    with pytest.raises(Unavailable):
        import_grants(REAL, CutOff(target, posts=100))
    report = import_grants(REAL, target)
    assert (report.grants, report.replayed) == (54, 99)  # one of the 100 was refused
    assert len(sealed(ledger, "party")) == 73


def test_progress_counts_every_record(target: LocalPlatform) -> None:
    seen: list[tuple[int, int]] = []
    import_grants(NASTY, target, lambda done, records: seen.append((done, records)))
    assert seen == [(n, len(WHAT_BECOMES)) for n in range(1, len(WHAT_BECOMES) + 1)]


# -- the nasty file

# What becomes of each of its records, in their order: "sealed", "replayed" or the code.
WHAT_BECOMES = [
    ("n-plain", "sealed"),
    ("n-decimals", "sealed"),
    ("n-eur", "sealed"),
    ("n-jpy", "sealed"),
    ("n-funder-receives", "sealed"),
    ("n-itself", "sealed"),  # the funder is the recipient
    ("n-long-name", "sealed"),  # the longest name a party can have
    ("n-person", "sealed"),
    ("n-person-untitled", "sealed"),  # the title of a person's grant is not even looked for
    ("n-plain", "replayed"),  # the same but for its description, which is not taken
    ("n-plain", "ref_conflict"),  # another amount
    ("n-plain.in", "ref_conflict"),  # the ref of the first one's donation
    ("n-zero", "invalid_amount"),
    ("n-negative", "invalid_amount"),
    ("n-minus-zero", "invalid_amount"),
    ("n-yen-decimals", "invalid_amount"),
    ("n-pence", "invalid_amount"),  # a tenth of a penny
    ("n-exponent", "invalid_amount"),
    ("n-hidden-exponent", "invalid_amount"),  # 15.0E1, which Decimal alone would spell 150
    ("n-nan", "invalid_amount"),
    ("n-amount-text", "invalid_amount"),
    ("n-amount-true", "invalid_amount"),
    ("n-amount-missing", "invalid_amount"),
    ("n-huge", "invalid_amount"),
    ("n-too-exact", "invalid_amount"),  # 33 decimals
    ("n-currency-unknown", "unknown_currency"),
    ("n-currency-lower", "invalid"),
    ("n-currency-sign", "invalid"),
    ("n-currency-missing", "invalid"),
    ("n-date-unreal", "invalid"),
    ("n-date-zoneless", "invalid"),
    ("n-date-british", "invalid"),
    ("n-date-micro", "invalid"),  # six decimals of a second
    ("n-date-future", "invalid"),
    ("n-date-number", "invalid"),
    ("n-date-missing", "invalid"),
    ("n-both", "invalid"),
    ("n-neither", "invalid"),
    ("n-individual-null", "invalid"),
    ("n-individuals", "invalid"),  # two people would be counted as one
    ("n-two-recipients", "not_supported"),
    ("n-two-funders", "not_supported"),
    ("n-recipients-empty", "invalid"),
    ("n-funder-missing", "invalid"),
    ("n-funder-text", "invalid"),
    ("n-funder-object", "invalid"),
    ("n-case", "ref_conflict"),  # gb-chc-900001 beside GB-CHC-900001
    ("n-org-underscore", "invalid"),
    ("n-org-space", "invalid"),
    ("n-org-kelvin", "invalid"),  # U+212A, whose lower case is an ASCII k
    ("n-org-reserved", "invalid"),  # LEDGER
    ("n-org-nameless", "invalid"),
    ("n-org-blank", "invalid"),
    ("n-org-long-name", "invalid"),
    ("n-org-long-id", "invalid"),  # 63 characters fit a party but not its ref
    ("n-fund-id-long", "invalid"),
    ("n-fund-ref-long", "invalid"),
    ("n id with spaces", "invalid"),
    ("n-" + "i" * 60, "invalid"),  # with .in it is longer than a ref
    ("/grants/59", "invalid"),  # no id: its place in the file
    (r"'n-\x1b[31mred'", "invalid"),  # what a terminal would obey is shown, not sent
    ("n-title-long", "invalid"),
    ("n-title-blank", "invalid"),
    ("n-title-missing", "invalid"),
    ("n-title-email", "personal_data_suspected"),
    ("n-title-newline", "invalid"),
    ("n-title-bidi", "invalid"),
    ("n-title-surrogate", "malformed"),
    ("n-nobody", "invalid_amount"),
    ("/grants/69", "invalid"),  # a key twice, so that none of it can be relied on
    ("n-org-key-twice", "invalid"),
    ("/grants/71", "invalid"),  # a text
    ("/grants/72", "invalid"),  # null
]


def test_what_becomes_of_each_record(ledger: Ledger, target: LocalPlatform) -> None:
    report = import_grants(NASTY, target)
    found = [(refused.id, refused.code) for refused in report.refused]
    found += [(statement["ref"], "sealed") for statement in sealed(ledger, "disbursement")]
    found += [("n-plain", "replayed")] * report.replayed
    assert sorted(found) == sorted(WHAT_BECOMES)
    assert all(refused.reason.isprintable() for refused in report.refused)
    donated = [statement["ref"] for statement in sealed(ledger, "donation")]
    assert donated == [f"{statement['ref']}.in" for statement in sealed(ledger, "disbursement")]
    assert report.sums == {
        "EUR": Sums("1500.50", "1500.50", "1500.50", "0.00"),
        "GBP": Sums("10422.86", "10422.86", "10082.86", "340.00"),
        "JPY": Sums("50000", "50000", "50000", "0"),
    }


def test_only_sealed_grants_register_anybody(ledger: Ledger, target: LocalPlatform) -> None:
    report = import_grants(NASTY, target)
    names = {party["id"]: (party["name"], party["kind"]) for party in sealed(ledger, "party")}
    assert names == {
        "gb-chc-900001": ("Lantern Fund", "foundation"),
        "gb-coh-00900002": ("River Library", "ngo"),  # its first name in the file, not by date
        "gb-chc-900003": ("Harbour Trust", "foundation"),  # a recipient first
        "gb-chc-900004": ("N" * 140, "foundation"),
    }
    assert {fund["id"]: fund["title"] for fund in sealed(ledger, "fund")} == {
        "gb-chc-900001-gbp": "Lantern Fund (GBP)",
        "gb-chc-900001-eur": "Lantern Fund (EUR)",
        "gb-chc-900001-jpy": "Lantern Fund (JPY)",
        "gb-chc-900003-gbp": "Harbour Trust (GBP)",
        "gb-chc-900004-gbp": "GB-CHC-900004 (GBP)",  # the name would not fit
    }
    assert (report.parties, report.funds) == (4, 5)


def test_dates_amounts_and_titles_are_taken_as_they_must_be_spelled(
    ledger: Ledger, target: LocalPlatform
) -> None:
    import_grants(NASTY, target)
    taken = {s["ref"]: (s["occurred_at"], s["amount"]) for s in sealed(ledger, "disbursement")}
    assert taken["n-plain"] == ("2021-03-01T00:00:00Z", "1250")
    assert taken["n-decimals"] == ("2021-02-28T23:30:00-05:00", "8727.86")
    assert taken["n-eur"] == ("2021-03-02T10:00:00.250+02:00", "1500.5")
    assert next(iter(taken)) == "n-funder-receives"  # midnight UTC, before 23:30 in the west
    purposes = {s["ref"]: s["purpose"] for s in sealed(ledger, "disbursement")}
    assert purposes["n-decimals"] == "Roof repairs"


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        ("n-fund-id-long", f"'GB-{'9' * 57}-GBP' as the id of its fund"),
        ("n-fund-ref-long", f"fund fund.gb-{'8' * 53}-gbp: /ref: expected a ref"),
        ("n-org-long-id", f"party party.gb-{'9' * 60}: /ref: expected a ref"),
        ("n-org-underscore", "'360G-some_org' as the id of recipientOrganization"),
        ("n-case", "'gb-chc-900001' differs only in upper and lower case from 'GB-CHC-900001'"),
        ("n-org-kelvin", r"'GB-\u212a-1' as the id of recipientOrganization"),
        ("n-title-bidi", "disbursement n-title-bidi: /purpose: the character U+202E"),
        ("n-two-funders", "fundingOrganization: 2 of them"),
        ("n-title-long", "disbursement n-title-long: /purpose: expected 1 to 140 characters"),
    ],
)
def test_a_reason_names_what_was_wrong(target: LocalPlatform, grant: str, words: str) -> None:
    reasons = {refused.id: refused.reason for refused in import_grants(NASTY, target).refused}
    assert words in reasons[grant]


def test_what_is_registered_already_is_left_as_it_is(ledger: Ledger, target: LocalPlatform) -> None:
    mine = {"type": "party", "ref": "mine", "id": "gb-chc-900001", "name": "Mine", "kind": "media"}
    target.post([mine])
    report = import_grants(NASTY, target)
    assert report.parties == 3
    assert mine in sealed(ledger, "party")


# -- what is taken of a person


def test_nothing_of_a_person_is_on_the_ledger(target: LocalPlatform, tmp_path: Path) -> None:
    """Everything that could be about a person is marked, in the real file and the nasty one."""
    document = json.loads(REAL, parse_float=Decimal)
    kept = {"id", "currency", "awardDate", "amountAwarded", "fundingOrganization"}
    for grant in document["grants"]:
        if "recipientIndividual" in grant:
            grant.update(dict.fromkeys(grant.keys() - kept, "Rahmawati"))
            grant["recipientIndividual"] = {"id": "360G-IND-rahmawati", "name": "Rahmawati"}
    marked = json.dumps(document, default=float).encode()
    reports = [import_grants(marked, target), import_grants(NASTY, target)]
    assert [report.grants for report in reports] == [153, 9]
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"n-person" in everything
    assert b"rahmawati" not in everything.lower()
    assert "rahmawati" not in str(reports).lower()


def test_a_person_is_counted_and_not_named() -> None:
    grants = [g for g in read_grants(NASTY) if isinstance(g, Grant) and g.id == "n-person"]
    *_, donation, disbursement = statements(grants[0], PLATFORM)
    assert donation == {
        "type": "donation",
        "ref": "n-person.in",
        "fund": "gb-chc-900001-gbp",
        "amount": "300",
        "currency": "GBP",
        "occurred_at": "2021-03-01T00:00:00Z",
        "donor": {"kind": "organisation", "party": "gb-chc-900001"},
    }
    assert disbursement == {
        "type": "disbursement",
        "ref": "n-person",
        "fund": "gb-chc-900001-gbp",
        "amount": "300",
        "currency": "GBP",
        "occurred_at": "2021-03-01T00:00:00Z",
        "category": "programme",
        "recipient": {"group": "individual grant", "count": 1, "area": "not stated"},
        "purpose": "Grant to an individual",
    }


# -- files that are no 360Giving files


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"id,title\n1,x\n", "malformed"),
        (b'{"grants": []} {}', "malformed"),
        (b'\xef\xbb\xbf{"grants": []}', "malformed"),
        (b'{"grants": ["\xff"]}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b"[]", "invalid"),
        (b"{}", "invalid"),
        (b'{"grants": {}}', "invalid"),
        (b'{"grants": [], "grants": []}', "invalid"),
    ],
)
def test_files_refused_as_a_whole(data: bytes, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_grants(data)
    assert caught.value.code == code


def test_numbers_of_any_length_are_read() -> None:
    digits = b"9" * 10_000  # more than int() takes
    (record,) = read_grants(b'{"grants": [{"amountAwarded": %s}]}' % digits)
    assert isinstance(record, Refused)
    assert read_grants(b'{"grants": []}') == []
