"""Fixtures: a fresh ledger, the application on it, a real server, and a ledger to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from ledger.app import create_app
from ledger.config import Config
from ledger.service import Ledger
from tests.command_line import Amanah
from tests.damage import copy_ledger, rich_ledger
from tests.shelf import Shelf, fill
from tests.simulator import Log, new_log
from tests.support import (
    ORIGIN,
    PLATFORM,
    Api,
    Server,
    donation,
    fund,
    party,
    running_server,
)


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
    """A gunicorn of two workers, on `ledger`."""
    with running_server(ledger.store.paths.database) as server:
        yield server


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """A client of a ledger of 600 entries, to be read and never written to."""
    database = tmp_path_factory.mktemp("shelf") / "amanah.db"
    fill(database)
    app = create_app(Config.from_environment({"AMANAH_DATABASE": str(database)}))
    yield Shelf(app)
    app.extensions["amanah"].close()


@pytest.fixture(scope="session")
def large() -> Log:
    """600 entries that any audit holds to be sound, in no database. To be copied."""
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM)).append(PLATFORM, fund("air"))
    for n in range(3, 600):
        log.append(PLATFORM, donation(ref=f"gift-{n}"))
    return log.refold().seal()


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 600 entries with a row in every table, just rebuilt; to be copied."""
    amanah = Amanah(tmp_path_factory.mktemp("settled"))
    rich_ledger(amanah.database)
    assert amanah("key", "create", "--platform", "kita").code == 0
    assert amanah("rebuild").code == 0
    return amanah.database


@pytest.fixture
def kept(settled: Path, tmp_path: Path) -> Amanah:
    """The command line at a copy of `settled`."""
    amanah = Amanah(tmp_path)
    copy_ledger(settled, amanah.database)
    return amanah
