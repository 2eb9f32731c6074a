"""Rates: so many requests a minute for each API key and each address, whoever answers them."""

from __future__ import annotations

import asyncio
import re

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from ledger.asgi import Application
from ledger.errors import RateLimited
from ledger.limits import SLOTS, TABLE_BYTES, WINDOW_S, Limiter, party_of
from ledger.metrics import Metrics
from ledger.service import Ledger
from tests.support import PLATFORM, Api, Server, body_of, donation, fund, party, running_server
from tests.test_asgi import JSON, Asked, ask


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def limiter(quota: int | None, clock: Clock, table: bytearray | None = None) -> Limiter:
    return Limiter({"key": quota}, memoryview(table or bytearray(TABLE_BYTES)), clock)


def left(headers: tuple[tuple[str, str], ...]) -> tuple[int, int]:
    """What `RateLimit` says: requests left, and seconds until all are back."""
    match = re.fullmatch(r'"key";r=(\d+);t=(\d+)', dict(headers)["RateLimit"])
    assert match is not None
    return int(match[1]), int(match[2])


def taken(limiter: Limiter, who: str = "a") -> int:
    """How many requests `who` may make now."""
    for count in range(1_000):
        try:
            limiter.take("key", who)
        except RateLimited:
            return count
    raise AssertionError("no limit is met")


def test_a_whole_quota_at_once_and_then_what_comes_back() -> None:
    clock = Clock()
    limited = limiter(60, clock)
    assert taken(limited) == 60
    clock.now += 10
    assert taken(limited) == 10
    clock.now += 10 * WINDOW_S  # no more is saved up than one quota
    assert taken(limited) == 60
    assert taken(limited, "somebody else") == 60


def test_the_headers_count_down_to_a_refusal_that_says_how_long() -> None:
    clock = Clock()
    limited = limiter(3, clock)
    said = [limited.take("key", "a") for _ in range(3)]
    assert {dict(headers)["RateLimit-Policy"] for headers in said} == {'"key";q=3;w=60'}
    assert [left(headers) for headers in said] == [(2, 20), (1, 40), (0, 60)]
    with pytest.raises(RateLimited) as refused:
        limited.take("key", "a")
    assert left(refused.value.headers) == (0, 60)
    wait_s = int(dict(refused.value.headers)["Retry-After"])
    clock.now += wait_s - 0.01
    assert taken(limited) == 0
    clock.now += 0.01
    assert taken(limited) == 1


def test_no_rate_is_no_limit_and_says_nothing() -> None:
    limited = limiter(None, Clock())
    assert {limited.take("key", "a") for _ in range(100)} == {()}


def test_two_processes_with_one_table_have_one_rate() -> None:
    clock, table = Clock(), bytearray(TABLE_BYTES)
    one, other = limiter(10, clock, table), limiter(10, clock, table)
    for limited in (one, other) * 5:
        limited.take("key", "a")
    assert taken(one) == taken(other) == 0


def test_any_number_of_addresses_takes_no_memory_and_hardly_ever_meets() -> None:
    clock, table = Clock(), bytearray(TABLE_BYTES)
    limited = limiter(1, clock, table)
    assert sum(taken(limited, f"10.0.{i >> 8}.{i & 255}") for i in range(2_000)) > 1_900
    assert len(table) == SLOTS * 8


@pytest.mark.parametrize(
    ("address", "party"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:nobody", "unix:nobody"),
        ("", ""),
    ],
)
def test_an_address_belongs_to_one_party(address: str, party: str) -> None:
    assert party_of(address) == party


# -- as clients meet them


def application_of(app: Flask, **rates: int | None) -> Application:
    limited = Limiter(
        {"key": None, "address": None} | rates, memoryview(bytearray(TABLE_BYTES)), Clock()
    )
    return Application(app, limited, Metrics(CollectorRegistry()))


def test_a_key_beyond_its_rate_posts_nothing(client: Api, app: Flask) -> None:
    keys = [{"Authorization": f"Bearer {client.key(name)}", **JSON} for name in (PLATFORM, "lain")]
    application = application_of(app, key=2, address=1)

    def post(headers: dict[str, str], ref: str) -> int:
        answer = asyncio.run(ask(application, Asked("POST", "/v1/entries", headers, body(ref))))
        assert "ratelimit" in answer.headers
        if answer.status == 429:
            assert b'"code":"rate_limited"' in answer.body
            assert int(answer.headers["retry-after"]) == 30
        return answer.status

    def body(ref: str) -> bytes:
        return body_of(party(ref))

    size = client.ledger.store.size()
    assert [post(keys[0], f"p{i}") for i in range(4)] == [201, 201, 429, 429]
    assert [post(keys[1], f"q{i}") for i in range(3)] == [201, 201, 429]
    assert client.ledger.store.size() == size + 4


def test_guessing_keys_and_reading_count_for_the_address(client: Api, app: Flask) -> None:
    application = application_of(app, address=3)
    guess = Asked("POST", "/v1/entries", {**JSON, "Authorization": "Bearer amanah_x"}, b"{}")
    asked = [guess, Asked("GET", "/v1/ledger"), guess, guess, Asked("GET", "/v1/ledger")]
    answers = [asyncio.run(ask(application, one)) for one in asked]
    assert [answer.status for answer in answers] == [401, 200, 401, 429, 429]
    assert answers[-1].headers["access-control-allow-origin"] == "*"
    good = {**JSON, "Authorization": f"Bearer {client.key(PLATFORM)}"}
    assert asyncio.run(ask(application, Asked("POST", "/v1/entries", good, b"{"))).status == 400


def test_a_rate_is_one_for_all_processes_and_the_proxys_word_counts_if_it_is_trusted(
    ledger: Ledger,
) -> None:
    """Each request over a connection of its own, so that both processes answer some."""
    key = ledger.create_key(PLATFORM).key
    ledger.post(PLATFORM, [fund("air")])

    def get(server: Server, address: str) -> int:
        headers = {"X-Forwarded-For": address, "Connection": "close"}
        return server.request("GET", "/v1/ledger", headers=headers).status

    rates = {"AMANAH_ADDRESS_RATE": "20", "AMANAH_KEY_RATE": "20"}
    trusting = rates | {"FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with running_server(ledger.store.paths.database, more=trusting) as server:
        statuses = [get(server, "203.0.113.1") for _ in range(30)]
        assert statuses.count(200) >= 20  # one comes back every three seconds
        assert statuses.count(429) == 30 - statuses.count(200) > 0
        assert get(server, "203.0.113.2") == 200
        posted = [
            server.request(
                "POST",
                "/v1/entries",
                body_of(donation(ref=f"d{i}")),
                key,
                {"Connection": "close", "X-Forwarded-For": f"198.51.100.{i}"},
            ).status
            for i in range(30)
        ]
        assert posted.count(201) >= 20
        assert posted.count(429) == 30 - posted.count(201) > 0
    distrusting = rates | {"FORWARDED_ALLOW_IPS": ""}
    with running_server(ledger.store.paths.database, more=distrusting) as server:
        statuses = [get(server, f"203.0.113.{i}") for i in range(30)]
        assert 429 in statuses
