"""What the example platform books, and what it refuses: every notification is one or the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.example_platform.payments import ref_of
from docs.example_platform.webhook import Settings, create_app
from tests.liar import Liar
from tests.platforms.place import Place
from tests.platforms.shop import (
    EXAMPLE,
    SECRET,
    TOKEN,
    Notify,
    booked,
    midtrans,
    sample,
    settings,
    signed,
    xendit,
)
from tests.support import donation

# -- what is booked


def test_the_same_payment_is_the_same_amount_from_either_service(
    place: Place, notify: Notify, order: str
) -> None:
    """One writes "650000.00" and the other 650000; neither is ever a float."""
    assert notify(midtrans(order)).get_json()["booked"]
    assert notify(xendit(order), "xendit").get_json()["booked"]
    ours = booked(place, order)
    assert ours == donation(
        ref=ref_of("midtrans", order, SECRET),
        amount="650000",
        channel="qris",
        occurred_at="2026-01-05T09:06:13+07:00",
    )
    assert booked(place, order, "xendit") == donation(
        ref=ref_of("xendit", order, SECRET),
        amount="650000",
        channel="va",
        occurred_at="2026-01-05T02:06:13.000Z",
        fees=[{"kind": "payment", "amount": "4500"}],
    )


@pytest.mark.parametrize(
    ("amount", "exact"),
    [
        (650000, "650000"),
        ("650000.00", "650000"),
        ("650000.5", "650000.50"),
        ("0.10", "0.10"),
        ("999999999999999.99", "999999999999999.99"),  # as a float it would be 1000000000000000.0
    ],
)
def test_amounts_are_exact(
    place: Place, notify: Notify, order: str, amount: Any, exact: str
) -> None:
    fields = {"paid_amount": None, "fees_paid_amount": None}
    assert notify(xendit(order, amount=amount, **fields), "xendit").status_code == 200
    assert booked(place, order, "xendit")["amount"] == exact
    assert "fees" not in booked(place, order, "xendit")


def test_a_fraction_in_json_is_read_exactly(place: Place, notify: Notify, order: str) -> None:
    body = xendit(order, paid_amount=None).replace(b": 650000", b": 123456789012345.67")
    assert notify(body, "xendit").status_code == 200
    assert booked(place, order, "xendit")["amount"] == "123456789012345.67"


def test_the_order_and_the_donor_are_not_published(
    place: Place, notify: Notify, order: str
) -> None:
    assert notify(xendit(order), "xendit").status_code == 200
    text = json.dumps(booked(place, order, "xendit"))
    assert order not in text
    assert "donor@example.com" not in text
    assert ref_of("xendit", order, "another secret") not in text


NOTHING: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "pending": ("midtrans", lambda order: signed(sample("midtrans-pending", order_id=order))),
    "captured": ("midtrans", lambda order: midtrans(order, transaction_status="capture")),
    "expired": ("midtrans", lambda order: midtrans(order, transaction_status="expire")),
    "an invoice": (
        "xendit",
        lambda order: json.dumps(sample("xendit-expired", external_id=order)).encode(),
    ),
}


@pytest.mark.parametrize(("service", "body"), NOTHING.values(), ids=NOTHING)
def test_only_what_is_settled_is_booked(
    place: Place, notify: Notify, order: str, service: str, body: Callable[[str], bytes]
) -> None:
    answer = notify(body(order), service)
    assert (answer.status_code, answer.get_json()) == (200, {"booked": False})
    assert booked(place, order, service) is None


# -- what is refused


@pytest.mark.parametrize("name", ["midtrans-settlement", "midtrans-pending"])
def test_the_samples_are_signed_as_they_stand(notify: Notify, name: str) -> None:
    body = (EXAMPLE / "samples" / f"{name}.json").read_bytes()
    assert notify(body).status_code == 200
    for field, value in {
        "order_id": "INV-2",
        "status_code": "202",
        "gross_amount": "650000.01",
        "signature_key": "0" * 128,
    }.items():
        forged = json.dumps(sample(name, **{field: value})).encode()
        assert notify(forged).status_code == 403


def test_a_callback_without_the_token_is_refused(place: Place, notify: Notify, order: str) -> None:
    for token in ("", TOKEN[:-1], TOKEN + "x", "\xff"):
        assert notify(xendit(order), "xendit", token).status_code == 403
    assert booked(place, order, "xendit") is None


MIDTRANS_SHAPES: dict[str, dict[str, Any]] = {
    "an amount that is a number": {"gross_amount": 650000},
    "an amount in another spelling": {"gross_amount": "650.000,00"},
    "an amount with a sign": {"gross_amount": "-650000.00"},
    "Arabic digits": {"gross_amount": "\u0666\u0665"},
    "no amount": {"gross_amount": None},
    "no status": {"transaction_status": None},
    "a status of another time": {"transaction_status": "completed"},
    "money that went back": {"transaction_status": "refund"},
    "a settlement of another code": {"status_code": "201"},
    "no currency": {"currency": None},
    "no time": {"transaction_time": None},
    "a time with a zone": {"transaction_time": "2026-01-05T09:06:13+07:00"},
    "a time that does not exist": {"transaction_time": "2026-02-30 09:06:13"},
    "no order": {"order_id": None},
    "an order that cannot be printed": {"order_id": "\ud800"},
    "no signature": {"signature_key": None},
}
XENDIT_SHAPES: dict[str, dict[str, Any]] = {
    "no amount": {"amount": None},
    "an amount that is true": {"amount": True},
    "an amount by powers of ten": {"amount": 1e21},
    "another amount paid": {"paid_amount": 640000},
    "a time without a zone": {"paid_at": "2026-01-05T02:06:13"},
    "a status in small letters": {"status": "paid"},
    "no order": {"external_id": None},
    "a fee that is no amount": {"fees_paid_amount": "free"},
}
BODIES: dict[str, tuple[str, bytes]] = {
    "no JSON": ("midtrans", b"order_id=1"),
    "an array": ("xendit", b"[]"),
    "a field twice": ("xendit", b'{"amount": 1, "amount": 2}'),
    "nested without end": ("midtrans", b"[" * 60_000),
    "not a number": ("xendit", xendit("x").replace(b": 650000", b": NaN")),
}
for _name, _fields in MIDTRANS_SHAPES.items():
    _notification = sample("midtrans-settlement", **_fields)
    _body = signed(_notification) if _fields.get("order_id") != "\ud800" else b""
    if "signature_key" in _fields or not _body:
        _body = json.dumps(_notification).encode()
    BODIES[f"midtrans: {_name}"] = ("midtrans", _body)
for _name, _fields in XENDIT_SHAPES.items():
    BODIES[f"xendit: {_name}"] = ("xendit", json.dumps(sample("xendit-paid", **_fields)).encode())


@pytest.mark.parametrize(("service", "body"), BODIES.values(), ids=BODIES)
def test_an_unknown_shape_is_refused_loudly(
    notify: Notify, liar: Liar, caplog: pytest.LogCaptureFixture, service: str, body: bytes
) -> None:
    assert notify(body, service).status_code == 422
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("NOT BOOKED, unknown notification: ")
    assert liar.requests == []


def test_a_time_without_a_zone_is_refused_until_somebody_says_which(
    place: Place, tmp_path: Path, order: str
) -> None:
    unsaid = create_app(settings(place, place.url, tmp_path, zone=""))
    answer = unsaid.test_client().post("/notifications/midtrans", data=midtrans(order))
    assert answer.status_code == 422
    assert "PAYMENT_ZONE" in answer.get_json()["error"]
    said = create_app(settings(place, place.url, tmp_path, zone="Asia/Jayapura"))
    said.test_client().post("/notifications/midtrans", data=midtrans(order))
    assert booked(place, order)["occurred_at"] == "2026-01-05T09:06:13+09:00"


def test_what_the_ledger_refuses_is_loud(
    notify: Notify, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert notify(midtrans(order, currency="USD")).get_json() == {"error": "currency_mismatch"}
    assert notify(midtrans(order)).status_code == 200
    assert notify(midtrans(order, gross_amount="650001.00")).get_json() == {"error": "ref_conflict"}
    assert [r.message.startswith("NOT BOOKED") for r in caplog.records] == [True, True]


def test_every_setting_is_asked_for() -> None:
    with pytest.raises(SystemExit, match=r"set LEDGER_URL, .*, XENDIT_CALLBACK_TOKEN$"):
        Settings.of({})
