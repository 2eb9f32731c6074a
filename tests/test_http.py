"""How HTTP says it: who may post, media types, sizes, methods, headers, and a real server."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from werkzeug.test import TestResponse

from ledger.errors import FormatError
from ledger.post import read_submission
from ledger.sequencer import Pending
from ledger.service import Ledger
from tests.support import (
    PLATFORM,
    TIME,
    Api,
    Server,
    body_of,
    donation,
    fund,
    party,
    problem,
)

BODY_MAX = 4 * 1024 * 1024


# -- who may post


def authorized(client: Api, value: str | None) -> TestResponse:
    headers = {} if value is None else {"Authorization": value}
    return client.http.post(
        "/v1/entries", data=body_of(fund("air")), content_type="application/json", headers=headers
    )


def test_posting_needs_a_key_that_is_known(client: Api) -> None:
    key = client.key(PLATFORM)
    wrong = [None, "", "Bearer", "Bearer ", key, f"Basic {key}", f"Bearer {key[:-1]}", "Bearer é"]
    wrong += [f"Bearer {key} {key}", f"Bearer  {key}", f"Bearer {key.upper()}", "Bearer amanah_"]
    for value in wrong:
        response = authorized(client, value)
        problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert client.ledger.store.size() == 2
    assert authorized(client, f"Bearer {key}").status_code == 201


def test_a_revoked_key_is_refused_and_the_next_one_is_good(client: Api) -> None:
    first, second = (client.ledger.create_key(PLATFORM) for _ in range(2))
    client.ledger.revoke_key(first.key_id)
    document = problem(authorized(client, f"Bearer {first.key}"), 401, "unauthorized")
    assert first.key_id in document["detail"]
    assert first.key not in document["detail"]
    assert authorized(client, f"Bearer {second.key}").status_code == 201


def test_a_key_without_scopes_may_not_post(client: Api) -> None:
    key = client.ledger.create_key(PLATFORM, scopes=())
    problem(authorized(client, f"Bearer {key.key}"), 403, "insufficient_scope")


def test_a_key_posts_as_its_platform(client: Api) -> None:
    client.key("lain")
    client.post(fund("air", owner="lain", platforms=["lain"]), platform="lain")
    entry = client.get("/v1/entries/3").get_json()["entry"]
    assert entry["platform"] == "lain"
    problem(client.send(body_of(donation())), 403, "forbidden")


def test_a_platform_with_the_longest_id_gets_a_key(ledger: Ledger) -> None:
    platform = "x" * 63
    assert ledger.create_key(platform).platform == platform
    assert ledger.store.registered("party", platform) == 1


# -- HTTP


@pytest.mark.parametrize(
    "kind", ["text/plain", "", "application/x-www-form-urlencoded", "text/json"]
)
def test_a_body_is_declared_to_be_json(client: Api, kind: str) -> None:
    headers = {"Authorization": f"Bearer {client.key(PLATFORM)}"}
    response = client.http.post(
        "/v1/entries", data=body_of(fund("air")), content_type=kind, headers=headers
    )
    problem(response, 415, "unsupported_media_type")


def test_a_charset_beside_the_media_type_is_no_matter(client: Api) -> None:
    headers = {"Authorization": f"Bearer {client.key(PLATFORM)}"}
    kind = "application/json; charset=utf-8"
    response = client.http.post(
        "/v1/entries", data=body_of(fund("air")), content_type=kind, headers=headers
    )
    assert response.status_code == 201


def test_a_body_ends_at_4_mib(client: Api) -> None:
    body = body_of(fund("air"))
    for size in (BODY_MAX + 1, BODY_MAX + 2, 3 * BODY_MAX):
        problem(client.send(body.ljust(size)), 413, "too_large")
    assert client.ledger.store.size() == 2
    assert client.send(body.ljust(BODY_MAX)).status_code == 201


NOWHERE = """
/nothing /v1 /v1/ /v1/entries/ /v1/entries/0/ /v1/entries/0/nothing /v1/funds/ /checkpoint/ /tile
/tile/ /healthz/ /V1/ledger /problems/nothing /static/x
""".split()


@pytest.mark.parametrize("path", NOWHERE)
def test_what_does_not_exist_is_404_and_redirects_nowhere(client: Api, path: str) -> None:
    problem(client.get(path, 404), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/entries", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/v1/entries/0", "GET, HEAD, OPTIONS"),
        ("POST", "/v1/funds", "GET, HEAD, OPTIONS"),
        ("PATCH", "/checkpoint", "GET, HEAD, OPTIONS"),
        ("POST", "/tile/0/000.p/1", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_and_says_which_are_allowed(
    client: Api, method: str, path: str, allowed: str
) -> None:
    response = client.http.open(path, method=method)
    problem(response, 405, "method_not_allowed")
    assert sorted(response.headers["Allow"].split(", ")) == allowed.split(", ")


READABLE = """
/ /v1/ledger /v1/entries /v1/entries/0 /v1/entries/0/receipt /v1/funds /v1/parties/kita
/v1/proofs/inclusion?index=0&size=1 /checkpoint /tile/0/000.p/1 /tile/entries/000.p/1
/healthz /readyz /problems /problems/stale /docs /openapi.json /static/page.css
""".split()


@pytest.mark.parametrize("path", [*READABLE, "/nothing", "/v1/entries/99", "/v1/entries?limit=0"])
def test_any_page_may_read_and_head_answers_as_get_without_the_body(client: Api, path: str) -> None:
    got, head = client.http.get(path), client.http.head(path)
    assert got.status_code == head.status_code
    assert got.headers["Access-Control-Allow-Origin"] == "*"
    assert got.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert head.data == b""
    of_the_request = {"X-Request-Id", "Content-Length"}
    assert {k: v for k, v in head.headers.items() if k not in of_the_request} == {
        k: v for k, v in got.headers.items() if k not in of_the_request
    }
    if got.status_code == 200:
        assert head.headers["Content-Length"] == str(len(got.data))


@pytest.mark.parametrize("path", ["/v1/ledger", "/nothing", "/docs", "/problems/stale"])
def test_every_answer_tells_browsers_what_it_may_not_do(client: Api, path: str) -> None:
    for response in (client.http.get(path), client.http.post(path), client.send(b"{")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy


def test_no_other_page_may_post(client: Api) -> None:
    assert "Access-Control-Allow-Origin" not in client.send(body_of(fund("air"))).headers
    preflight = client.http.options("/v1/entries", headers={"Origin": "https://example.org"})
    assert not any(name.startswith("Access-Control") for name in dict(preflight.headers))


@pytest.mark.parametrize("given", ["a", "7f3b-Z_.9", "x" * 64])
def test_a_request_id_is_taken_over(client: Api, given: str) -> None:
    assert client.get("/healthz", X_Request_Id=given).headers["X-Request-Id"] == given
    response = client.get("/nothing", 404, X_Request_Id=given)
    assert problem(response, 404, "not_found")["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<b>", "é", "a/b"])
def test_a_strange_request_id_is_replaced(client: Api, given: str) -> None:
    answered = client.get("/healthz", X_Request_Id=given).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{16}", answered)
    assert answered != client.get("/healthz", X_Request_Id=given).headers["X-Request-Id"]


# -- when the ledger itself is not well


def test_ready_says_how_far_the_ledger_is(client: Api) -> None:
    assert client.get("/readyz").get_json() == {"status": "ready", "size": 2}
    client.post(fund("air"))
    assert client.get("/readyz").get_json()["size"] == 3


def damage_mark(client: Api) -> None:
    client.ledger.store.paths.high_water.write_text("nonsense\n")


def raise_mark(client: Api) -> None:
    path = client.ledger.store.paths.high_water
    path.write_text(path.read_text().replace("2 ", "9 ", 1))


def turn_clock_back(client: Api) -> None:
    client.ledger.sequencer._clock = lambda: 0.0


@pytest.mark.parametrize(
    ("harm", "code"),
    [(damage_mark, "setup"), (raise_mark, "rolled_back"), (turn_clock_back, "clock")],
    ids=["setup", "rolled_back", "clock"],
)
def test_a_ledger_that_cannot_seal_says_503_and_why(
    client: Api, harm: Callable[[Api], None], code: str
) -> None:
    harm(client)
    for response in (client.http.get("/readyz"), client.send(body_of(fund("air")))):
        problem(response, 503, code)
        assert response.headers["Retry-After"] == "1"
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/ledger").get_json()["size"] == 2


def test_damage_in_our_own_bytes_is_our_error_and_not_the_clients(
    client: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(client.ledger.store.paths.database) as connection:
        connection.execute("UPDATE head SET checkpoint = x'00'")
    response = client.http.get("/v1/entries/0/receipt")
    document = problem(response, 500, "internal")
    assert document["request_id"] in capfd.readouterr().err
    assert "note" not in document["detail"]


def test_a_damaged_entry_that_is_posted_again_is_our_error(
    client: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    """And of nobody else: what rides on the same commit is sealed."""
    client.post(fund("air"))
    with sqlite3.connect(client.ledger.store.paths.database) as connection:
        connection.execute("UPDATE entries SET bytes = x'7b' WHERE rowid = 2")
    headers = {"Authorization": f"Bearer {client.key(PLATFORM)}"}
    response = client.http.post("/v1/entries", json={"statement": fund("air")}, headers=headers)
    document = problem(response, 500, "internal")
    said = capfd.readouterr().err
    assert document["request_id"] in said
    assert "a stored entry of 'kita' is damaged" in said
    ledger = client.ledger
    again, other = (
        Pending(PLATFORM, read_submission(body_of(one), ledger.currencies, ledger.now()))
        for one in (fund("air"), party("yayasan"))
    )
    ledger.sequencer.seal([again, other])
    assert other.result().entries[0].index == 3
    with pytest.raises(FormatError):
        again.result()


# -- over a real server


def test_over_a_real_server(ledger: Ledger, server: Server) -> None:
    """What the test client cannot show: the raw path, a body in chunks, and connections kept."""
    key = ledger.create_key(PLATFORM).key
    posted = server.request("POST", "/v1/entries", body_of(fund("air")), key)
    assert posted.status == 201, posted.data
    for path in ("//v1/ledger", "/v1//ledger", "//checkpoint", "/tile//0/000.p/1", "/v1/ledger/",
                 "/tile/0//000.p/1", "/tile/0/000.p/1/", "/%2e%2e/v1/ledger"):  # fmt: skip
        answer = server.request("GET", path)
        assert answer.status in (200, 404), (path, answer.data)
        assert "Location" not in answer.headers
    query = server.request("GET", "/v1/entries?fund=%ff%fe&limit=1")
    assert (query.status, query.json()["entries"]) == (200, [])
    good = body_of(donation())
    for more in (b" ", b"x", b" " * 100_000):
        too_long = iter([good.ljust(BODY_MAX), more])
        large = server.request("POST", "/v1/entries", too_long, key)
        assert (large.status, large.json()["code"]) == (413, "too_large")
    chunks = iter([good[:20], good[20:].ljust(BODY_MAX - 20)])
    assert server.request("POST", "/v1/entries", chunks, key).status == 201
    head = server.request("HEAD", "/v1/entries/3")
    assert (head.status, head.data) == (200, b"")
    assert (
        server.request("GET", "/v1/entries/3").json()["entry"]["statement"]["occurred_at"] == TIME
    )
    assert server.request("GET", "/checkpoint").data == ledger.store.checkpoint()


@pytest.mark.parametrize(
    ("second", "status"),
    [(("Authorization", "Bearer x"), 401), (("Content-Type", "text/plain"), 415)],
    ids=["two keys", "two media types"],
)
@pytest.mark.parametrize("comes_last", [False, True])
def test_a_header_that_stands_twice_is_not_the_one_we_like(
    ledger: Ledger, server: Server, second: tuple[str, str], status: int, comes_last: bool
) -> None:
    key = ledger.create_key(PLATFORM).key
    good = [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")]
    body = body_of(fund("air"))
    with closing(HTTPConnection(urlsplit(server.url).netloc)) as connection:
        connection.putrequest("POST", "/v1/entries")
        for header in [*good, second] if comes_last else [second, *good]:
            connection.putheader(*header)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        assert connection.getresponse().status == status


def test_a_query_in_raw_bytes_is_400(client: Api) -> None:
    response = client.http.get("/v1/entries", environ_overrides={"QUERY_STRING": "fund=\xff"})
    problem(response, 400, "invalid_query")
