"""What a payment service says happened, read strictly: a notification of a shape that is not known
is refused, and never taken for one that has nothing to book.

The shapes are like those of Midtrans (HTTP notifications) and Xendit (invoice callbacks).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import sha256, sha512
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

AMOUNT = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,2}))?")
LOCAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
ZONED_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|[+-][0-9]{2}:[0-9]{2})"
)

# The status under which the money is there, and those under which there is nothing to book (yet).
# Any other, such as a refund or chargeback, is for a person to look at.
MIDTRANS_SETTLED = {"settlement"}
MIDTRANS_NOTHING = {"pending", "authorize", "capture", "deny", "cancel", "expire", "failure"}
XENDIT_SETTLED = {"PAID", "SETTLED"}
XENDIT_NOTHING = {"PENDING", "EXPIRED"}

MIDTRANS_CHANNELS = {
    "qris": "qris",
    "bank_transfer": "va",
    "echannel": "va",
    "gopay": "ewallet",
    "shopeepay": "ewallet",
    "credit_card": "card",
    "cstore": "cash",
}
XENDIT_CHANNELS = {
    "QR_CODE": "qris",
    "BANK_TRANSFER": "va",
    "EWALLET": "ewallet",
    "CREDIT_CARD": "card",
    "RETAIL_OUTLET": "cash",
}


class NotAuthentic(Exception):
    """Not from the payment service: the signature or token is wrong."""


class UnknownShape(Exception):
    """From the payment service, as it seems, but not of a shape that this program knows."""


class Payment(NamedTuple):
    """Money that came in. amount, fee: exact, in whole units of the currency, as the ledger takes
    them. occurred_at: with its zone."""

    service: str
    order_id: str
    amount: str
    currency: str
    occurred_at: str
    channel: str
    fee: str | None = None


def read_midtrans(body: bytes, server_key: str, zone: ZoneInfo | None) -> Payment | None:
    """The payment of a notification; None when there is nothing to book.

    zone: of its times, which name none. Raises NotAuthentic, UnknownShape.
    """
    notification = read_object(body)
    order_id, code, amount = (
        text(notification, name) for name in ("order_id", "status_code", "gross_amount")
    )
    expected = sha512(f"{order_id}{code}{amount}{server_key}".encode()).hexdigest()
    if not same(text(notification, "signature_key"), expected):
        raise NotAuthentic("signature_key is not that of this order")
    status = text(notification, "transaction_status")
    if status in MIDTRANS_NOTHING:
        return None
    # The signature covers the code and not the status: so they must agree.
    if status not in MIDTRANS_SETTLED or code != "200":
        raise UnknownShape(f"transaction_status {status!r} with status_code {code!r}")
    return Payment(
        "midtrans",
        order_id,
        exact_amount(amount),
        text(notification, "currency"),
        with_zone(text(notification, "transaction_time"), zone),
        MIDTRANS_CHANNELS.get(text(notification, "payment_type"), "other"),
    )


def read_xendit(body: bytes, token: str, callback_token: str) -> Payment | None:
    """The payment of a callback; None when there is nothing to book.

    token: of the header `x-callback-token`. Raises NotAuthentic, UnknownShape.
    """
    if not same(token, callback_token):
        raise NotAuthentic("x-callback-token is not ours")
    callback = read_object(body)
    order_id, status = text(callback, "external_id"), text(callback, "status")
    if status in XENDIT_NOTHING:
        return None
    if status not in XENDIT_SETTLED:
        raise UnknownShape(f"status {status!r}")
    amount = exact_amount(callback.get("amount"))
    if exact_amount(callback.get("paid_amount", callback.get("amount"))) != amount:
        raise UnknownShape("paid_amount is not amount")
    paid_at = text(callback, "paid_at")
    if not ZONED_TIME.fullmatch(paid_at):
        raise UnknownShape(f"paid_at {paid_at!r} is not a time with its zone")
    fee = exact_amount(callback.get("fees_paid_amount", 0))
    return Payment(
        "xendit",
        order_id,
        amount,
        text(callback, "currency"),
        paid_at,
        XENDIT_CHANNELS.get(text(callback, "payment_method"), "other"),
        None if fee == "0" else fee,
    )


def statement_of(payment: Payment, fund: str, ref_secret: str) -> dict[str, Any]:
    """The donation to post. It is the same for each notification of a payment, and must be: the
    ledger books a ref once, and refuses another statement under it."""
    statement = {
        "type": "donation",
        "ref": ref_of(payment.service, payment.order_id, ref_secret),
        "fund": fund,
        "amount": payment.amount,
        "currency": payment.currency,
        "occurred_at": payment.occurred_at,
        "channel": payment.channel,
    }
    if payment.fee is None:
        return statement
    return statement | {"fees": [{"kind": "payment", "amount": payment.fee}]}


def ref_of(service: str, order_id: str, ref_secret: str) -> str:
    """The ref of an order: public for ever, so that nobody without the secret learns the order."""
    return hmac_digest(ref_secret.encode(), f"{service}:{order_id}".encode(), sha256).hex()


# -- reading without guessing


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object. Numbers with a fraction become Decimal: money is never a float."""
    try:
        value = json.loads(
            body, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=unique
        )
    except (ValueError, RecursionError) as error:
        raise UnknownShape(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnknownShape("not a JSON object")
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object, of which none may stand twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise UnknownShape("a field stands twice")
    return members


def text(members: Mapping[str, Any], name: str) -> str:
    """A field that must be there, and be a text that can be printed and is not empty."""
    value = members.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise UnknownShape(f"{name} is missing, or not a text")
    return value


def exact_amount(value: Any) -> str:
    """One spelling of an amount: 650000, "650000.00" and "650000.0" are all "650000"."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise UnknownShape("an amount is missing, or not a number or text")
    match = AMOUNT.fullmatch(str(value))
    if match is None:
        raise UnknownShape(f"the amount {str(value)[:40]!r} is not spelled as one")
    whole, cents = match[1], (match[2] or "").ljust(2, "0")
    return whole if cents == "00" else f"{whole}.{cents}"


def with_zone(local: str, zone: ZoneInfo | None) -> str:
    """A time without a zone, in the one that it is known to be of."""
    if not LOCAL_TIME.fullmatch(local):
        raise UnknownShape(f"the time {local[:40]!r} is not spelled YYYY-MM-DD hh:mm:ss")
    if zone is None:
        raise UnknownShape(f"the time {local!r} has no zone; say with PAYMENT_ZONE which it is of")
    try:
        return datetime.fromisoformat(local).replace(tzinfo=zone).isoformat()
    except ValueError as error:
        raise UnknownShape(f"the time {local!r} does not exist") from error


def same(given: str, expected: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell how much of them is."""
    return compare_digest(given.encode("utf-8", "replace"), expected.encode())
