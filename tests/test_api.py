"""Posting over the API: what is sealed, what is answered, and what is refused without a trace."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.entry import canonical
from ledger.errors import REFUSALS
from ledger.problems import STATUSES
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.merkle import verify_inclusion
from ledger.tlog.policy import Policy
from ledger.tlog.proof import parse_proof
from tests.support import (
    Api,
    Statement,
    body_of,
    disbursement,
    donation,
    fund,
    goods,
    party,
    pointers,
    problem,
    programme,
    refund,
    returned,
    transfer,
)


def traces(client: Api) -> tuple[Any, ...]:
    """Everything by which a refused post could be noticed."""
    pages = ("/v1/ledger", "/v1/funds", "/v1/parties", "/v1/programmes", "/v1/entries")
    store = client.ledger.store
    uri = f"file:{store.paths.database}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        tables = [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("entries", "refs", "terms", "tiles", "head", "undone", "holes", "funds")
        ]
    mark = store.paths.high_water.read_bytes()
    return client.get("/checkpoint").data, *(client.get(p).data for p in pages), *tables, mark


# -- what is sealed


def test_a_post_is_answered_with_its_place_under_a_signed_checkpoint(client: Api) -> None:
    response = client.send(body_of(fund("air")))
    assert response.status_code == 201
    assert response.content_type == "application/json"
    assert "no-store" in response.headers["Cache-Control"]
    answer = response.get_json()
    data = client.get("/v1/entries/2", Accept="application/octet-stream").data
    assert answer["entries"] == [
        {
            "index": 2,  # the genesis and the platform's own party stand before it
            "leaf_hash": sha256(b"\0" + data).hexdigest(),
            "replayed": False,
            "links": {"self": "/v1/entries/2", "receipt": "/v1/entries/2/receipt"},
        }
    ]
    checkpoint = open_checkpoint(answer["checkpoint"].encode(), client.ledger.vkeys[0])
    assert (checkpoint.size, checkpoint.root) == (3, client.ledger.store.tip().root)


def test_the_statement_is_sealed_as_it_was_posted(client: Api) -> None:
    """Nothing is normalised, defaulted or dropped; only the spelling of the JSON is canonical."""
    statement = fund("air", title="Air “bersih” / e\u0301 🌾 <b>", goal_amount="1000.5")
    spelled = json.dumps({"statement": dict(reversed(statement.items()))}, indent=2).encode()
    assert client.send(b"\r\n\t " + spelled).status_code == 201
    data = client.get("/v1/entries/2", Accept="application/octet-stream").data
    assert b'"statement":' + canonical(statement) + b"}" in data


def test_a_batch_is_sealed_in_its_order(client: Api) -> None:
    answer = client.post(party("yayasan"), fund("air", owner="yayasan"), donation(), refund(4))
    assert [entry["index"] for entry in answer["entries"]] == [2, 3, 4, 5]
    entries = [client.get(f"/v1/entries/{i}").get_json()["entry"] for i in range(2, 6)]
    types = [entry["statement"]["type"] for entry in entries]
    assert types == ["party", "fund", "donation", "refund"]
    assert len({entry["recorded_at"] for entry in entries}) == 1
    checkpoint = open_checkpoint(answer["checkpoint"].encode(), client.ledger.vkeys[0])
    assert checkpoint.size == 6


def test_a_batch_may_hold_one_post_and_a_thousand(client: Api) -> None:
    single = json.dumps({"entries": [{"statement": fund("air")}]}).encode()
    assert client.send(single).status_code == 201
    answer = client.post(*(donation(ref=f"d{i}") for i in range(1000)))
    assert [entry["index"] for entry in answer["entries"]] == list(range(3, 1003))


def test_the_receipt_is_there_at_once_and_proves_the_entry(client: Api) -> None:
    """Both forms, after every post, through all shapes a tree of up to 24 leaves has."""
    policy = Policy.for_key(client.ledger.vkeys[0])
    client.post(fund("air"))
    for index in range(3, 24):
        [sealed] = client.post(donation(ref=f"d{index}"))["entries"]
        leaf = bytes.fromhex(sealed["leaf_hash"])
        proof = parse_proof(client.get(sealed["links"]["receipt"]).data)
        assert proof.index == sealed["index"] == index
        assert proof.verify(leaf, policy).size == index + 1
        data = client.get(sealed["links"]["self"], Accept="application/octet-stream").data
        assert proof.extra == data
        asked = client.get(sealed["links"]["receipt"], Accept="application/json").get_json()
        checkpoint = open_checkpoint(asked["checkpoint"].encode(), client.ledger.vkeys[0])
        assert (checkpoint.size, checkpoint.root.hex()) == (asked["size"], asked["root"])
        hashes = [bytes.fromhex(hash_) for hash_ in asked["proof"]]
        verify_inclusion(leaf, asked["index"], asked["size"], hashes, checkpoint.root)
        assert canonical(asked["entry"]) == data
        assert asked["leaf_hash"] == sealed["leaf_hash"]
        assert asked["witnessed"] is False


# -- sent again


def test_the_same_post_again_is_answered_with_its_first_entry(client: Api) -> None:
    client.post(fund("air"))
    first = client.post(donation())
    before = traces(client)
    respelled = json.dumps({"statement": donation()}, indent=1, sort_keys=True).encode()
    for body in (body_of(donation()), respelled):
        response = client.send(body)
        assert response.status_code == 200
        again = response.get_json()
        assert again["entries"] == [first["entries"][0] | {"replayed": True}]
        checkpoint = open_checkpoint(again["checkpoint"].encode(), client.ledger.vkeys[0])
        assert checkpoint.size == 4
    assert traces(client) == before


def test_a_batch_sent_again_with_more_seals_the_rest(client: Api) -> None:
    client.post(fund("air"))
    client.post(donation(ref="a"), donation(ref="b"))
    batch = [
        donation(ref="c"),
        donation(ref="b"),
        donation(ref="d"),
        fund("air"),
        donation(ref="a"),
    ]
    response = client.send(body_of(*batch))
    assert response.status_code == 201
    entries = response.get_json()["entries"]
    places = [(entry["index"], entry["replayed"]) for entry in entries]
    assert places == [(5, False), (4, True), (6, False), (2, True), (3, True)]
    response = client.send(body_of(*batch))
    assert response.status_code == 200
    assert [entry["index"] for entry in response.get_json()["entries"]] == [5, 4, 6, 2, 3]


def test_a_ref_used_for_another_statement_names_the_entry_it_has(client: Api) -> None:
    client.post(fund("air"), donation(), donation(ref="other"))
    before = traces(client)
    alone = problem(client.send(body_of(donation(amount="1001"))), 409, "ref_conflict")
    assert (alone["index"], pointers(alone)) == (3, ["/statement/ref"])
    batch = body_of(donation(ref="new"), donation(amount="1001"))
    within = problem(client.send(batch), 409, "ref_conflict")
    assert (within["index"], pointers(within)) == (3, ["/entries/1/statement/ref"])
    assert traces(client) == before


def test_each_platform_has_its_own_refs(client: Api) -> None:
    client.key("lain")
    client.post(fund("air", platforms=["kita", "lain"]), donation(ref="same"))
    [entry] = client.post(donation(ref="same"), platform="lain")["entries"]
    assert (entry["index"], entry["replayed"]) == (5, False)


@pytest.mark.parametrize("amount", ["1000", "2000"], ids=["the same", "another"])
def test_one_ref_twice_in_a_batch_is_refused(client: Api, amount: str) -> None:
    client.post(fund("air"))
    before = traces(client)
    batch = body_of(donation(ref="a"), donation(ref="b"), donation(ref="a", amount=amount))
    document = problem(client.send(batch), 422, "duplicate_ref")
    assert pointers(document) == ["/entries/2/statement/ref"]
    assert traces(client) == before


# -- all or none

GOOD = [party("yayasan"), programme("p", lead="yayasan"), fund("air", owner="yayasan"), donation()]
LAST: dict[str, tuple[Statement, str, str]] = {
    "at the door, for its spelling": (donation(ref="x", fund="-"), "invalid", "/fund"),
    "at the door, for its amount": (donation(ref="x", amount="0"), "invalid_amount", "/amount"),
    "at the door, for a person's number": (
        donation(ref="4111111111111111"),
        "personal_data_suspected",
        "/ref",
    ),
    "under the lock, for its ref": (donation(amount="1"), "duplicate_ref", "/ref"),
    "under the lock, for its fund": (donation("udara", ref="x"), "unknown_reference", "/fund"),
    "under the lock, for the balance": (
        disbursement(ref="x", amount="1001"),
        "insufficient_funds",
        "/amount",
    ),
}


@pytest.mark.parametrize(("last", "code", "where"), LAST.values(), ids=LAST)
def test_a_refused_batch_leaves_no_trace(
    client: Api, last: Statement, code: str, where: str
) -> None:
    before = traces(client)
    document = problem(client.send(body_of(*GOOD, last)), 422, code)
    assert pointers(document) == [f"/entries/4/statement{where}"]
    assert traces(client) == before
    answer = client.post(*GOOD)  # nothing of it was taken, not even the refs
    assert [(e["index"], e["replayed"]) for e in answer["entries"]] == [
        (2, False),
        (3, False),
        (4, False),
        (5, False),
    ]


def test_the_first_refused_post_decides(client: Api) -> None:
    """Whether the door or the books refuse it, and whatever is wrong behind it."""
    client.post(fund("air"), donation(ref="taken"))
    right, spelling = donation(ref="right"), donation(ref="s", amount="0")
    unknown, taken = donation("udara", ref="u"), donation(ref="taken", amount="7")
    person = donation(ref="4111111111111111")
    cases: list[tuple[list[Statement], int, str, str]] = [
        ([right, unknown, spelling], 422, "unknown_reference", "/entries/1/statement/fund"),
        ([right, spelling, unknown], 422, "invalid_amount", "/entries/1/statement/amount"),
        ([taken, spelling, unknown], 409, "ref_conflict", "/entries/0/statement/ref"),
        ([spelling, taken, person], 422, "invalid_amount", "/entries/0/statement/amount"),
        ([right, right, spelling], 422, "duplicate_ref", "/entries/1/statement/ref"),
        ([person, unknown], 422, "personal_data_suspected", "/entries/0/statement/ref"),
        ([unknown, person], 422, "unknown_reference", "/entries/0/statement/fund"),
    ]
    before = traces(client)
    for batch, status, code, where in cases:
        document = problem(client.send(body_of(*batch)), status, code)
        assert pointers(document) == [where]
    assert traces(client) == before


def test_what_is_unreadable_anywhere_comes_before_all(client: Api) -> None:
    wrong = body_of(donation("udara", ref="u"), donation(ref="x", amount="AMOUNT"))
    for spelled, where in ((b"1.5", ["/entries/1/statement/amount"]), (b"nothing", None)):
        body = wrong.replace(b'"AMOUNT"', spelled)
        document = problem(client.send(body), 400, "malformed")
        assert ("errors" in document and pointers(document)) == (where or False)


# -- refused: every code with its status and place


def air(**more: Any) -> list[Statement]:
    """A fund with one donation of 1,000 in it, at indexes 2 and 3."""
    return [fund("air", **more), donation()]


REFUSED: dict[str, tuple[list[Statement], Statement, str]] = {
    "invalid": ([], donation(fund="-"), "/fund"),
    "invalid_amount": ([], donation(amount=1000), "/amount"),
    "not_supported": ([], donation(donor={"kind": "individual", "sd": ["x"]}), "/donor/sd"),
    "unknown_currency": ([], donation(currency="XXX"), "/currency"),
    "personal_data_suspected": ([], fund("air", title="budi@example.org"), "/title"),
    "ref_conflict": (air(), donation(amount="1"), "/ref"),
    "unknown_reference": (air(), refund(9), "/target"),
    "wrong_target": (air(), refund(2), "/target"),
    "self_transfer": (air(), transfer("air", "air"), "/to_fund"),
    "forbidden": (air(platforms=["lain"])[:1], donation(), ""),
    "fund_closed": (air(status="closed")[:1], donation(), "/fund"),
    "stale": (air(), fund("air", ref="again", supersedes=1), "/supersedes"),
    "immutable_field": (
        air(),
        fund("air", ref="again", supersedes=2, currency="USD"),
        "/currency",
    ),
    "currency_mismatch": (air(), donation(ref="x", currency="USD"), "/currency"),
    "cap_loosened": (
        air(policy={"cost_cap_bp": 5}),
        fund("air", ref="again", supersedes=2, policy={"cost_cap_bp": 6}),
        "/policy/cost_cap_bp",
    ),
    "fees_exceed_amount": (
        air(),
        donation(ref="x", fees=[{"kind": "platform", "amount": "1000.01"}]),
        "/fees",
    ),
    "exceeds_original": (air(), refund(3, amount="1000.01"), "/amount"),
    "insufficient_funds": (air(), disbursement(amount="1000.01"), "/amount"),
    "insufficient_stock": (
        [fund("air"), goods("goods_in", "air", "in", "1.5")],
        goods("goods_out", "air", "out", "1.500001"),
        "/quantity",
    ),
    "cost_cap_exceeded": (
        air(policy={"cost_cap_bp": 0}),
        disbursement(category="operational"),
        "/amount",
    ),
    "evidence_required": (
        [*air(), fund("desa")],
        transfer("air", "desa", basis="authority"),
        "/evidence",
    ),
}
# malformed and duplicate_ref have tests above; too_fragmented is in test_scenarios.py, and what is
# said of signatures in test_signed_posts.py.
SIGNED = {"key_taken", "approval_required", "signature_invalid", "signature_required"}
ELSEWHERE = {"malformed", "duplicate_ref", "too_fragmented", "amount_too_large", *SIGNED}


def test_every_code_has_a_case_and_a_status() -> None:
    assert REFUSED.keys() | ELSEWHERE == REFUSALS.keys()
    assert {code for code in REFUSALS if STATUSES.get(code, 422) == 409} == {
        "key_taken",
        "ref_conflict",
        "stale",
    }
    assert STATUSES["forbidden"] == 403
    assert STATUSES["malformed"] == 400


@pytest.mark.parametrize(("code", "case"), REFUSED.items(), ids=REFUSED)
def test_refused(client: Api, code: str, case: tuple[list[Statement], Statement, str]) -> None:
    """Alone and within a batch: the code, its status, and where."""
    before, statement, where = case
    client.key("lain")
    if before:
        # The other platform's party stands between; targets in the table do not count it.
        statement = statement | {
            name: statement[name] + 1 for name in {"target", "supersedes"} & statement.keys()
        }
        client.post(*before)
    left = traces(client)
    alone = problem(client.send(body_of(statement)), STATUSES.get(code, 422), code)
    assert pointers(alone) == [f"/statement{where}"]
    batch = body_of(party("yayasan"), statement)
    within = problem(client.send(batch), STATUSES.get(code, 422), code)
    assert pointers(within) == [f"/entries/1/statement{where}"]
    assert traces(client) == left


@pytest.mark.parametrize(
    "character", ["\n", "\x7f", "\x85", "\u202e", "\ufeff", "\uffff", "\U0001fffe"]
)
def test_a_character_that_no_text_holds(client: Api, character: str) -> None:
    """It is spelling: of a text `invalid`, of an amount `invalid_amount`, escaped or raw."""
    text, amount = disbursement(purpose=f"a{character}b"), donation(amount=f"5{character}")
    for statement, code in ((text, "invalid"), (amount, "invalid_amount")):
        for raw in (False, True):
            body = json.dumps({"statement": statement}, ensure_ascii=not raw).encode()
            problem(client.send(body), 422, code)


def test_an_amount_too_large_for_the_books(client: Api) -> None:
    client.post(fund("air", currency="CLF"))  # of four decimals, so 15 digits are too many
    response = client.send(body_of(donation(currency="CLF", amount="9" * 15)))
    problem(response, 422, "amount_too_large")


SHAPES: dict[str, tuple[Any, str, list[str]]] = {
    "an array": ([], "invalid", [""]),
    "a text": ("statement", "invalid", [""]),
    "a number": (7, "invalid", [""]),
    "nothing": ({}, "invalid", [""]),
    "a bare statement": (donation(), "invalid", [""]),
    "no object as the statement": ({"statement": [donation()]}, "invalid", ["/statement"]),
    "more beside the statement": (
        {"statement": donation(), "z": 1, "a/b": 2},
        "invalid",
        ["/a~1b", "/z"],
    ),
    "no signatures": ({"statement": donation(), "signatures": []}, "invalid", ["/signatures"]),
    "no disclosures": (
        {"statement": donation(), "disclosures": []},
        "invalid",
        ["/disclosures"],
    ),
    "no posts": ({"entries": []}, "invalid", ["/entries"]),
    "no array of posts": ({"entries": {"statement": donation()}}, "invalid", ["/entries"]),
    "1,001 posts": (
        {"entries": [{"statement": donation(ref=f"d{i}")} for i in range(1001)]},
        "invalid",
        ["/entries"],
    ),
    "more beside the posts": (
        {"entries": [{"statement": donation()}], "statement": donation(), "~": 1},
        "invalid",
        ["/statement", "/~0"],
    ),
    "a bare statement among the posts": (
        {"entries": [{"statement": fund("udara")}, donation()]},
        "invalid",
        ["/entries/1"],
    ),
}


@pytest.mark.parametrize(("document", "code", "where"), SHAPES.values(), ids=SHAPES)
def test_a_body_of_another_shape(client: Api, document: Any, code: str, where: list[str]) -> None:
    client.post(fund("air"))
    before = traces(client)
    answer = problem(client.send(json.dumps(document).encode()), 422, code)
    assert pointers(answer) == where
    assert traces(client) == before


UNREADABLE = {
    "nothing": b"",
    "cut off": b"{",
    "no UTF-8": b"\xff",
    "a key without UTF-8": rb'{"\ud800":1}',
    "a key twice": b'{"entries":[],"entries":[]}',
    "a key twice in a statement": body_of(donation()).replace(b'"ref"', b'"type"'),
    "a float": body_of(donation(amount=1.5)),
    "NaN beside the statement": b'{"statement":{},"signatures":NaN}',
    "null beside the posts": b'{"entries":[{}],"x":null}',
    "a lone surrogate in a text": body_of(disbursement(purpose="a\ud800b")),
    "a lone surrogate in an amount": body_of(donation(amount="\udfff")),
    "minus zero as a target": body_of(refund(7)).replace(b"7", b"-0"),
    **{f"{depth} deep": b'{"statement":' + b"[" * depth + b"]" * depth + b"}"
       for depth in (16, 100, 500, 900, 990, 100_000)},
    **{f"{depth} deep within": b'{"statement":{"type":"party","x":' + b'{"x":' * depth + b"1"
       + b"}" * depth + b"}}" for depth in (15, 100, 300, 450, 900, 100_000)},
}  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_body(client: Api, body: bytes) -> None:
    problem(client.send(body), 400, "malformed")


def test_a_genesis_cannot_be_posted(client: Api) -> None:
    genesis = client.get("/v1/entries/0").get_json()["entry"]["statement"]
    problem(client.send(body_of(genesis)), 403, "forbidden")


# -- time

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("zone", ["+00:00", "+14:00", "-14:00"])
@pytest.mark.parametrize(("ahead", "status"), [(4 * MINUTE, 201), (6 * MINUTE, 422)], ids=str)
def test_nothing_happened_more_than_five_minutes_from_now(
    client: Api, zone: str, ahead: timedelta, status: int
) -> None:
    client.post(fund("air"))
    offset = timedelta(hours=int(zone[:3]))
    moment = client.ledger.now() + ahead + offset
    response = client.send(body_of(donation(occurred_at=f"{moment:%Y-%m-%dT%H:%M:%S}{zone}")))
    assert response.status_code == status, response.data
    if status == 422:
        assert pointers(problem(response, 422, "invalid")) == ["/statement/occurred_at"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59.999-00:30"])
def test_anything_may_have_happened_long_ago(client: Api, moment: str) -> None:
    client.post(fund("air"), donation(occurred_at=moment))


def test_the_far_future_is_refused(client: Api) -> None:
    statement = donation(occurred_at="9999-12-31T23:59:59.999-14:00")
    problem(client.send(body_of(statement)), 422, "invalid")


def test_a_return_over_the_api(client: Api) -> None:
    client.post(*air(), disbursement())
    [entry] = client.post(returned(4))["entries"]
    [total] = client.get(f"/v1/entries/{entry['index']}").get_json()["entry"]["totals"]
    assert (total["returned"], total["balance"]) == ("1000.00", "1000.00")
