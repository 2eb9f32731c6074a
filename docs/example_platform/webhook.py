"""The web application that payment services notify: flask --app docs.example_platform.webhook run

A notification is answered 200 only after its payment is booked and that is proved. There is no
queue of our own: whatever fails or is killed before leaves the notification unanswered, and the
payment service sends it again. The ledger books a ref once, however often that happens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple
from zoneinfo import ZoneInfo

import click
from flask import Flask, request

import amanah

from .payments import (
    NotAuthentic,
    Payment,
    UnknownShape,
    read_midtrans,
    read_xendit,
    ref_of,
    statement_of,
)

Answer = tuple[dict[str, object], int]


class Settings(NamedTuple):
    """From the environment, in capitals. ledger_memory: a directory, where the client remembers
    the ledger's newest checkpoint. payment_zone: of times that name none, such as Asia/Jakarta;
    when it is empty, those are refused."""

    ledger_url: str
    ledger_api_key: str
    ledger_platform: str
    ledger_vkey: str
    ledger_memory: str
    fund: str
    ref_secret: str
    midtrans_server_key: str
    xendit_callback_token: str
    payment_zone: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        settings = cls(*(environment.get(name.upper(), "") for name in cls._fields))
        needed = settings._replace(payment_zone="none")._asdict()
        if missing := [name.upper() for name, value in needed.items() if not value]:
            raise SystemExit(f"set {', '.join(missing)}")
        return settings


def create_app(settings: Settings | None = None) -> Flask:
    """The application. settings: from the environment when not given."""
    known = settings or Settings.of(os.environ)
    client = amanah.Client(
        known.ledger_url,
        known.ledger_api_key,
        known.ledger_platform,
        vkey=known.ledger_vkey,
        memory=known.ledger_memory,
    )
    zone = ZoneInfo(known.payment_zone) if known.payment_zone else None
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024

    def book(payment: Payment | None) -> Answer:
        if payment is None:
            return {"booked": False}, 200
        proved = client.post(statement_of(payment, known.fund, known.ref_secret))
        return {"booked": True, "index": proved.index, "replayed": proved.replayed}, 200

    @app.post("/notifications/midtrans")
    def midtrans() -> Answer:
        body = request.get_data()
        return book(read_midtrans(body, known.midtrans_server_key, zone))

    @app.post("/notifications/xendit")
    def xendit() -> Answer:
        token = request.headers.get("x-callback-token", "")
        return book(read_xendit(request.get_data(), token, known.xendit_callback_token))

    # Whatever is not booked is answered with an error, which the payment service shows in its
    # list of failed notifications and sends again, and is logged for a person to see.

    @app.errorhandler(NotAuthentic)
    def not_authentic(error: NotAuthentic) -> Answer:
        app.logger.warning("refused: %s", error)
        return {"error": str(error)}, 403

    @app.errorhandler(UnknownShape)
    def unknown_shape(error: UnknownShape) -> Answer:
        app.logger.error("NOT BOOKED, unknown notification: %s", error)
        return {"error": str(error)}, 422

    @app.errorhandler(amanah.Refusal)
    def refused(error: amanah.Refusal) -> Answer:
        app.logger.error("NOT BOOKED, the ledger refuses it: %s: %s", error.code, error)
        return {"error": error.code}, 422

    @app.errorhandler(amanah.Unreachable)
    def unreachable(error: amanah.Unreachable) -> Answer:
        app.logger.warning("not booked yet: %s", error)
        return {"error": "the ledger does not answer; send it again"}, 503

    @app.errorhandler(amanah.LedgerError)
    def wrong(error: amanah.LedgerError) -> Answer:
        app.logger.critical("%s: %s", error.code, error)
        return {"error": error.code}, 500

    @app.cli.command("reconcile")
    @click.argument("service", type=click.Choice(["midtrans", "xendit"]))
    @click.argument("file", type=click.File("rb"), default="-")
    def reconcile(service: str, file: BinaryIO) -> None:
        """Count which of a day's paid orders are on the ledger: an order id a line, in FILE."""
        orders = file.read().decode().split()
        refs = {ref_of(service, order, known.ref_secret): order for order in orders}
        result = client.reconcile(refs)
        click.echo(
            f"{len(refs)} orders, {len(result.booked)} booked, {len(result.missing)} missing"
        )
        for ref in result.missing:
            click.echo(f"missing: {refs[ref]}")
        sys.exit(1 if result.missing else 0)

    return app
