"""Stocks on disk: whatever is put in is found, however many, and after it was cut short."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import stocks
from ledger.goods import Stock, StockKey, format_quantity, parse_quantity
from ledger.stocks import StockFile

MANY = 3_000  # more than the slots a file begins with


def key(number: int) -> StockKey:
    return StockKey(f"fund-{number % 7}", f"item {number}", "KGM")


def stock(number: int, round_: int = 1) -> Stock:
    return Stock(round_, number * round_, 10**18 - 1 - number, number)


def test_many_are_found_again_and_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stocks, "_HELD", 50)
    with closing(StockFile()) as file:
        for round_ in (1, 2, 3):
            for number in range(MANY):
                if round_ < 3 or number % 5 == 0:
                    file[key(number)] = stock(number, round_)
        assert len(file) == MANY
        for number in range(MANY):
            assert file[key(number)] == stock(number, 2 if number % 5 else 3)
        assert file.get(StockKey("fund-0", "item 0", "XBX")) is None
        assert file.get(key(MANY)) is None


def test_it_is_the_same_when_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "stocks"
    whole: dict[StockKey, Stock] = {}
    for start in range(0, MANY, 700):
        with closing(StockFile(path)) as file:
            assert len(file) == len(whole)
            for number in range(start, start + 700):
                file[key(number)] = whole[key(number)] = stock(number)
            file[key(3)] = whole[key(3)] = stock(3, start + 2)
            file.apply(file.changed)
            file.flush()
    with closing(StockFile(path)) as file:
        assert all(file[one] == value for one, value in whole.items())
    assert [path.name for path in tmp_path.iterdir()] == ["stocks"]


def test_what_was_not_applied_is_not_there(tmp_path: Path) -> None:
    with closing(StockFile(tmp_path / "stocks")) as file:
        file[key(1)] = stock(1)
    with closing(StockFile(tmp_path / "stocks")) as file:
        assert (file.get(key(1)), len(file)) == (None, 0)


class Interrupted(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("writes", [0, 1, 600, 1_300])
def test_applied_again_after_it_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    first = {key(n): stock(n) for n in range(500)}
    second = {key(n): stock(n, 2) for n in range(400, MANY)}
    path = tmp_path / "stocks"
    with closing(StockFile(path)) as file:
        file.apply(first)
    done = 0

    def stopping(descriptor: int, data: bytes, place: int) -> int:
        nonlocal done
        done += 1
        if done > writes:
            raise Interrupted
        return pwrite(descriptor, data, place)

    pwrite = os.pwrite
    with monkeypatch.context() as patch, closing(StockFile(path)) as file:
        patch.setattr(os, "pwrite", stopping)
        with pytest.raises(Interrupted):
            file.apply(second)
    with closing(StockFile(path)) as file:
        file.apply(second)
        assert len(file) == MANY
        found: Mapping[StockKey, Stock] = file
        assert all(found[one] == value for one, value in {**first, **second}.items())


@given(st.integers(0, 10**18 - 1))
def test_a_quantity_has_one_shortest_spelling(millionths: int) -> None:
    text = format_quantity(millionths)
    whole, _, decimals = text.partition(".")
    assert str(int(whole)) == whole
    assert not decimals.endswith("0")
    assert text[-1] != "."
    if millionths:
        assert parse_quantity(text) == millionths
    else:
        assert text == "0"
