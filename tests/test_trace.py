"""A trace is what becomes of every single unit of money, followed one by one."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import pytest

from ledger.books import Books
from ledger.errors import Refusal
from ledger.state import EmptyState
from ledger.views import trace as tracing
from ledger.views.trace import Step, trace
from tests.support import (
    Api,
    disbursement,
    donation,
    fund,
    party,
    problem,
    refund,
    returned,
    transfer,
)
from tests.view_logs import Kept

Entry = dict[str, Any]
Unit = list[int]  # entries that moved it, in order; it is the same object wherever it goes
FUNDS = ("a", "b", "c")
CURRENCIES = {"JPY": 0}


class World:
    """A random log, and every unit of money in it. line: fund -> who stands at each position."""

    def __init__(self, seed: int, n: int = 250) -> None:
        self.rng = random.Random(seed)
        self.books, self.entries = Books(EmptyState(), {}), list[Entry]()
        self.line: dict[str, list[Unit]] = {name: [] for name in FUNDS}
        self.moved: dict[int, list[Unit]] = {}  # entry -> what it moved, in the order of the line
        self.ended: dict[int, tuple[str, int | None, str]] = {}  # id of a unit -> where it is now
        self.back: dict[int, int] = {}
        self.post(
            {"type": "genesis", "ref": "genesis", "origin": "o", "currencies": CURRENCIES}, "ledger"
        )
        self.post(party("kita"))
        for name in FUNDS:
            self.post(fund(name, currency="JPY"))
        for number in range(n):
            self.post(self.statement(f"s-{number}"))

    def post(self, statement: Entry, platform: str = "kita") -> None:
        index = len(self.entries)
        try:
            totals = self.books.post(index, platform, statement)
        except Refusal:
            return
        entry = {"index": index, "platform": platform, "statement": statement, "totals": totals}
        self.entries.append(entry | {"recorded_at": "2026-01-05T09:00:00.000Z"})
        if totals:
            self.move(index, statement, totals)

    def statement(self, ref: str) -> Entry:
        pick, amount = self.rng.randrange(10), str(self.rng.randint(1, 12))
        money = {"amount": amount, "currency": "JPY"}
        one, two = self.rng.sample(FUNDS, 2)
        target = self.rng.randrange(len(self.entries))
        if pick < 4:
            return donation(one, ref, **money)
        if pick < 6:
            return transfer(one, two, ref, **money)
        if pick < 8:
            return disbursement(one, ref, **money)
        return (refund if pick == 8 else returned)(target, ref, amount=amount)

    def move(self, index: int, statement: Entry, totals: list[Entry]) -> None:
        """Each unit is in one place: on a line, or where it ended."""
        first = totals[0]
        if statement["type"] == "donation":
            units: list[Unit] = [[index] for _ in range(int(statement["amount"]))]
        elif statement["type"] == "return" and len(totals) == 1:
            start = self.back.get(statement["target"], 0)
            self.back[statement["target"]] = end = start + int(statement["amount"])
            units = self.moved[statement["target"]][start:end]
        else:
            units = [
                self.line[first["fund"]][at]
                for low, high in first["spans"]
                for at in range(int(low), int(high))
            ]
        self.moved[index] = list(units)
        into = totals[-1]
        came = statement["type"] in ("donation", "return", "transfer")
        if came:
            self.line[into["fund"]] += units
        for unit in units:
            if unit != [index]:
                unit.append(index)
            end_ = ("unspent", None) if came else (statement["type"], index)
            self.ended[id(unit)] = (*end_, into["fund"])


@pytest.fixture(scope="module", params=range(6))
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def each(steps: list[Step]) -> list[Step]:
    """One step for each unit."""
    return [step._replace(minor=1) for step in steps for _ in range(step.minor)]


@pytest.mark.parametrize("reach", [0, 120, 1_000])
def test_every_unit_is_where_the_trace_says(
    world: World, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "HOPS_MAX", 1_000)
    kept = Kept(world.entries)
    fold = kept.follow(min(reach, len(world.entries)), 50).tables.fold(len(world.entries))
    kinds = set()
    for index, units in world.moved.items():
        found = trace(fold, index, 0, 10_000)
        assert (found.minor, found.follow) == (len(units), None)
        kinds.add((found.question, world.entries[index]["statement"]["type"]))
        steps = each(found.steps)
        if found.question == "where_it_went":
            assert [(s.ended, s.entry, s.fund) for s in steps] == [
                world.ended[id(u)] for u in units
            ]
            for step, unit in zip(steps, units, strict=True):
                end = [] if step.entry is None else [step.entry]
                assert [index, *step.path, *end] == unit
        else:
            assert [(s.ended, s.entry) for s in steps] == [("donation", unit[0]) for unit in units]
    assert len(kinds) == 5


def test_pages_are_the_whole(world: World) -> None:
    fold = Kept(world.entries).tables.fold(len(world.entries))
    for index in world.moved:
        whole = trace(fold, index, 0, 10_000).steps
        for limit in (1, 3):
            pages, after = list[list[Step]](), 0
            while after is not None:
                page = trace(fold, index, after, limit)
                assert len(page.steps) <= limit
                pages.append(page.steps)
                after = page.follow  # type: ignore[assignment]
            assert each(list(chain(*pages))) == each(whole)


def test_hops_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "HOPS_MAX", 3)
    world = World(0, n=0)
    world.post(donation("a", "gift", amount="5", currency="JPY"))
    gift = len(world.entries) - 1
    for hop in range(6):
        ends = ("a", "b") if hop % 2 == 0 else ("b", "a")
        world.post(transfer(*ends, f"hop-{hop}", amount="5", currency="JPY"))
    fold = Kept(world.entries).tables.fold(len(world.entries))
    there = trace(fold, gift, 0, 10).steps
    assert there == [Step(5, (gift + 1, gift + 2, gift + 3), gift + 4, "hops", "a")]
    back = trace(fold, gift + 6, 0, 10).steps
    assert back == [Step(5, (gift + 5, gift + 4, gift + 3), gift + 2, "hops", "a")]


def test_over_http(client: Api) -> None:
    gift = client.post(fund("air"), fund("desa"), donation("air", amount="100"))["entries"][-1]
    client.post(transfer("air", "desa", amount="60"), disbursement("desa", amount="10.5"))
    at = gift["index"]
    answer = client.get(f"/v1/entries/{at}/trace?limit=2")
    assert answer.get_json() == {
        "index": at,
        "question": "where_it_went",
        "currency": "IDR",
        "amount": "100.00",
        "steps": [
            {
                "amount": "10.50",
                "ended": "disbursement",
                "fund": "desa",
                "entry": at + 2,
                "path": [at + 1],
            },
            {
                "amount": "49.50",
                "ended": "unspent",
                "fund": "desa",
                "entry": None,
                "path": [at + 1],
            },
        ],
        "next": "60.00",
        "as_of": answer.get_json()["as_of"],
    }
    following = f'</v1/entries/{at}/trace?limit=2&after=60.00>; rel="next"'
    assert answer.headers["Link"] == following
    rest = client.get(f"/v1/entries/{at}/trace?after=60.00").get_json()
    assert [(s["amount"], s["fund"], s["ended"]) for s in rest["steps"]] == [
        ("40.00", "air", "unspent")
    ]
    assert rest["next"] is None
    whose = client.get(f"/v1/entries/{at + 2}/trace").get_json()
    assert (whose["question"], whose["steps"][0]["entry"]) == ("whose_it_was", at)
    problem(client.get("/v1/entries/1/trace", 404), 404, "not_found")
    problem(client.get("/v1/entries/999/trace", 404), 404, "not_found")
    for after in ("x", "", "6.00000"):
        refused = client.get(f"/v1/entries/{at}/trace?after={after}", 400)
        problem(refused, 400, "invalid_query")
    problem(client.get(f"/v1/entries/{at}/trace?after=6", 404), 404, "not_found")  # it is 6.00
    assert client.get(f"/v1/entries/{at}/trace?after=100.00").get_json()["steps"] == []
