"""The example platform books each payment once, whatever is lost, late or killed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.liar import Liar, Told
from tests.platforms.place import OTHER_KEY, Place, noting, resigned
from tests.platforms.shop import (
    Notify,
    Shop,
    booked,
    midtrans,
    open_shop,
    settings,
)


@pytest.fixture
def shop(place: Place, liar: Liar, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(settings(place, liar.url, tmp_path / "memory")) as shop:
        yield shop


# -- once


def test_a_payment_that_is_notified_twice_is_booked_once(
    place: Place, notify: Notify, order: str
) -> None:
    first, again = notify(midtrans(order)).get_json(), notify(midtrans(order)).get_json()
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["index"] == again["index"]


def test_both_at_once_are_booked_once(place: Place, shop: Shop, order: str) -> None:
    together = threading.Barrier(8)

    def notify(_: int) -> tuple[int, Any]:
        together.wait()
        return shop.notify(midtrans(order))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(notify, range(8)))
    assert {status for status, _ in answers} == {200}
    assert len({document["index"] for _, document in answers}) == 1
    assert [document["replayed"] for _, document in answers].count(False) == 1


@pytest.mark.parametrize("sealed", [False, True], ids=["before it is sealed", "after it is sealed"])
def test_a_kill_between_received_and_booked_loses_nothing(
    place: Place, liar: Liar, tmp_path: Path, order: str, sealed: bool
) -> None:
    with open_shop(settings(place, liar.url, tmp_path)) as shop:

        def kill() -> None:
            shop.process.kill()
            shop.process.wait()

        def kill_before(method: str) -> None:
            if method == "POST":
                kill()
                liar.upstream = None  # it never arrives

        def kill_after(told: Told) -> Told:
            kill()
            return told

        if sealed:
            liar.on("POST", kill_after)
        else:
            liar.before = kill_before
        assert shop.notify(midtrans(order)) == (0, None)
    assert (booked(place, order) is not None) == sealed
    liar.honest(place.url)
    with open_shop(settings(place, liar.url, tmp_path)) as shop:
        status, document = shop.notify(midtrans(order))  # as the payment service does by itself
    assert (status, document["replayed"]) == (200, sealed)
    assert booked(place, order)["amount"] == "650000"


# -- a ledger that is down, busy or lies


def test_a_ledger_that_comes_up_in_time_is_no_trouble(
    place: Place, liar: Liar, shop: Shop, order: str
) -> None:
    liar.comes_up(place.url, after=2)
    assert shop.notify(midtrans(order))[0] == 200
    assert booked(place, order) is not None


def test_while_the_ledger_is_down_the_notification_is_not_taken(
    place: Place, liar: Liar, notify: Notify, order: str
) -> None:
    liar.upstream = None
    assert notify(midtrans(order)).status_code == 503
    liar.upstream = place.url
    assert notify(midtrans(order)).status_code == 200


def test_a_ledger_that_lies_is_not_believed(
    place: Place, liar: Liar, notify: Notify, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    liar.on("POST", noting(lambda note: resigned(note, OTHER_KEY)))
    assert notify(midtrans(order)).status_code == 500
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    for part in ("expected:", "found:", "can mean:", "do next:"):
        assert part in record.message


# -- counting afterwards


def test_a_day_is_reconciled(place: Place, app: Flask, notify: Notify, order: str) -> None:
    orders = [f"{order}-{number}" for number in range(7)]
    for number in range(5):
        assert notify(midtrans(orders[number])).status_code == 200
    runner = app.test_cli_runner()
    found = runner.invoke(args=["reconcile", "midtrans"], input="\n".join(orders))
    assert found.output == (
        f"7 orders, 5 booked, 2 missing\nmissing: {orders[5]}\nmissing: {orders[6]}\n"
    )
    assert found.exit_code == 1
    whole = runner.invoke(args=["reconcile", "midtrans"], input="\n".join(orders[:5]))
    assert (whole.exit_code, whole.output) == (0, "5 orders, 5 booked, 0 missing\n")
