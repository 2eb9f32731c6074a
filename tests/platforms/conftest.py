"""A ledger, a proxy before it that may lie, and a client that posts through that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from amanah import Client
from docs.example_platform.webhook import create_app
from ledger import client
from tests.liar import Liar, lying_before
from tests.platforms.place import Place, made
from tests.platforms.shop import TOKEN, Notify, settings
from tests.support import PLATFORM, Statement, donation, running_server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    database, key, vkey = made(tmp_path_factory.mktemp("place"))
    with running_server(database) as server:
        yield Place(database, server.url, key, vkey)


@pytest.fixture
def liar(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    """A proxy before the ledger; nobody waits long before trying again."""
    monkeypatch.setattr(client, "_RETRY", client._RETRY.new(backoff_factor=0.01))
    with lying_before(place.url) as liar:
        yield liar


@pytest.fixture
def kita(place: Place, liar: Liar) -> Client:
    return Client(liar.url, place.key, PLATFORM, vkey=place.vkey)


@pytest.fixture
def gift(request: pytest.FixtureRequest) -> Callable[..., Statement]:
    """Donations whose refs no other test uses."""
    name = f"{abs(hash(request.node.nodeid)):x}"
    return lambda number=0, **more: donation(ref=f"{name}-{number}", **more)


# -- the example


@pytest.fixture
def order(request: pytest.FixtureRequest) -> str:
    """An order id that no other test uses."""
    return f"INV-{abs(hash(request.node.nodeid))}"


@pytest.fixture
def app(place: Place, liar: Liar, tmp_path: Path) -> Flask:
    return create_app(settings(place, liar.url, tmp_path / "memory"))


@pytest.fixture
def notify(app: Flask) -> Notify:
    def notify(body: bytes, service: str = "midtrans", token: str = TOKEN) -> TestResponse:
        headers = {"x-callback-token": token}
        return app.test_client().post(f"/notifications/{service}", data=body, headers=headers)

    return notify
