"""`amanah export` as a person meets it: files that are whole or not there, and their manifest."""

from __future__ import annotations

import hashlib
import json
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from ledger.commands.publishing import COMMANDS
from ledger.service import Ledger
from ledger.tlog.checkpoint import open_checkpoint
from tests.command_line import Amanah
from tests.support import Server, running_server

NAMES = [command.name or "" for command in COMMANDS]


@pytest.fixture
def amanah(tmp_path: Path, database: Path) -> Amanah:
    """The command line at the mixed ledger."""
    amanah = Amanah(tmp_path)
    amanah.settings["AMANAH_DATABASE"] = str(database)
    return amanah


@pytest.fixture(scope="module")
def served(database: Path):
    with running_server(database) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_stdout_the_file_the_database_and_the_url_are_one(
    amanah: Amanah, served: Server, database: Path, tmp_path: Path, name: str
) -> None:
    outcome = amanah("export", name)
    assert outcome.code == 0
    assert outcome.out
    assert f"as {name}.\n" in outcome.err
    for source in (database, served.url):
        file = tmp_path / "file"
        written = amanah("export", name, source, "-o", file)
        assert (written.code, written.out) == (0, "")
        assert file.read_text("utf-8") == outcome.out
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_says_whether_a_copy_is_whole_and_of_which_log(
    amanah: Amanah, mixed: Ledger, tmp_path: Path, name: str
) -> None:
    file, beside = tmp_path / "file", tmp_path / "manifest"
    assert amanah("export", name, "-o", file, "--manifest", beside).code == 0
    manifest, data = json.loads(beside.read_bytes()), file.read_bytes()
    checkpoint = open_checkpoint(manifest.pop("checkpoint").encode(), mixed.vkeys[0])
    assert checkpoint.size == mixed.store.size()
    assert manifest == {
        "export": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "lines": data.count(b"\n"),
        "origin": mixed.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_export_that_fails_leaves_everything_as_it_was(
    amanah: Amanah, database: Path, tmp_path: Path, name: str
) -> None:
    forged = tmp_path / "forged.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(forged),))
    with closing(sqlite3.connect(forged)) as connection, connection:
        new = """CAST(replace(CAST(bytes AS TEXT), '"index":2000,', '"index":2001,') AS BLOB)"""
        connection.execute(f'UPDATE entries SET bytes = {new} WHERE "index" = 2000')
    file, beside = tmp_path / "file", tmp_path / "manifest"
    file.write_text("what was there before")
    outcome = amanah("export", name, forged, "-o", file, "--manifest", beside)
    assert (outcome.code, outcome.out) == (1, "")
    assert "log_mismatch: index 2000" in outcome.err
    assert file.read_text() == "what was there before"
    assert {path for path in tmp_path.iterdir() if not path.name.startswith("forged")} == {file}


def test_a_file_that_cannot_be_written_is_wrong_usage(amanah: Amanah, tmp_path: Path) -> None:
    outcome = amanah("export", "jsonl", "-o", tmp_path / "nowhere" / "file")
    assert outcome.code == 2
    assert "nowhere/file cannot be written" in outcome.err


def test_a_reader_that_has_enough_is_no_failure_of_ours(amanah: Amanah) -> None:
    export = shlex.join(amanah.command("export", "jsonl"))
    run = subprocess.run(
        ["sh", "-c", f"{export} | head -n 1"],
        env=amanah.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith('{"index":0,')
    assert "Traceback" not in run.stderr


def test_without_a_ledger_nothing_is_made(tmp_path: Path) -> None:
    outcome = Amanah(tmp_path)("export", "csv", "-o", tmp_path / "file")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert "there is no ledger" in outcome.err
