"""verify: what it shows of a long audit, and to whom."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from ledger.audit import Ways
from ledger.commands import auditing
from tests.command_line import Amanah
from tests.shelf import SIZE, fill


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shelf") / "amanah.db"
    fill(path)
    return path


def test_a_short_audit_tells_a_program_nothing(tmp_path: Path, database: Path) -> None:
    amanah = Amanah(tmp_path)
    assert amanah("verify", database).code == 0
    assert amanah("verify", database).err == ""


def test_a_long_audit_says_how_far_it_is(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "LINE_EVERY_S", 0)
    amanah = Amanah(tmp_path)
    assert amanah("verify", database).code == 0
    line = r"512 of 600 entries \(85 %\), [0-9,]+ a second, [0-9]+:[0-9]{2}:[0-9]{2} left\n"
    assert re.search(line, amanah("verify", database).err)
    assert amanah("verify", database, "--json").err == ""


def test_who_watches_sees_a_bar(tmp_path: Path, database: Path) -> None:
    amanah = Amanah(tmp_path)
    ours, its = pty.openpty()
    environment = amanah.environment(TERM="xterm", COLUMNS="100")
    run = subprocess.run(
        amanah.command("verify", database),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=its,
        check=False,
    )
    os.close(its)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert (run.returncode, run.stdout[:5]) == (0, b"SOUND")
    assert f"{SIZE}/{SIZE}" in shown
    assert re.search(r"[0-9]/s ", shown)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_any_number_of_workers(tmp_path: Path, database: Path, workers: str) -> None:
    outcome = Amanah(tmp_path)("verify", database, "--workers", workers, "--json")
    assert (outcome.code, outcome.json["audit"]["workers"]) == (0, 1)  # it is small
    assert Amanah(tmp_path)("verify", database, "--workers", "0").code == 2


def test_large_logs_are_checked_by_processes(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each opens the database for itself."""
    monkeypatch.setattr(Ways, "workers_for", lambda ways, bundles: ways.workers)
    outcome = Amanah(tmp_path)("verify", database, "--workers", "2", "--json")
    assert (outcome.code, outcome.json["audit"]["workers"]) == (0, 2)
