"""The tripwire: slips it must catch, and machine-made values it must never trip over."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import canonical
from ledger.tripwire import may_hold, suspect
from tests.statement_table import TYPES
from tests.support import data, disbursement, donation, fund, party, programme

EMAILS = [
    "budi@example.org",
    "Budi.Santoso+donasi@mail.example.co.id",
    "hubungi budi_s@example.org, terima kasih",
    "<budi@example.org>",
    "budi@example.org.",
    "email:budi@example.org",
]
PHONES = [
    "+6281234567890",
    "+62 812-3456-7890",
    "+62 (812) 3456 7890",
    "62 812 3456 7890",
    "6281234567890",
    "081234567890",
    "0812 3456 7890",
    "0812-3456-7890",
    "0812.3456.7890",
    "(0812) 3456-7890",
    "0812345678",
    "WA:081234567890",
    "Telp.08123456789",
    "hubungi 0812-3456-7890, terima kasih",
    "+44 20 7946 0958",
    "+1 (415) 555-0132",
]
NIKS = [
    "3273012501990001",  # a man born on 25 January
    "3273016501990001",  # a woman: 40 is added to the day
    "NIK 3273012501990001",
    "NIK:3273012501990001.",
    "3273 0125 0199 0001",
    "327301-250199-0001",
    "3273012501990001 3273012501990002",
]
CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "kartu 4111 1111 1111 1111 a.n. Budi",
    "5500005555555559",
    "2221000000000009",
    "371449635398431",
    "3530111333300000",
    "6011000990139424",
    "6500000000000002",
]


def faults(statement: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.detail) for fault in suspect(statement)]


def in_text(text: str) -> list[tuple[str, str]]:
    return faults(disbursement(purpose=text))


def caught(pointer: str, what: str) -> list[tuple[str, str]]:
    return [(pointer, f"looks like {what}")]


# -- what it catches


@pytest.mark.parametrize("text", EMAILS)
def test_an_email_address_in_a_text(text: str) -> None:
    assert in_text(text) == caught("/purpose", "an e-mail address")


@pytest.mark.parametrize("text", PHONES)
def test_a_telephone_number_in_a_text(text: str) -> None:
    assert in_text(text) == caught("/purpose", "a telephone number")


@pytest.mark.parametrize("text", NIKS)
def test_an_identity_number_in_a_text(text: str) -> None:
    assert in_text(text) == caught("/purpose", "an identity number (NIK)")


@pytest.mark.parametrize("text", CARDS)
def test_a_card_number_in_a_text(text: str) -> None:
    assert in_text(text) == caught("/purpose", "a card number")


@pytest.mark.parametrize(
    ("ref", "what"),
    [
        ("3273012501990001", "an identity number (NIK)"),
        ("3273-0125-0199-0001", "an identity number (NIK)"),
        ("4111111111111111", "a card number"),
        ("4111-1111-1111-1111", "a card number"),
    ],
)
def test_a_ref_that_is_whole_a_number_of_somebody(ref: str, what: str) -> None:
    assert faults(donation(ref=ref)) == caught("/ref", what)


def test_every_text_is_looked_at_and_named() -> None:
    mail = "budi@example.org"
    permit = {"number": mail, "issuer": mail}
    recipient = {"group": mail, "count": 1, "area": mail}
    evidence = [
        {"sha256": "0" * 64, "media_type": mail, "category": mail, "uri": f"https://x/{mail}"}
    ]
    spent = disbursement(recipient=recipient, purpose=mail, purpose_code=mail, evidence=evidence)
    cases = {
        "/name /area /registry": party("yayasan", name=mail, area=mail, registry=mail),
        "/title /goal/indicator": programme("p", title=mail, goal={"indicator": mail}),
        "/title /category /permit/number /permit/issuer": fund(
            "air", title=mail, category=mail, permit=permit
        ),
        "/recipient/group /recipient/area /purpose /purpose_code /evidence/0/media_type "
        "/evidence/0/category /evidence/0/uri": spent,
    }
    for pointers, statement in cases.items():
        assert {pointer for pointer, _ in faults(statement)} == set(pointers.split())


@given(st.text("0123456789 .-()+@ab8é6208", max_size=30))
def test_the_cheap_first_look_passes_over_nothing(text: str) -> None:
    statement = disbursement(purpose=text)
    assert may_hold(canonical(statement)) or not suspect(statement)


@pytest.mark.parametrize("text", [*EMAILS, *PHONES, *NIKS, *CARDS])
def test_the_cheap_first_look_stops_at_everything_that_trips(text: str) -> None:
    assert may_hold(canonical(disbursement(purpose=f"é{{{text}}}")))
    assert not may_hold(canonical(disbursement(purpose="rice")))  # or it would be of no use


# -- what must not trip it

HARMLESS = [
    "Rp1.250.000",
    "Rp 1.250.000,00",
    "Rp62.800.000.000",
    "Rp 62.850.000.000 untuk 1.200 keluarga",
    "Rp1.081.234.567.890",
    "Rp. 1.085.000.000.000",
    "IDR 628,500,000,000.00",
    "0.8123456789",
    "1.250.000 + 750.000 = 2.000.000",
    "2026-01-05T09:00:00.123+07:00",
    "2026-01-05 09:00:00",
    "2026-01-05 2026-12-31",
    "01-08-2026 s/d 31-08-2026",
    "pukul 08.00-12.00",
    "GB-COH-07831511",
    "GB-CHC-1126147",
    "ID-KUM-AHU.0081234.AH.01.04",
    "SK No. 123/HUK/2026",
    "ISBN 978-3-16-148410-0",
    "550e8400-e29b-41d4-a716-446655440000",
    "08123456-0812-4812-8812-081234567890",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "INV/2026/0001234567890123456",
    "12345678901234567890",
    "1234567890123456789012345",
    "@yayasan di Instagram",
    "5 kg @ Rp12.000",
    "a@b",
    "https://example.org/@yayasan",
    "🌾 beras 1.000 kg",
    "7.83 per cent of 41",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text(text: str) -> None:
    assert in_text(text) == []


@pytest.mark.parametrize("name", TYPES)
def test_the_examples_of_every_type_are_harmless(name: str) -> None:
    assert faults(TYPES[name].example) == []


@given(st.uuids())
def test_no_uuid_trips(uuid: Any) -> None:
    assert faults(donation(ref=str(uuid))) == []
    assert in_text(f"order {uuid}") == []


@given(st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26))
def test_no_ulid_trips(ulid: str) -> None:
    if not ulid.isdecimal():
        assert faults(donation(ref=ulid)) == []
        assert in_text(ulid) == []


@given(st.datetimes(), st.sampled_from(["Z", "+07:00", ".123-05:00"]))
def test_no_time_trips(moment: Any, zone: str) -> None:
    spelled = moment.isoformat(timespec="seconds") + zone
    assert faults(donation(ref=spelled.replace("+", "_"), occurred_at=spelled)) == []
    assert in_text(f"tiba {spelled}") == []


@given(st.binary(min_size=32, max_size=32) | st.integers(0, 10**18).map(lambda n: b"%032d" % n))
def test_no_digest_trips(digest: bytes) -> None:
    evidence = [{"sha256": digest.hex(), "media_type": "image/png", "bytes": 1}]
    assert faults(disbursement(evidence=evidence)) == []


@given(st.integers(1, 10**15 - 1), st.sampled_from(["", ".5", ".00"]))
def test_no_amount_trips(units: int, decimals: str) -> None:
    goal = {"indicator": "Rice, kg", "baseline": f"-{units}", "target": f"{units}{decimals}"}
    grouped = f"Rp{units:,}".replace(",", ".")
    statement = disbursement(amount=f"{units}{decimals}", purpose=grouped)
    assert faults(statement | {"goal_amount": f"{units}"}) == []
    assert faults(programme("p", goal=goal)) == []


# -- order ids

PROVINCES = {  # of the identity numbers, by the ministry's codes of provinces since 2022
    *range(11, 20), 21, *range(31, 37), *range(51, 54), *range(61, 66), *range(71, 77), 81, 82,
    *range(91, 98),
}  # fmt: skip


def is_nik(digits: str) -> bool:
    """Province, regency, district; birthday DDMMYY (a woman's day plus 40); serial from 0001."""
    if len(digits) != 16 or int(digits[:2]) not in PROVINCES or digits[12:] == "0000":
        return False
    regency, district, day, month = (int(digits[at : at + 2]) for at in (2, 4, 6, 8))
    birthday = (1 <= day <= 31 or 41 <= day <= 71) and 1 <= month <= 12
    return birthday and 1 <= regency <= 79 and 1 <= district <= 79


def is_card(digits: str) -> bool:
    """A length and first digits that a network has, and its check digit."""
    first, length = [int(digits[:n]) for n in range(1, 5)], len(digits)
    networks = {
        "Visa": first[0] == 4 and length in (13, 16, 19),
        "Mastercard": (51 <= first[1] <= 55 or 2221 <= first[3] <= 2720) and length == 16,
        "American Express": first[1] in (34, 37) and length == 15,
        "JCB": 3528 <= first[3] <= 3589 and length == 16,
        "Discover": (first[3] == 6011 or first[1] == 65) and 16 <= length <= 19,
    }
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return any(networks.values()) and (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def test_the_two_checkers_know_the_numbers_above() -> None:
    assert all(is_nik(re.sub(r"\D", "", text)[:16]) for text in NIKS)
    assert all(is_card(re.sub(r"\D", "", text)) for text in CARDS)
    assert not is_nik("3273010113900001")  # the thirteenth month
    assert not is_card("4111111111111112")


NO_NIKS = {
    "the thirteenth month": "3273010113900001",
    "no month": "3273010100900001",
    "no day": "3273010001900001",
    "the 32nd": "3273013201900001",
    "a woman's 32nd": "3273017201900001",
    "day 40": "3273014001900001",
    "province 20": "2073010101900001",
    "regency 00": "3200010101900001",
    "district 00": "3273000101900001",
    "no serial number": "3273010101900000",
    "fifteen digits": "327301010190001",
    "seventeen digits": "32730101019000010",
}


@pytest.mark.parametrize("number", NO_NIKS.values(), ids=NO_NIKS)
def test_nobody_has_such_an_identity_number(number: str) -> None:
    assert not is_nik(number)
    assert faults(donation(ref=number)) == in_text(number) == []
    assert is_nik("3273010112900001")  # which differs from the first in one digit
    assert faults(donation(ref="3273010112900001"))


digits = st.text("0123456789", max_size=19)
of_cards_and_people = st.sampled_from("4 51 55 2221 2720 34 37 3528 3589 6011 65 32 3273".split())


@given(st.builds(str.__add__, of_cards_and_people, digits) | digits.filter(bool))
def test_a_numeric_ref_trips_only_as_a_card_or_identity_number(ref: str) -> None:
    assert bool(faults(donation(ref=ref))) == (is_nik(ref) or is_card(ref))


STARTS = [
    1,
    81_234_567_000,  # looks like a telephone number of ten digits and more
    81_234_567_890_000,
    6_281_234_567_000,
    1_764_000_000_000,  # milliseconds since 1970
    1_764_000_000_000_000,  # microseconds
    20_260_105_000_000_000,  # a date and a number
    3_273_012_501_990_000,  # identity numbers
    4_111_111_111_111_000,  # card numbers, one in ten
    99_999_999_999_999_999_000,
]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("spelling", ["{}", "{:020d}", "INV-{}", "08{:010d}", "order:{}"])
def test_a_run_of_order_ids_locks_no_platform_out(start: int, spelling: str) -> None:
    for number in range(start, start + 200):
        ref = spelling.format(number)
        whose = is_nik(ref) or is_card(ref) if ref.isdecimal() else False
        assert bool(faults(donation(ref=ref))) == whose, ref


def test_real_titles_and_ids_are_harmless() -> None:
    grants = data("360giving-154-grants.json")["grants"]
    assert len(grants) == 154
    for grant in grants:
        organisations = grant["fundingOrganization"] + grant.get("recipientOrganization", [])
        texts = [grant["title"], *(organisation["name"] for organisation in organisations)]
        codes = [grant["id"], *(organisation["id"] for organisation in organisations)]
        for text in [*texts, *codes]:
            assert in_text(text[:140]) == [], text
        for code in codes:
            assert faults(donation(ref=code)) == [], code
            assert faults(party("x", registry=code)) == [], code
