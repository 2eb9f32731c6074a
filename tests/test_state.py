"""What a store keeps of an entry is what the books remember of it; positions, and spans."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.books import Books
from ledger.errors import Refusal
from ledger.money import CURRENCIES, LIMIT_MINOR
from ledger.spans import free, joined, lowest
from ledger.state import COUNTERS, Position, movement_of
from tests.support import donation, fund
from tests.test_books import SCENARIOS, KnownParties, admit


def opened() -> Books:
    """Books with the one fund `air`."""
    books = Books(KnownParties(), CURRENCIES)
    assert admit(books, 0, "kita", fund("air")) == []
    return books


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s["name"])
def test_undoing_an_entry_asks_the_same_of_its_bytes_as_of_the_books(
    scenario: dict[str, Any],
) -> None:
    """The writer starts again from sealed entries, an auditor goes on in its fold."""
    books = Books(KnownParties(), CURRENCIES)
    for step in scenario["steps"]:
        if "refused" in step:
            continue
        index, statement = step["index"], step["statement"]
        totals = admit(books, index, step["platform"], statement)
        assert movement_of(statement, totals, CURRENCIES) == books.movement(index)


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_gift_that_fees_took_whole_left_nothing_on_the_line(earlier: int) -> None:
    books = opened()
    for index in range(1, 1 + earlier):
        admit(books, index, "kita", donation(ref=f"gift-{index}"))
    gift = donation(amount="3", fees=[{"kind": "platform", "amount": "3"}])
    totals = admit(books, 2, "kita", gift)
    assert totals[0]["spans"] == []
    stored, folded = movement_of(gift, totals, CURRENCIES), books.movement(2)
    assert stored is not None
    assert folded is not None
    assert stored.start == stored.end
    assert folded.start == folded.end
    assert stored._replace(start=0, end=0) == folded._replace(start=0, end=0)


def test_fees_of_one_kind_add_up() -> None:
    books = opened()
    kinds = {"platform": ("1", "2"), "payment": ("4", "8.5")}
    fees = [{"kind": kind, "amount": a} for kind, amounts in kinds.items() for a in amounts]
    gift = donation(amount="100", fees=fees)
    (total,) = totals = admit(books, 1, "kita", gift)
    assert (total["platform_fees"], total["payment_fees"]) == ("3.00", "12.50")
    assert (total["balance"], total["spans"]) == ("84.50", [["0.00", "84.50"]])
    stored = movement_of(gift, totals, CURRENCIES)
    assert stored == books.movement(1)
    assert stored is not None
    assert (stored.platform_fees, stored.payment_fees) == (300, 1250)


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_position_is_the_same_when_only_its_counters_were_stored(counter: str) -> None:
    """Balance and the end of the line follow from the counters alone."""
    before = Position().moved(1, {"donated": 500}).moved(2, {"transferred_in": 300}, cursor=7)
    after = before.moved(3, {"payment_fees": 0, counter: 20})
    assert after == Position.stored(3, 3, 7, after.counters)
    assert after.balance == before.balance + 20 * COUNTERS[counter]
    assert after.counters == {**before.counters, counter: before.count(counter) + 20}


@pytest.mark.parametrize("minor", [LIMIT_MINOR - 1, LIMIT_MINOR])
def test_no_counter_and_no_line_reaches_10_to_the_18(minor: int) -> None:
    half = LIMIT_MINOR // 2
    most = Position().moved(1, {"donated": half}).moved(2, {"returned": half - 1})
    rest = {"transferred_in": minor - (LIMIT_MINOR - 1)}
    for position, changes in ((Position(), {"donated": minor}), (most, rest)):
        if minor < LIMIT_MINOR:
            assert position.moved(3, changes).line_end == minor
        else:
            with pytest.raises(Refusal) as caught:
                position.moved(3, changes)
            assert caught.value.code == "amount_too_large"
            assert [fault.pointer for fault in caught.value.faults] == ["/amount"]


def test_a_balance_below_zero_is_a_bug_and_no_refusal() -> None:
    with pytest.raises(AssertionError):
        Position().moved(1, {"disbursed": 1})
    assert Position().moved(1, {"donated": 1}).moved(2, {"disbursed": 1}).balance == 0


# -- spans

LINE = st.lists(st.integers(0, 30), max_size=12, unique=True).map(
    lambda ends: [(a, b) for a, b in pairwise(sorted(ends))][::2]
)


def units(spans: Iterable[tuple[int, int]]) -> list[int]:
    return [unit for low, high in spans for unit in range(low, high)]


@given(st.integers(0, 30), st.integers(0, 30), LINE)
def test_free_is_what_no_hole_covers(start: int, end: int, holes: list[tuple[int, int]]) -> None:
    found = list(free(start, end, holes))
    assert units(found) == sorted(set(range(start, end)) - set(units(holes)))
    assert all(low < high for low, high in found)


@given(LINE, st.integers(0, 40))
def test_the_lowest_are_the_first_so_many(spans: list[tuple[int, int]], length: int) -> None:
    pieces, missing = lowest(spans, length)
    assert units(pieces) == units(spans)[:length]
    assert missing == length - len(units(pieces))
    assert all(low < high for low, high in pieces)


@given(LINE, st.randoms())
def test_joined_pieces_are_the_same_units_and_never_touch(
    spans: list[tuple[int, int]], random: Random
) -> None:
    pieces = [(unit, unit + 1) for unit in units(spans)]
    random.shuffle(pieces)
    found = joined(pieces)
    assert units(found) == units(spans)
    assert all(one[1] < other[0] for one, other in pairwise(found))
