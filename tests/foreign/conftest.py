"""Fixtures: the judges that are not ours, a ledger that grows while it is served, and its lies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.service import Ledger
from tests.command_line import Outcome
from tests.shelf import SIZE, fill
from tests.simulator import Log
from tests.support import PLATFORM, Server, body_of, donation, running_server

HERE = Path(__file__).parent
SET_UP = HERE.parents[1] / ".venv-foreign"
# How each judge is called; tests/foreign/set_up made both, from requirements.txt.
JUDGES: dict[str, list[Path]] = {
    "go": [SET_UP / "check-go"],
    "aics": [SET_UP / "venv/bin/python", HERE / "judge_aics.py"],
}

Judge = Callable[..., Outcome]


@pytest.fixture(scope="session", params=JUDGES)
def judge(request: pytest.FixtureRequest) -> Judge:
    """One of the judges: judge("log", url, vkey), as go/main.go says."""
    if not (SET_UP / ".ready").exists():
        missing = "the foreign judges are not set up: run `make foreign` (it needs PyPI)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)

    def run(*args: object) -> Outcome:
        command = [*map(str, JUDGES[request.param]), *map(str, args)]
        # A judge sees nothing of ours: no settings, no path to the code.
        environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


class Live(NamedTuple):
    """A served ledger. older: files with the checkpoints that were seen before it grew."""

    server: Server
    vkey: str
    size: int
    older: list[Path]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A ledger that grew over HTTP from 600 entries to 800, past the end of a tile."""
    home = tmp_path_factory.mktemp("live")
    fill(home / "amanah.db")
    ledger = Ledger.open(home / "amanah.db")
    key, vkey = ledger.create_key(PLATFORM).key, str(ledger.vkeys[0])
    ledger.close()
    older, size = [], SIZE
    with running_server(home / "amanah.db") as server:
        for more in (1, 167, 32):  # to sizes of 601, 768 = 3 x 256, and 800
            older.append(home / f"checkpoint-{size}")
            older[-1].write_bytes(server.request("GET", "/checkpoint").data)
            body = body_of(*(donation("air", f"more-{size + n}") for n in range(more)))
            answer = server.request("POST", "/v1/entries", body, key)
            assert answer.status == 201, answer.data
            size += more
        yield Live(server, vkey, size, older)


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The log of a ledger of 600 entries, to be copied and then to lie."""
    database = tmp_path_factory.mktemp("honest") / "amanah.db"
    fill(database)
    ledger = Ledger.open(database)
    log = Log.of(ledger)
    ledger.close()
    return log
