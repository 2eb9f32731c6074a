"""A backup is whole, verified and there all at once; putting one back keeps the rollback guard."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import urllib3

from ledger.errors import RolledBack, SetupError
from ledger.service import Ledger
from ledger.store.backup import appearing
from ledger.store.files import HighWater, Paths
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import SigningKey
from tests.command_line import Amanah, Outcome
from tests.damage import contents, copy_ledger, run_sql
from tests.support import ORIGIN, donation, running_server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a backup is to be."""
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "backup.db"


def post(amanah: Amanah, *refs: str) -> None:
    with closing(Ledger.open(amanah.database)) as ledger:
        ledger.post("kita", [donation(ref=ref) for ref in refs])


def lose(amanah: Amanah) -> None:
    """The disk with the database is gone; what stands beside it is not."""
    for path in amanah.database.parent.glob(f"{amanah.database.name}*"):
        if path.name in (f"{amanah.database.name}{end}" for end in ("", "-wal", "-shm")):
            path.unlink()


def listing(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


# -- backup


def test_a_backup_is_the_ledger_and_says_what_it_is(kept: Amanah, file: Path) -> None:
    outcome = kept("backup", file)
    assert outcome.code == 0, outcome.err
    assert contents(file) == contents(kept.database)
    assert listing(file.parent) == [file.name], "and nothing beside it"
    assert file.stat().st_mode & 0o777 == 0o600
    ledger = Ledger.open(kept.database)
    note = ledger.store.checkpoint().decode()
    root = open_checkpoint(note.encode(), ledger.vkeys[0]).root
    ledger.close()
    assert f"Backed up 600 entries of {ORIGIN}" in outcome.out
    assert f"root: {root.hex()}\n\n{note}" in outcome.out
    paths = Paths.of(kept.database)
    assert f"Not in it: the private keys {paths.log_key}" in outcome.err
    assert str(paths.key_secret) in outcome.err
    secrets = [paths.log_key.read_bytes().strip(), bytes.fromhex(paths.key_secret.read_text())]
    assert not any(secret in file.read_bytes() for secret in secrets)


def test_a_backup_for_programs(kept: Amanah, file: Path) -> None:
    document = kept("backup", file, "--json").json
    assert (document["size"], document["origin"]) == (600, ORIGIN)
    assert document["bytes"] == file.stat().st_size
    assert document["not_in_it"] == [f"{kept.database}.log-key", f"{kept.database}.key-secret"]


def test_whoever_reads_a_backup_leaves_nothing_beside_it(kept: Amanah, file: Path) -> None:
    kept("backup", file)
    assert kept("verify", file).code == 0
    assert listing(file.parent) == [file.name]


def test_nothing_is_overwritten(kept: Amanah, file: Path) -> None:
    file.write_text("precious")
    outcome = kept("backup", file)
    assert (outcome.code, file.read_text()) == (2, "precious")
    assert "is never overwritten" in outcome.err


def test_nothing_is_overwritten_that_came_meanwhile(file: Path) -> None:
    def make() -> None:
        with appearing(file, 0o600) as draft:
            draft.write_text("finished")
            file.write_text("precious")

    with pytest.raises(SetupError, match="is never overwritten"):
        make()
    assert (file.read_text(), listing(file.parent)) == ("precious", [file.name])


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("UPDATE entries SET bytes = zeroblob(300) WHERE rowid = 300", 1),
        ("DELETE FROM entries WHERE rowid = 599", 1),
        ("UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0", 1),
        ("UPDATE head SET size = 599", 1),
        ("UPDATE head SET checkpoint = x''", 1),
    ],
)
def test_what_is_not_sound_becomes_no_backup(kept: Amanah, file: Path, sql: str, code: int) -> None:
    run_sql(kept.database, sql)
    outcome = kept("backup", file)
    assert outcome.code == code, outcome.err
    assert listing(file.parent) == []


def test_a_ledger_that_is_behind_what_it_handed_out_becomes_no_backup(
    kept: Amanah, file: Path
) -> None:
    size, root = Paths.of(kept.database).high_water.read_text().split()
    Paths.of(kept.database).high_water.write_text(f"{int(size) + 1:020d} {root}\n")
    outcome = kept("backup", file)
    assert (outcome.code, listing(file.parent)) == (1, [])
    assert "expected: at least 601" in outcome.err


def test_backups_of_a_ledger_that_is_written_to(kept: Amanah, file: Path) -> None:
    """Each holds everything that was acknowledged before it was begun."""
    ledger = Ledger.open(kept.database)
    key = ledger.create_key("kita").key
    ledger.close()
    with running_server(kept.database) as server:
        load = Load(server.url, key)
        for number in range(4):
            known = len(load.acknowledged)
            target = file.with_name(f"{number}.db")
            outcome = kept("backup", target, "--json")
            assert outcome.code == 0, outcome.err
            with closing(sqlite3.connect(target)) as copy:
                found = {ref for (ref,) in copy.execute("SELECT ref FROM refs")}
            assert found >= set(load.acknowledged[:known])
            assert len(found) == outcome.json["size"]
        load.stop()
    assert len(load.acknowledged) > 10


class Load:
    """A client that posts until it is stopped, and notes what was acknowledged."""

    def __init__(self, url: str, key: str) -> None:
        self.acknowledged: list[str] = []
        self._url, self._stop = url, threading.Event()
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=30)
        number = 0
        while not self._stop.is_set():
            number += 1
            body = json.dumps({"statement": donation(ref=f"load-{number}")})
            url = f"{self._url}/v1/entries"
            answer = pool.request("POST", url, body=body, headers=self._headers)
            if answer.status == 201:
                self.acknowledged.append(f"load-{number}")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


# -- restore


def test_a_newest_backup_goes_on_where_the_ledger_was(kept: Amanah, file: Path) -> None:
    post(kept, "before")
    kept("backup", file)
    lose(kept)
    outcome = kept("restore", file)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"Restored 601 entries of {ORIGIN}")
    assert kept("doctor").code == 0
    post(kept, "after")
    assert kept("verify", kept.database).code == 0


def test_a_backup_of_an_older_day_is_refused_then_put_there_for_reading(
    kept: Amanah, file: Path
) -> None:
    kept("backup", file)
    post(kept, "after-the-backup")
    lose(kept)
    outcome = kept("restore", file)
    assert outcome.code == 1
    assert "amanah: rolled_back: the backup holds 600 entries" in outcome.err
    assert "the 601 that were handed out" in outcome.err
    assert not kept.database.exists()
    outcome = kept("restore", file, "--for-reading")
    assert outcome.code == 0, outcome.err
    assert "FOR READING ALONE: 601 entries were handed out" in outcome.err
    with pytest.raises(RolledBack):
        post(kept, "on-the-old-tip")
    assert kept("receipt", "get", kept.database, 3).code == 0
    assert json.loads(kept("doctor", "--json").out)["well"] is False


def test_what_stands_there_is_moved_aside_and_never_deleted(kept: Amanah, file: Path) -> None:
    kept("backup", file)
    held = contents(kept.database)
    outcome = kept("restore", file)
    assert outcome.code == 2
    assert "exists already; --replace moves it aside" in outcome.err
    outcome = kept("restore", file, "--replace", "--json")
    assert outcome.code == 0, outcome.err
    aside = [path for path in outcome.json["moved"] if not path.endswith(("-wal", "-shm"))]
    assert len(aside) == 1
    assert contents(Path(aside[0])) == held == contents(kept.database)


def test_the_database_that_is_replaced_guards_too(kept: Amanah, file: Path) -> None:
    """When the mark is lost, what it signed last tells that the backup is older."""
    kept("backup", file)
    post(kept, "after-the-backup")
    Paths.of(kept.database).high_water.unlink()
    outcome = kept("restore", file, "--replace")
    assert outcome.code == 1
    assert f"what {kept.database} signed last" in outcome.err
    assert kept("restore", file, "--replace", "--for-reading").code == 0
    mark = HighWater(Paths.of(kept.database).high_water).read()
    assert mark is not None
    assert mark[0] == 601
    with pytest.raises(RolledBack):
        post(kept, "on-the-old-tip")


def test_a_damaged_database_is_replaced(kept: Amanah, file: Path) -> None:
    kept("backup", file)
    kept.database.write_bytes(b"\0" * 5000)
    assert kept("restore", file, "--replace").code == 0
    assert kept("doctor").code == 0


def test_a_journal_that_was_left_behind_is_not_taken_for_the_new_file_s(
    kept: Amanah, file: Path
) -> None:
    kept("backup", file)
    lose(kept)
    left = kept.database.with_name(f"{kept.database.name}-wal")
    left.write_bytes(b"left")
    assert kept("restore", file).code == 2
    outcome = kept("restore", file, "--replace", "--json")
    assert outcome.code == 0, outcome.err
    assert [Path(path).read_bytes() for path in outcome.json["moved"]] == [b"left"]
    assert not left.exists()


def test_on_another_machine_it_says_what_is_missing(
    kept: Amanah, file: Path, tmp_path: Path
) -> None:
    kept("backup", file)
    (tmp_path / "new").mkdir()
    elsewhere = Amanah(tmp_path / "new")
    outcome = elsewhere("restore", file)
    assert outcome.code == 0
    paths = Paths.of(elsewhere.database)
    assert f"Missing: {paths.log_key}" in outcome.err
    assert f"Missing: {paths.key_secret}" in outcome.err
    assert f"There is no {paths.high_water}" in outcome.err


def test_a_backup_of_another_ledger_is_refused(kept: Amanah, file: Path) -> None:
    kept("backup", file)
    lose(kept)
    paths = Paths.of(kept.database)
    paths.log_key.write_text(f"{SigningKey.of('other.example/log', bytes(32))}\n")
    outcome = kept("restore", file)
    assert (outcome.code, kept.database.exists()) == (2, False)
    assert "but the backup is of the ledger" in outcome.err


def test_another_history_of_the_same_ledger_is_refused(
    kept: Amanah, file: Path, tmp_path: Path
) -> None:
    """Of the same size or larger: it does not extend what was handed out."""
    fork = Amanah(tmp_path / "fork")
    (tmp_path / "fork").mkdir()
    copy_ledger(kept.database, fork.database)
    post(kept, "one")
    post(fork, "other", "history")
    fork("backup", file)
    lose(kept)
    outcome = kept("restore", file)
    assert (outcome.code, kept.database.exists()) == (1, False)
    assert "rolled_back" in outcome.err


Spoiling = Callable[[Path], None]


def a_byte(file: Path) -> None:
    data = file.read_bytes()
    at = data.index(b'"ref":"n300"')
    file.write_bytes(data[:at] + b'"ref":"n301"' + data[at + 12 :])


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def nonsense(file: Path) -> None:
    file.write_bytes(b"nonsense" * 1000)


def not_there(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("spoil", [a_byte, cut_off, nonsense, not_there])
def test_a_spoiled_backup_is_not_put_back(kept: Amanah, file: Path, spoil: Spoiling) -> None:
    kept("backup", file)
    spoil(file)
    before = contents(kept.database)
    names = listing(kept.database.parent)
    outcome = kept("restore", file, "--replace")
    assert outcome.code in (1, 2, 3), outcome
    assert outcome.err.startswith("amanah: ")
    assert contents(kept.database) == before
    assert not set(listing(kept.database.parent)) - {*names, "amanah.db-wal", "amanah.db-shm"}


def test_a_ledger_that_is_served_is_not_replaced(kept: Amanah, file: Path) -> None:
    kept("backup", file)
    with running_server(kept.database):
        outcome = kept.really("restore", file, "--replace")
    assert outcome.code == 2
    assert "is in use; stop the service" in outcome.err


def test_restoring_leaves_the_backup_as_it_was(kept: Amanah, file: Path) -> None:
    kept("backup", file)
    before = file.read_bytes()
    lose(kept)
    assert kept("restore", file).code == 0
    assert (file.read_bytes(), listing(file.parent)) == (before, [file.name])


# -- the drill of docs/operate.md, with a real server under it


def drill(kept: Amanah, file: Path, lost: int) -> Outcome:
    """Serve, post, back up, post `lost` more, kill, lose the database, restore."""
    ledger = Ledger.open(kept.database)
    key = ledger.create_key("kita").key
    ledger.close()
    with running_server(kept.database) as server:

        def give(ref: str) -> None:
            body = json.dumps({"statement": donation(ref=ref)})
            assert server.request("POST", "/v1/entries", body=body, key=key).status == 201

        give("before-the-backup")
        assert kept.really("backup", file).code == 0
        for number in range(lost):
            give(f"after-the-backup-{number}")
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    lose(kept)
    return kept("restore", file)


def test_the_drill_with_a_backup_that_misses_entries(kept: Amanah, file: Path) -> None:
    outcome = drill(kept, file, lost=2)
    assert outcome.code == 1
    assert "does not extend the 603 that were handed out" in outcome.err
    assert kept("restore", file, "--for-reading").code == 0
    with running_server(kept.database, wait_for="/healthz") as server:
        ready = server.request("GET", "/readyz")
        assert (ready.status, ready.json()["code"]) == (503, "rolled_back")
        assert server.request("GET", "/v1/entries/600/receipt").status == 200
    outcome = kept("verify", kept.database)
    assert outcome.code == 1, "what was handed out is missing, and verifying says so"
    assert "expected: at least 603" in outcome.err


def test_the_drill_with_a_backup_that_misses_nothing(kept: Amanah, file: Path) -> None:
    outcome = drill(kept, file, lost=0)
    assert outcome.code == 0, outcome.err
    assert kept("doctor").code == 0
    with running_server(kept.database) as server:
        assert kept("verify", server.url).out.startswith("SOUND: all 601 entries")
    post(kept, "it-goes-on")
    assert kept("verify", kept.database).out.startswith("SOUND: all 602 entries")
