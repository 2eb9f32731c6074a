"""The fold of this folder against the vectors, and the case too large for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .fold import Fold

VECTORS = Path(__file__).parent.parent / "vectors"
EXPONENTS = {"IDR": 2, "USD": 2, "JPY": 0, "KWD": 3}
MONEY, GOODS = (
    json.loads((VECTORS / name).read_text("utf-8"))["scenarios"]
    for name in ("books.json", "goods.json")
)
SCENARIOS: list[dict[str, Any]] = [*MONEY, *GOODS]


def test_the_files_are_whole() -> None:
    assert [len(MONEY), len(GOODS)] == [24, 15]
    assert [sum(len(s["steps"]) for s in some) for some in (MONEY, GOODS)] == [704, 186]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(scenario: dict[str, Any]) -> None:
    fold = Fold(EXPONENTS)
    for step in scenario["steps"]:
        index = fold.size
        answer = fold.post(step["platform"], step["statement"])
        context = step["statement"]
        if "refused" in step:
            assert (answer, fold.size) == (step["refused"], index), context
        else:
            pinned = step.get("goods", step.get("totals", []))
            assert (answer, index) == (pinned, step["index"]), context


def money(kind: str, ref: int, **more: Any) -> dict[str, Any]:
    when = "2026-01-05T09:00:00+07:00"
    return {"type": kind, "ref": f"r-{ref}", "occurred_at": when, **more}


def test_five_hundred_and_thirteen_holes_are_too_fragmented() -> None:
    fold = Fold(EXPONENTS)
    fund: dict[str, Any] = {"type": "fund", "ref": "f", "id": "air", "title": "air"}
    fund |= {
        "owner": "yayasan",
        "platforms": ["kita"],
        "currency": "IDR",
        "policy": {},
        "status": "open",
    }
    assert fold.post("kita", fund) == []
    for ref in range(1, 1027):
        gift = money("donation", ref, fund="air", amount="1", currency="IDR")
        assert isinstance(fold.post("kita", gift), list)
    for target in range(2, 1027, 2):
        back = money("refund", 2000 + target, target=target, amount="1", reason="donor_request")
        assert isinstance(fold.post("kita", back), list)
    out: dict[str, Any] = {"fund": "air", "currency": "IDR", "category": "programme"}
    out |= {"purpose": "nutrition", "recipient": {"party": "posyandu"}}
    assert fold.post("kita", money("disbursement", 1, **out)) == "invalid"
    assert fold.post("kita", money("disbursement", 5000, amount="513", **out)) == "too_fragmented"
    totals = fold.post("kita", money("disbursement", 5000, amount="512", **out))
    assert isinstance(totals, list)
    assert len(totals[0]["spans"]) == 512
    assert totals[0]["spans"][-1] == ["1022.00", "1023.00"]
    assert totals[0]["balance"] == "1.00"
