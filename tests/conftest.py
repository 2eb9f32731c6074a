"""Fixtures: a fresh ledger, the application on it, and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from ledger.app import create_app
from ledger.config import Config
from ledger.service import Ledger
from tests.support import ORIGIN, PLATFORM, Api, Server, running_server


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A fresh ledger, whose entry 0 is the genesis."""
    ledger = Ledger.create(tmp_path / "amanah.db", ORIGIN, "Operator of the tests")
    yield ledger
    ledger.close()


@pytest.fixture
def app(ledger: Ledger) -> Iterator[Flask]:
    """The application on `ledger`, which it opens for itself."""
    app = create_app(Config.from_environment({"AMANAH_DATABASE": str(ledger.store.paths.database)}))
    yield app
    app.extensions["amanah"].close()


@pytest.fixture
def client(app: Flask) -> Api:
    """A client of `app` with an API key of the platform `kita`, which is entry 1."""
    api = Api(app)
    api.key(PLATFORM)
    return api


@pytest.fixture
def server(ledger: Ledger) -> Iterator[Server]:
    """A gunicorn of two workers with eight threads each, on `ledger`."""
    with running_server(ledger.store.paths.database) as server:
        yield server
