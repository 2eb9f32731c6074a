"""Schema and spelling: every field of every statement type, what it takes and what it does not."""

from __future__ import annotations

import copy
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from marshmallow import Schema, fields

from ledger.entry import STATEMENT_BYTES_MAX, canonical
from ledger.errors import Refusal
from ledger.money import CURRENCIES
from schemas.check import check_signatures, check_statement, mentions
from schemas.fields import Items
from schemas.statements import STATEMENTS, UNSUPPORTED
from tests.signers import key
from tests.statement_table import ID, LATER, NOT_OBJECTS, NOT_TEXTS, TYPES, Array, Kind, Object
from tests.support import Statement, donation, fund, party, programme

# -- asking the schemas


def check(statement: Any) -> None:
    check_statement(statement, len(canonical(statement)), CURRENCIES)


def verdict(statement: Any) -> tuple[str, set[str]]:
    """The refusal's code and the pointers of its faults."""
    with pytest.raises(Refusal) as caught:
        check(statement)
    assert all(fault.detail for fault in caught.value.faults)
    return caught.value.code, {fault.pointer for fault in caught.value.faults}


def at(statement: Statement, pointer: str) -> Any:
    """What stands at `pointer`. Raises LookupError."""
    place: Any = statement
    for step in pointer.split("/")[1:]:
        place = place[int(step) if step.isdecimal() else step]
    return place


def changed(statement: Statement, pointer: str, value: Any) -> Statement:
    """A copy with `value` at `pointer`; the last step may be a new field."""
    result = copy.deepcopy(statement)
    parent, _, last = pointer.rpartition("/")
    at(result, parent)[int(last) if last.isdecimal() else last] = value
    return result


def removed(statement: Statement, pointer: str) -> Statement:
    """A copy without the field at `pointer`."""
    result = copy.deepcopy(statement)
    parent, _, last = pointer.rpartition("/")
    del at(result, parent)[last]
    return result


def fields_of(kind: type) -> list[Any]:
    """(statement type, pointer, what stands there) of every field that is a `kind`."""
    return [
        pytest.param(name, pointer, what, id=f"{name}{pointer}")
        for name, type_ in TYPES.items()
        for pointer, what in type_.fields.items()
        if isinstance(what, kind)
    ]


def required_of_all() -> list[Any]:
    pointers = [
        (name, f"/{field}")
        for name, type_ in TYPES.items()
        for field in ["ref", *type_.required.split()]
    ]
    pointers += [
        (name, f"{pointer}/{field}")
        for name, type_ in TYPES.items()
        for pointer, what in type_.fields.items()
        if isinstance(what, Object)
        for field in what.required
    ]
    return [pytest.param(*one, id="".join(one)) for one in pointers]


def in_schema(schema: Schema, above: str) -> Iterator[str]:
    """The pointer of every field of a schema and of what is nested in it, elements being 0."""
    for name, field in schema.fields.items():
        inner, pointer = field, f"{above}/{name}"
        yield pointer
        if isinstance(field, Items):
            inner, pointer = field.inner, f"{pointer}/0"
            yield pointer
        if isinstance(inner, fields.Nested):
            yield from in_schema(inner.schema, pointer)


# -- every field


def test_the_table_is_of_every_type() -> None:
    assert TYPES.keys() == STATEMENTS.keys()


@pytest.mark.parametrize("name", TYPES)
def test_the_table_is_of_every_field(name: str) -> None:
    """Or there would be a field that nothing below looks at."""
    below = {"/type", "/recipient", "/recipient/party"}
    below |= {"/programme"} if name == "report" else set()  # these have tests of their own
    table = {pointer.replace("/1", "/0") for pointer in TYPES[name].fields}
    assert set(in_schema(STATEMENTS[name], "")) - below == table


@pytest.mark.parametrize("name", TYPES)
def test_an_example_with_every_field_is_admitted(name: str) -> None:
    check(TYPES[name].example)
    for pointer, what in TYPES[name].fields.items():
        if what is not LATER:
            at(TYPES[name].example, pointer)  # raises when the example lacks it


@pytest.mark.parametrize("name", TYPES)
def test_the_required_fields_are_enough(name: str) -> None:
    example = TYPES[name].example
    check({field: example[field] for field in ["type", "ref", *TYPES[name].required.split()]})


@pytest.mark.parametrize(("name", "pointer"), required_of_all())
def test_a_required_field_is_missed(name: str, pointer: str) -> None:
    assert verdict(removed(TYPES[name].example, pointer)) == ("invalid", {pointer})


@pytest.mark.parametrize(("name", "pointer", "kind"), fields_of(Kind))
def test_a_field_takes_what_is_spelled_right(name: str, pointer: str, kind: Kind) -> None:
    for value in kind.good:
        check(changed(TYPES[name].example, pointer, value))


@pytest.mark.parametrize(("name", "pointer", "kind"), fields_of(Kind))
def test_a_field_refuses_everything_else(name: str, pointer: str, kind: Kind) -> None:
    for value in kind.bad:
        statement = changed(TYPES[name].example, pointer, value)
        assert verdict(statement) == (kind.code, {pointer}), repr(value)


@pytest.mark.parametrize(("name", "pointer", "array"), fields_of(Array))
def test_an_array_has_one_element_to_its_most_and_none_twice(
    name: str, pointer: str, array: Array
) -> None:
    example = TYPES[name].example
    elements = [array.unlike(i) for i in range(array.most + 1)]
    for good in (elements[:1], elements[:2], elements[:-1]):
        check_statement(changed(example, pointer, good), 0, CURRENCIES)  # 0: not about the size
    twice = [*elements[:3], elements[1]]
    for bad in ([], elements, twice, "x", 7, True, {}, {"0": elements[0]}, elements[0]):
        code, pointers = verdict(changed(example, pointer, bad))
        assert (code, pointers) == ("invalid", {pointer}), repr(bad)


@pytest.mark.parametrize(("name", "pointer", "array"), fields_of(Array))
def test_a_bad_element_of_an_array_is_named(name: str, pointer: str, array: Array) -> None:
    wrong: list[Any] = [7, True, []]
    for bad in wrong:
        elements = [array.unlike(0), bad]
        code, pointers = verdict(changed(TYPES[name].example, pointer, elements))
        assert (code, pointers) == ("invalid", {f"{pointer}/1"}), repr(bad)


@pytest.mark.parametrize(("name", "pointer", "what"), fields_of(Object))
def test_an_object_is_not_something_else(name: str, pointer: str, what: Object) -> None:
    for bad in NOT_OBJECTS:
        statement = changed(TYPES[name].example, pointer, bad)
        assert verdict(statement) == ("invalid", {pointer}), repr(bad)
    empty = changed(TYPES[name].example, pointer, {})
    if what.may_be_empty:
        check(empty)
    else:
        assert verdict(empty)[0] == "invalid"


PLACES = [("disbursement", "/recipient"), *((name, "") for name in TYPES)] + [
    (name, pointer)
    for name, type_ in TYPES.items()
    for pointer, what in type_.fields.items()
    if isinstance(what, Object)
]


@pytest.mark.parametrize(("name", "pointer"), PLACES, ids=["".join(place) for place in PLACES])
def test_an_unknown_field_is_refused_in_every_object(name: str, pointer: str) -> None:
    for field, token in {"x": "x", "Type": "Type", "a/b~c": "a~1b~0c", "": ""}.items():
        statement = copy.deepcopy(TYPES[name].example)
        at(statement, pointer)[field] = 1
        assert verdict(statement) == ("invalid", {f"{pointer}/{token}"})


# -- types


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_a_type_that_is_not_enforced_yet_is_not_supported(name: str) -> None:
    assert verdict({"type": name, "ref": "r-1"}) == ("not_supported", {"/type"})


def test_the_unsupported_types_are_the_rest_of_the_format() -> None:
    assert set("key currency".split()) == UNSUPPORTED


@pytest.mark.parametrize("value", ["", "Donation", "donation\n", "gift", *NOT_TEXTS], ids=repr)
def test_a_type_that_is_none(value: Any) -> None:
    assert verdict(donation(type=value)) == ("invalid", {"/type"})


def test_a_missing_type() -> None:
    assert verdict(removed(donation(), "/type")) == ("invalid", {"/type"})


@pytest.mark.parametrize("value", ["x", 7, True, [], [donation()]], ids=repr)
def test_a_statement_is_an_object(value: Any) -> None:
    assert verdict(value) == ("invalid", {""})


# -- rules over several fields


@pytest.mark.parametrize("kind", ["individual", "pooled"])
def test_only_a_donor_that_is_an_organisation_has_a_party(kind: str) -> None:
    check(donation(donor={"kind": kind}))
    wrong = donation(donor={"kind": kind, "party": "yayasan"})
    assert verdict(wrong) == ("invalid", {"/donor/party"})
    assert verdict(donation(donor={"kind": "organisation"})) == ("invalid", {"/donor/party"})


@pytest.mark.parametrize(
    "recipient",
    [
        {},
        {"group": "mothers"},
        {"group": "mothers", "count": 40},
        {"group": "mothers", "area": "ID-5303"},
        {"count": 40, "area": "ID-5303"},
        {"party": "posyandu", "area": "ID-5303"},
        {"party": "posyandu", "group": "mothers", "count": 40, "area": "ID-5303"},
    ],
    ids=lambda r: "+".join(r) or "nothing",
)
def test_a_recipient_is_a_party_or_a_whole_group(recipient: Statement) -> None:
    statement = changed(TYPES["disbursement"].example, "/recipient", recipient)
    assert verdict(statement) == ("invalid", {"/recipient"})


def test_a_report_is_on_a_fund_or_a_programme() -> None:
    example = TYPES["report"].example
    programme = removed(example, "/fund") | {"programme": "gizi"}
    check(programme)
    assert ("programme", "gizi") in mentions(programme)
    for bad in ID.bad:
        assert verdict(programme | {"programme": bad}) == ("invalid", {"/programme"}), repr(bad)
    assert verdict(example | {"programme": "gizi"}) == ("invalid", {"/programme"})
    assert verdict(removed(example, "/fund")) == ("invalid", {"/fund"})


def test_goods_need_no_value() -> None:
    check(removed(removed(TYPES["goods_in"].example, "/estimated_value"), "/currency"))


def test_a_recipient_may_be_a_party() -> None:
    statement = TYPES["disbursement"].example | {"recipient": {"party": "posyandu"}}
    check(statement)
    for bad in ID.bad:
        wrong = changed(statement, "/recipient/party", bad)
        assert verdict(wrong) == ("invalid", {"/recipient/party"}), repr(bad)
    for bad in NOT_OBJECTS:
        assert verdict(statement | {"recipient": bad}) == ("invalid", {"/recipient"})


def test_keys_are_named_by_their_party() -> None:
    ours, theirs = key("yayasan"), key("yayasan-2")
    assert verdict(party("yayasan", keys=[ours.vkey, theirs.vkey])) == ("invalid", {"/keys"})
    assert verdict(party("yayasan", signed_only=True)) == ("invalid", {"/signed_only"})
    check(party("yayasan", signed_only=False))


def vkey(material: bytes) -> str:
    key_id = sha256(b"yayasan\n" + material).digest()[:4].hex()
    return f"yayasan+{key_id}+{b64encode(material).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        vkey(b"\1" + bytes(31) + b"\x80"),  # y = 0, of small order
        vkey(b"\1\1" + bytes(31)),  # the identity
        vkey(b"\1" + b"\xff" * 32),  # y beyond the field
        vkey(b"\1\2" + bytes(31)),  # not on the curve
        vkey(b"\4" + key("yayasan")._seed),  # a cosigner's type
        vkey(b"\1" + bytes(31)),  # a byte short
        key("yayasan").vkey.replace("+", "+0", 1),
        key("yayasan").vkey.upper(),
    ],
)
def test_a_key_that_is_no_good_ed25519_key(text: str) -> None:
    assert verdict(party("yayasan", keys=[text])) == ("invalid", {"/keys/0"})


SIG = key("yayasan").sign(donation(), "ledger.example", "kita")
OTHER_SIG = key("yayasan", 1).sign(donation(), "ledger.example", "kita")


@pytest.mark.parametrize(
    ("signatures", "pointers"),
    [
        ([], {"/signatures"}),
        ({}, {"/signatures"}),
        ([SIG, SIG], {"/signatures"}),
        ([SIG, key("yayasan").sign(donation(), "ledger.example", "lain")], {"/signatures"}),
        ([7], {"/signatures/0"}),
        ([SIG | {"at": "noon"}], {"/signatures/0/at"}),
        ([{"party": "yayasan"}], {"/signatures/0/sig"}),
        ([{"sig": SIG["sig"]}], {"/signatures/0/party"}),
        ([SIG | {"party": "ledger"}], {"/signatures/0/party"}),
        ([SIG, SIG | {"sig": SIG["sig"][:-1]}], {"/signatures/1/sig"}),
        ([SIG | {"sig": SIG["sig"] + "\n"}], {"/signatures/0/sig"}),
        ([SIG | {"sig": SIG["sig"][:-2] + "B="}], {"/signatures/0/sig"}),
        ([SIG | {"sig": "A" * 91 + "\u0661"}], {"/signatures/0/sig"}),
        ([SIG | {"sig": b64encode(bytes(67)).decode()}], {"/signatures/0/sig"}),
        ([SIG | {"sig": 5}], {"/signatures/0/sig"}),
        ([key(f"p{i}").sign(donation(), "o", "kita") for i in range(17)], {"/signatures"}),
    ],
)
def test_signatures_of_a_wrong_form(signatures: Any, pointers: set[str]) -> None:
    with pytest.raises(Refusal) as caught:
        check_signatures(signatures)
    assert caught.value.code == "invalid"
    assert {fault.pointer for fault in caught.value.faults} == pointers


def test_signatures_of_a_right_form() -> None:
    check_signatures([SIG, OTHER_SIG, key("lain").sign(donation(), "o", "kita")])
    check_signatures([key(f"p{i}").sign(donation(), "o", "kita") for i in range(16)])


def test_no_more_approvals_than_approvers() -> None:
    policy = {"approvals": {"from_amount": "1", "needed": 2, "approvers": ["satu"]}}
    assert verdict(fund("air", policy=policy)) == ("invalid", {"/policy/approvals/needed"})


@pytest.mark.parametrize("status", ["received", "not_received", "disputed"])
def test_a_part_is_said_of_what_came_in_part(status: str) -> None:
    statement = TYPES["acknowledgement"].example | {"status": status}
    assert verdict(statement) == ("invalid", {"/amount"})
    check(removed(statement, "/amount"))


# -- amounts and their currency


@pytest.mark.parametrize("code", ["XAU", "XXX", "ABC", "DEM"])
def test_a_currency_outside_the_table(code: str) -> None:
    for statement in (donation(currency=code), TYPES["fund"].example | {"currency": code}):
        assert verdict(statement) == ("unknown_currency", {"/currency"})


@pytest.mark.parametrize(
    ("code", "exponent"), [("JPY", 0), ("IDR", 2), ("KWD", 3), ("CLF", 4)], ids=str
)
def test_every_amount_has_at_most_the_decimals_of_its_currency(code: str, exponent: int) -> None:
    just = "1" if exponent == 0 else "1." + "0" * (exponent - 1) + "1"
    over = ("1." if exponent == 0 else just) + "0"
    gift = donation(currency=code, amount=just, fees=[{"kind": "platform", "amount": just}])
    check(gift)
    purse = TYPES["fund"].example | {"currency": code, "goal_amount": just}
    check(purse)
    assert verdict(gift | {"amount": over}) == ("invalid_amount", {"/amount"})
    fees = [{"kind": "platform", "amount": just}, {"kind": "payment", "amount": over}]
    assert verdict(gift | {"fees": fees}) == ("invalid_amount", {"/fees/1/amount"})
    assert verdict(purse | {"goal_amount": over}) == ("invalid_amount", {"/goal_amount"})


def test_the_decimals_of_a_refund_are_its_targets_to_judge() -> None:
    for name in ("refund", "return"):
        check(TYPES[name].example | {"amount": "1.0001"})


# -- several faults, and which code they lead to


def test_every_fault_is_listed() -> None:
    statement = donation(fund="-", currency="rp", occurred_at="now", channel="mail", tip="5")
    pointers = {"/fund", "/currency", "/occurred_at", "/channel", "/tip"}
    assert verdict(statement) == ("invalid", pointers)


def test_an_amount_at_fault_decides_the_code() -> None:
    statement = donation(amount=5, fund="-", fees=[{"kind": "tip", "amount": "0"}])
    pointers = {"/amount", "/fund", "/fees/0/kind", "/fees/0/amount"}
    assert verdict(statement) == ("invalid_amount", pointers)
    missing = removed(donation(fund="-"), "/amount")
    assert verdict(missing) == ("invalid", {"/amount", "/fund"})


def test_what_is_not_supported_yields_to_what_is_wrong() -> None:
    statement = donation(donor={"kind": "individual", "sd": ["x"], "holder": "x"})
    assert verdict(statement) == ("not_supported", {"/donor/sd", "/donor/holder"})
    assert verdict(statement | {"fund": "-"}) == ("invalid", {"/fund"})
    statement = donation(amount="0", donor={"kind": "individual", "sd": ["x"], "holder": "x"})
    assert verdict(statement) == ("invalid_amount", {"/amount"})


def test_the_currency_is_looked_up_after_the_spelling() -> None:
    assert verdict(donation(currency="XXX", fund="-")) == ("invalid", {"/fund"})
    assert verdict(donation(currency="XXX", amount="1.0001")) == ("unknown_currency", {"/currency"})


# -- the whole


def programme_of(size: int) -> Statement:
    """A programme whose canonical form is `size` bytes: many participants, and a title to fit."""
    people = [{"party": f"{i:063d}", "role": "funding"} for i in range(200)]
    while (room := size - len(canonical(programme("big", title="", participants=people)))) < 1:
        people.pop()
    return programme("big", title="x" * room, participants=people)


def test_a_statement_ends_at_16_kib() -> None:
    assert len(canonical(programme_of(STATEMENT_BYTES_MAX))) == 16 * 1024
    check(programme_of(STATEMENT_BYTES_MAX))
    assert verdict(programme_of(STATEMENT_BYTES_MAX + 1)) == ("invalid", {""})


def test_checking_changes_nothing() -> None:
    for type_ in TYPES.values():
        before = copy.deepcopy(type_.example)
        check(type_.example)
        assert type_.example == before


MENTIONED = {
    "genesis": set(),
    "party": {("party", "yayasan")},
    "programme": {
        ("programme", "bebas-stunting"),
        ("party", "dinkes"),
        ("party", "yayasan"),
        ("party", "posyandu"),
    },
    "fund": {
        ("fund", "air"),
        ("party", "yayasan"),
        ("party", "kita"),
        ("party", "lain"),
        ("programme", "bebas-stunting"),
        *(("party", f"p{i}") for i in range(8)),
    },
    "donation": {("fund", "air"), ("party", "yayasan")},
    "acknowledgement": {("party", "posyandu")},
    "attestation": {("party", "auditor"), ("fund", "air")},
    "disbursement": {("fund", "air")},
    "transfer": {("fund", "air"), ("fund", "desa")},
    "refund": set(),
    "return": set(),
    "goods_in": {("fund", "air")},
    "goods_out": {("fund", "air")},
    "report": {("fund", "air"), ("party", "yayasan")},
    "evidence": set(),
}


@pytest.mark.parametrize("name", TYPES)
def test_what_a_statement_mentions_is_what_filters_find_it_by(name: str) -> None:
    assert mentions(TYPES[name].example) == MENTIONED[name]


def test_a_recipient_is_mentioned() -> None:
    statement = TYPES["disbursement"].example | {"recipient": {"party": "posyandu"}}
    assert ("party", "posyandu") in mentions(statement)
