"""Signatures over HTTP: their refusals, and the one post that needs no API key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ledger.audit import audit
from ledger.tlog.policy import Policy
from tests.signers import Post, acknowledgement, key, keyed, signed
from tests.support import Api, Server, Statement, disbursement, donation, fund, pointers, problem

CLINIC = "klinik"


def send(client: Api, *posts: Post, **headers: str) -> TestResponse:
    """Post without an API key."""
    body = json.dumps(posts[0] if len(posts) == 1 else {"entries": posts})
    return client.http.post(
        "/v1/entries", data=body, content_type="application/json", headers=headers
    )


@pytest.fixture
def paid(client: Api) -> Any:
    """An entry by which a party with a key was paid."""
    post = signed(keyed(CLINIC), CLINIC)
    assert client.send(json.dumps(post).encode()).status_code == 201
    client.post(fund("air"), donation())
    out = disbursement(recipient={"party": CLINIC})
    return client.post(out)["entries"][0]


def said(paid: Any, status: str = "disputed", ref: str = "ack") -> Statement:
    return acknowledgement(paid["index"], bytes.fromhex(paid["leaf_hash"]), CLINIC, ref) | {
        "status": status
    }


@pytest.mark.parametrize(
    ("statement", "by", "status", "code", "where"),
    [
        (donation(), ["nobody"], 422, "unknown_reference", "/signatures/0/party"),
        (donation(), [key(CLINIC, 1)], 422, "signature_invalid", "/signatures/0"),
        (donation(), [CLINIC, key(CLINIC, 1)], 422, "signature_invalid", "/signatures/1"),
        (keyed("baru", 1), [CLINIC], 422, "signature_required", "/signatures"),
        (
            keyed("baru") | {"keys": [type(key("x")).of("baru", key(CLINIC)._seed).vkey]},
            [],
            409,
            "key_taken",
            "/statement/keys/0",
        ),
    ],
)
def test_refused(
    client: Api, paid: Any, statement: Statement, by: list[Any], status: int, code: str, where: str
) -> None:
    post = signed(statement | {"ref": "new"}, *by) if by else {"statement": statement}
    right = {"statement": donation(ref="right")}
    document = problem(client.send(json.dumps(post).encode()), status, code)
    assert pointers(document) == [where]
    batch = json.dumps({"entries": [right, post]}).encode()
    assert pointers(problem(client.send(batch), status, code)) == [f"/entries/1{where}"]


def test_an_entry_shows_who_signed(client: Api, paid: Any) -> None:
    post = signed(donation(ref="signed"), CLINIC)
    answer = client.send(json.dumps(post).encode()).get_json()
    index = answer["entries"][0]["index"]
    entry = client.get(f"/v1/entries/{index}").get_json()["entry"]
    assert entry["signatures"] == post["signatures"]
    raw = client.get(f"/v1/entries/{index}", Accept="application/octet-stream").get_data()
    assert raw == json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def test_no_platform_can_suppress_a_dispute(client: Api, paid: Any) -> None:
    post = signed(said(paid), CLINIC, platform=CLINIC)
    answer = send(client, post)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    index = answer.get_json()["entries"][0]["index"]
    assert client.get(f"/v1/entries/{index}").get_json()["entry"]["platform"] == CLINIC
    again = send(client, post)
    assert (again.status_code, again.get_json()["entries"][0]["index"]) == (200, index)
    ledger = client.ledger
    assert audit(ledger.store, Policy.for_key(ledger.vkeys[0])).is_sound


def test_a_dispute_is_taken_by_a_real_server(server: Server, ledger: Any) -> None:
    """On the event loop, where nobody has a key."""
    ledger.register_platform("kita")
    ledger.post("kita", [signed(keyed(CLINIC), CLINIC)])
    ledger.post("kita", [fund("air"), donation()])
    [entry] = ledger.post("kita", [disbursement(recipient={"party": CLINIC})]).entries
    statement = acknowledgement(entry.index, entry.leaf_hash, CLINIC, status="not_received")
    for platform, status in (("kita", 422), (CLINIC, 201)):
        post = json.dumps(signed(statement, CLINIC, platform=platform))
        assert server.request("POST", "/v1/entries", post).status == status


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("nothing signed", 401, "unauthorized"),
        ("signed by another", 401, "unauthorized"),
        ("a batch", 401, "unauthorized"),
        ("another type", 401, "unauthorized"),
        ("too large", 401, "unauthorized"),
        ("for a platform", 422, "signature_invalid"),
        ("by a key it has not", 422, "signature_invalid"),
        ("of another leaf", 422, "wrong_target"),
        ("an old key beside", 401, "unauthorized"),
        ("a fault in it", 422, "invalid"),
    ],
)
def test_everything_else_needs_a_key(
    client: Api, paid: Any, change: str, status: int, code: str
) -> None:
    size = client.ledger.store.size()
    statement, headers = said(paid), {}
    posts = [signed(statement, CLINIC, platform=CLINIC)]
    if change == "nothing signed":
        posts = [{"statement": statement}]
    elif change == "signed by another":
        posts = [signed(statement, "yayasan", platform=CLINIC)]
    elif change == "a batch":
        posts.append(signed(said(paid, ref="b"), CLINIC, platform=CLINIC))
    elif change == "another type":
        posts = [signed(donation(ref="acknowledgement"), CLINIC, platform=CLINIC)]
        posts[0]["statement"]["channel"] = "cash"
        assert '"acknowledgement"' in json.dumps(posts)
    elif change == "too large":
        posts[0]["statement"]["evidence"] = [{"sha256": "x" * 70_000}]
    elif change == "for a platform":
        posts = [signed(statement, CLINIC)]
    elif change == "by a key it has not":
        posts = [signed(statement, key(CLINIC, 1), platform=CLINIC)]
    elif change == "of another leaf":
        posts = [signed(statement | {"target_leaf": "ab" * 32}, CLINIC, platform=CLINIC)]
    elif change == "an old key beside":
        headers = {"Authorization": "Bearer amanah_gone"}
    else:
        posts[0]["statement"]["status"] = "lost"
    problem(send(client, *posts, **headers), status, code)
    assert client.ledger.store.size() == size
