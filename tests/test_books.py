"""The fold against the vectors of money and goods, and the laws nothing posted can break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.books import Books
from ledger.entry import canonical
from ledger.errors import Refusal
from ledger.money import CURRENCIES
from ledger.state import EmptyState, Party
from schemas.check import check_statement
from tests.support import vectors

SCENARIOS = [*vectors("books.json")["scenarios"], *vectors("goods.json")["scenarios"]]
TIME = "2026-01-05T09:00:00+07:00"


class KnownParties(EmptyState):
    """The vectors take parties and platforms as known."""

    def party(self, party_id: str) -> Party | None:
        return Party(0, party_id)


def pinned(step: dict[str, Any]) -> Any:
    return step.get("refused", step.get("goods", step.get("totals", [])))


def admit(books: Books, index: int, platform: str, statement: dict[str, Any]) -> Any:
    """What the vectors pin: the totals or goods, or the refusal's code."""
    try:
        check_statement(statement, len(canonical(statement)), CURRENCIES)
        return books.post(index, platform, statement)
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s["name"])
def test_scenarios(scenario: dict[str, Any]) -> None:
    books = Books(KnownParties(), CURRENCIES)
    for number, step in enumerate(scenario["steps"]):
        index = step.get("index", 10**6)
        if "refused" in step:
            index = 1 + max([s["index"] for s in scenario["steps"][:number] if "index" in s])
        got = admit(books, index, step["platform"], step["statement"])
        assert got == pinned(step), step


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s["name"])
def test_layered_books_fold_the_same(scenario: dict[str, Any]) -> None:
    """Each statement in a layer of its own, thrown away when refused, as the writer does."""
    books = Books(KnownParties(), CURRENCIES)
    index = 0
    for step in scenario["steps"]:
        layer = Books(books, CURRENCIES)
        got = admit(layer, index, step["platform"], step["statement"])
        assert got == pinned(step)
        if "refused" not in step:
            books.absorb(layer)
            index += 1


def many_holes() -> Iterator[dict[str, Any]]:
    """1,026 gifts of 1, every second one refunded: 513 holes."""
    fund: dict[str, Any] = {
        "type": "fund",
        "ref": "f",
        "id": "air",
        "title": "air",
        "owner": "yayasan",
    }
    yield fund | {"currency": "IDR", "platforms": ["kita"], "policy": {}, "status": "open"}
    for i in range(1026):
        money = {"amount": "1", "currency": "IDR", "occurred_at": TIME}
        yield {"type": "donation", "ref": f"d{i}", "fund": "air"} | money
    for i in range(1, 1026, 2):
        yield {"type": "refund", "ref": f"r{i}", "target": i, "amount": "1", "reason": "mistake"}


def test_money_in_too_many_pieces_is_refused() -> None:
    books = Books(KnownParties(), CURRENCIES)
    index = 0
    for statement in many_holes():
        assert isinstance(admit(books, index, "kita", statement), list)
        index += 1
    out: dict[str, Any] = {"type": "disbursement", "ref": "o", "fund": "air", "currency": "IDR"}
    out |= {"occurred_at": TIME, "category": "programme", "recipient": {"party": "posyandu"}}
    out["purpose"] = "nutrition"
    assert admit(books, index, "kita", out | {"amount": "513"}) == "too_fragmented"
    totals = admit(books, index, "kita", out | {"amount": "512"})
    assert len(totals[0]["spans"]) == 512
