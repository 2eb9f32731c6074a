"""The vectors of money and goods through the API: statements in; totals or goods, or the
refusal's code, out."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ledger.audit import audit
from ledger.problems import STATUSES
from ledger.service import Ledger
from ledger.tlog.policy import Policy
from tests.support import (
    Api,
    Server,
    Statement,
    body_of,
    disbursement,
    donation,
    fund,
    party,
    refund,
    vectors,
)

SCENARIOS = [*vectors("books.json")["scenarios"], *vectors("goods.json")["scenarios"]]
OVER_HTTP = [
    "one fund, in and out",
    "in and out",
    "transfers between organisations",
    "fees given back",
]
NAMED = ("yayasan", "posyandu")  # the parties that the vectors take as known

# Send a body as a platform; the status and the parsed answer.
Send = Callable[[str, bytes], tuple[int, Any]]
Read = Callable[[str], Any]


def shifted(step: dict[str, Any], base: int) -> dict[str, Any]:
    """A step with every index counted from behind the `base` entries before the scenario."""
    step = copy.deepcopy(step)
    for name in {"target", "supersedes"} & step["statement"].keys():
        step["statement"][name] += base
    for line in (*step.get("totals", ()), *step.get("goods", ())):
        if "prev" in line:
            line["prev"] += base
    if "index" in step:
        step["index"] += base
    return step


def sums(carrier: dict[str, Any]) -> dict[str, Any]:
    """What an entry carries of the books, or is to carry."""
    return {name: carrier[name] for name in ("totals", "goods") if name in carrier}


def platforms_of(scenario: dict[str, Any]) -> list[str]:
    return sorted({step["platform"] for step in scenario["steps"]} | {"kita", "lain"})


def register(ledger: Ledger, scenario: dict[str, Any]) -> int:
    """Register whom the scenario names; how many entries there are then."""
    for platform in platforms_of(scenario):
        ledger.register_platform(platform)
    ledger.post("kita", [party(party_id) for party_id in NAMED])
    return ledger.store.size()


def run(scenario: dict[str, Any], base: int, send: Send, read: Read) -> None:
    """Post step by step, and hold every answer against what the vectors say."""
    size = base
    for step in (shifted(step, base) for step in scenario["steps"]):
        body = body_of(step["statement"])
        status, answer = send(step["platform"], body)
        if "refused" in step:
            code = step["refused"]
            assert (answer["code"], status) == (code, STATUSES.get(code, 422)), step
            assert all(error["pointer"].startswith("/statement") for error in answer["errors"])
        else:
            assert status == 201, (step, answer)
            assert [entry["index"] for entry in answer["entries"]] == [step["index"]]
            entry = read(f"/v1/entries/{step['index']}")["entry"]
            assert entry["statement"] == step["statement"]
            assert sums(entry) == sums(step)
            size += 1
        assert read("/v1/ledger")["size"] == size, "a refused statement changes nothing"
    for fund_id, (index, total) in last_totals(scenario, base).items():
        stands = read(f"/v1/funds/{fund_id}")
        assert (stands["totals_index"], stands["totals"]) == (index, total)


def last_totals(scenario: dict[str, Any], base: int) -> dict[str, tuple[int, Any]]:
    """By fund, where its newest position stands and what it is."""
    steps = [shifted(step, base) for step in scenario["steps"]]
    return {
        total["fund"]: (step["index"], total) for step in steps for total in step.get("totals", ())
    }


def through(client: Api) -> tuple[Send, Read]:
    def send(platform: str, body: bytes) -> tuple[int, Any]:
        response = client.send(body, platform)
        return response.status_code, response.get_json()

    return send, lambda path: client.get(path).get_json()


@pytest.fixture
def sound(client: Api) -> Iterator[Api]:
    """`client`, whose ledger must stand a full audit in the end."""
    yield client
    ledger = client.ledger
    assert audit(ledger.store, Policy.for_key(ledger.vkeys[0])).is_sound


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s["name"])
def test_scenario(scenario: dict[str, Any], sound: Api) -> None:
    run(scenario, register(sound.ledger, scenario), *through(sound))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s["name"])
def test_in_batches_the_totals_are_the_same(scenario: dict[str, Any], sound: Api) -> None:
    """Whatever a platform posts in a row goes as one batch, up to what would be refused."""
    base = register(sound.ledger, scenario)
    steps = [shifted(step, base) for step in scenario["steps"] if "refused" not in step]
    batch: list[dict[str, Any]] = []
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        batch.append(step)
        if following is None or following["platform"] != step["platform"]:
            sound.post(*(one["statement"] for one in batch), platform=step["platform"])
            batch = []
    for step in steps:
        entry = sound.get(f"/v1/entries/{step['index']}").get_json()["entry"]
        assert sums(entry) == sums(step)


@pytest.mark.parametrize("name", OVER_HTTP)
def test_scenario_over_http(name: str, ledger: Ledger, server: Server) -> None:
    [scenario] = [scenario for scenario in SCENARIOS if scenario["name"] == name]
    base = register(ledger, scenario)
    keys = {platform: ledger.create_key(platform).key for platform in platforms_of(scenario)}

    def send(platform: str, body: bytes) -> tuple[int, Any]:
        response = server.request("POST", "/v1/entries", body, keys[platform])
        return response.status, response.json()

    run(scenario, base, send, lambda path: json.loads(server.request("GET", path).data))


def test_money_in_more_than_512_pieces_is_refused(sound: Api) -> None:
    """The case that is too large for the file: 1,026 gifts of 1, every second one refunded."""
    sound.post(fund("air"))
    first = sound.ledger.store.size()
    gifts = [donation("air", f"d{i}", amount="1") for i in range(1026)]
    sound.post(*gifts[:1000])
    sound.post(*gifts[1000:])
    refunds = [refund(target, f"r{target}", amount="1") for target in range(first, first + 1026, 2)]
    sound.post(*refunds)

    def out(amount: str) -> Statement:
        return disbursement("air", f"out-{amount}", amount=amount)

    refused = sound.send(body_of(out("513")))
    assert (refused.status_code, refused.get_json()["code"]) == (422, "too_fragmented")
    [sealed] = sound.post(out("512"))["entries"]
    [total] = sound.get(f"/v1/entries/{sealed['index']}").get_json()["entry"]["totals"]
    assert len(total["spans"]) == 512
    assert total["spans"][-1] == ["1023.00", "1024.00"]
    assert total["balance"] == "1.00"
