"""Fixtures of the command line: with a ledger and without, and a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger import client
from ledger.service import Ledger
from tests.command_line import Amanah, Site, lines
from tests.support import ORIGIN, PLATFORM, donation, fund, running_server


@pytest.fixture
def empty(tmp_path: Path) -> Amanah:
    """The command line, without a ledger."""
    return Amanah(tmp_path)


@pytest.fixture
def amanah(tmp_path: Path) -> Amanah:
    """The command line at a ledger of its own: genesis, a platform and a fund."""
    amanah = Amanah(tmp_path)
    ledger = Ledger.create(amanah.database, ORIGIN, "Tests")
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    ledger.close()
    return amanah


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real server; its entries 0 to 3 are the genesis, the platform, a fund and a gift."""
    amanah = Amanah(tmp_path_factory.mktemp("site"))
    ledger = Ledger.create(amanah.database, ORIGIN, "Tests")
    key, vkey = ledger.create_key(PLATFORM).key, ledger.vkeys[0]
    ledger.post(PLATFORM, [fund("air"), donation(ref="gift-0")])
    ledger.close()
    with running_server(amanah.database) as server:
        yield Site(amanah, server, key, vkey)


@pytest.fixture(scope="session")
def receipt(site: Site) -> bytes:
    """The receipt of entry 3, under a checkpoint of at least 5 entries."""
    assert site.post(stdin=lines(donation(ref="one-more"))).code == 0
    outcome = site.amanah("receipt", "get", site.server.url, 3)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out.encode()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seconds between one try and the next."""
    monkeypatch.setattr(client, "_RETRY", client._RETRY.new(total=1, backoff_factor=0))


@pytest.fixture
def closed_url() -> str:
    """An address where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
