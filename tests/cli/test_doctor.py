"""amanah doctor: for each check something that breaks it, and the line that says so."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ledger.doctor import log, machine
from ledger.doctor.case import Case
from ledger.doctor.checks import CHECKS
from ledger.service import Ledger
from ledger.store.files import Paths, write_private
from ledger.store.rebuild import DERIVED
from ledger.tlog.note import SigningKey
from tests.command_line import Amanah, Site
from tests.damage import DAMAGES, Damage, contents, run_sql
from tests.support import ORIGIN, running_server

Patch = pytest.MonkeyPatch


def wrong_of(amanah: Amanah, *args: object, **settings: str) -> dict[str, Any]:
    """check -> its finding, of those that are wrong; the exit code must agree."""
    outcome = amanah("doctor", "--json", *args, **settings)
    document = outcome.json
    wrong = {c["name"]: c for c in document["checks"] if c["status"] == "wrong"}
    assert (outcome.code, document["well"]) == ((1, False) if wrong else (0, True)), outcome
    assert all(finding["repair"] for finding in wrong.values())
    return wrong


def test_a_healthy_ledger_is_well(kept: Amanah) -> None:
    outcome = kept("doctor")
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    lines = [line.split() for line in outcome.out.splitlines() if not line.startswith(" ")]
    assert [line[1] for line in lines] == [name for name in CHECKS if name != "service"]
    assert {line[0] for line in lines} <= {"ok", "note"}


def test_it_writes_nothing(kept: Amanah) -> None:
    def state() -> dict[str, tuple[int, float]]:
        found = {path: path.stat() for path in kept.database.parent.iterdir() if path.is_file()}
        # SQLite's own, which even a reader makes; the lock's file is empty.
        ours = {p: s for p, s in found.items() if not p.name.endswith(("-wal", "-shm", ".lock"))}
        return {path.name: (s.st_size, s.st_mtime) for path, s in ours.items()}

    before = state()
    assert wrong_of(kept) == {}
    assert state() == before


# -- one thing broken


def no_key_secret(paths: Paths, patch: Patch) -> None:
    paths.key_secret.unlink()


def readable_key(paths: Paths, patch: Patch) -> None:
    paths.log_key.chmod(0o644)


def writable_mark(paths: Paths, patch: Patch) -> None:
    paths.high_water.chmod(0o666)


def on_nfs(paths: Paths, patch: Patch) -> None:
    mounts = [SimpleNamespace(mountpoint="/", fstype="nfs4")]
    patch.setattr(psutil, "disk_partitions", lambda all: mounts)  # noqa: A006


def little_room(paths: Paths, patch: Patch) -> None:
    patch.setattr(machine, "FREE_BYTES_MIN", 2**60)


def damaged_page(paths: Paths, patch: Patch) -> None:
    with paths.database.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)


def no_migration(paths: Paths, patch: Patch) -> None:
    run_sql(paths.database, "DELETE FROM _sqlite_migrations")


def rollback_journal(paths: Paths, patch: Patch) -> None:
    run_sql(paths.database, "PRAGMA journal_mode = DELETE")


def careless_writer(paths: Paths, patch: Patch) -> None:
    patch.setattr(log, "make_durable", lambda c: c.execute("PRAGMA synchronous = NORMAL"))


def long_wal(paths: Paths, patch: Patch) -> None:
    with paths.database.with_name(f"{paths.database.name}-wal").open("ab") as file:
        file.truncate(log.WAL_BYTES_MAX + 1)


def another_key(paths: Paths, patch: Patch) -> None:
    paths.log_key.unlink()
    write_private(paths.log_key, f"{SigningKey.of(ORIGIN, bytes(32))}\n")


def clock_behind(paths: Paths, patch: Patch) -> None:
    run_sql(paths.database, "UPDATE head SET recorded_at = '2999-01-01T00:00:00.000Z'")


def no_checkpoint(paths: Paths, patch: Patch) -> None:
    run_sql(paths.database, "UPDATE head SET checkpoint = x''")


def other_checkpoint(paths: Paths, patch: Patch) -> None:
    run_sql(
        paths.database,
        "UPDATE head SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), "
        "char(10) || '600' || char(10), char(10) || '599' || char(10)) AS BLOB)",
    )


def no_mark(paths: Paths, patch: Patch) -> None:
    paths.high_water.unlink()


def damaged_mark(paths: Paths, patch: Patch) -> None:
    paths.high_water.write_text("nonsense\n")


def mark_ahead(paths: Paths, patch: Patch) -> None:
    size, root = paths.high_water.read_text().split()
    paths.high_water.write_text(f"{int(size) + 1:020d} {root}\n")


def altered_entry(paths: Paths, patch: Patch) -> None:
    run_sql(
        paths.database,
        "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), '1000', '9000') AS BLOB) "
        "WHERE rowid = 300",
    )


def entry_too_many(paths: Paths, patch: Patch) -> None:
    run_sql(
        paths.database,
        "INSERT INTO entries SELECT 600, bytes, leaf_hash FROM entries WHERE rowid = 9",
    )


def text_of_nobody(paths: Paths, patch: Patch) -> None:
    run_sql(paths.database, "INSERT INTO disclosures VALUES (7, 'made up')")


def no_database(paths: Paths, patch: Patch) -> None:
    paths.database.unlink()


Breaking = Callable[[Paths, Patch], None]
# What is broken, the checks that must find it, and what the first of them says.
BROKEN: list[tuple[Breaking, tuple[str, ...], str]] = [
    (no_key_secret, ("files", "keys"), "key-secret"),
    (no_database, ("files", "owner", "database"), "amanah.db"),
    (readable_key, ("modes", "keys"), "mode 0644"),
    (writable_mark, ("modes",), "mode 0666"),
    (on_nfs, ("filesystem", "keys", "high-water"), "nfs4"),
    (little_room, ("disk-space",), "MiB free"),
    (damaged_page, ("database",), "is damaged"),
    (no_migration, ("migrations",), "m0001_ledger"),
    (rollback_journal, ("durability",), "journal mode delete"),
    (careless_writer, ("durability",), "synchronous is 1, not FULL"),
    (long_wal, ("wal",), "256 MiB"),
    (text_of_nobody, ("texts",), "entry 7 is not what was sealed"),
    (another_key, ("keys",), "which is not this ledger's"),
    (clock_behind, ("clock", "head"), "behind the last entry"),
    (no_checkpoint, ("checkpoint",), "no signed checkpoint"),
    (other_checkpoint, ("checkpoint",), "signature"),
    (no_mark, ("high-water",), "is missing"),
    (damaged_mark, ("high-water",), "is damaged"),
    (mark_ahead, ("high-water",), "601 entries were handed out"),
    (altered_entry, ("log",), "entry 300: totals"),
    (entry_too_many, ("log",), "none beyond the signed checkpoint"),
]


@pytest.mark.parametrize(
    ("breaking", "names", "said"), BROKEN, ids=[breaking.__name__ for breaking, _, _ in BROKEN]
)
def test_what_is_broken_is_found(
    kept: Amanah, monkeypatch: Patch, breaking: Breaking, names: tuple[str, ...], said: str
) -> None:
    breaking(Paths.of(kept.database), monkeypatch)
    wrong = wrong_of(kept)
    assert tuple(wrong) == names
    assert said in wrong[names[0]]["detail"]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_what_does_not_follow_from_the_log_is_found_and_mended(
    kept: Amanah, damage: Damage
) -> None:
    before = contents(kept.database)
    run_sql(kept.database, damage.sql)
    wrong = wrong_of(kept)
    # The rollback guard reads tiles and the head too.
    assert {damage.table} <= wrong.keys() <= {damage.table, "high-water"}
    assert "amanah rebuild" in wrong[damage.table]["repair"]
    assert kept("rebuild").code == 0
    assert contents(kept.database) == before
    assert wrong_of(kept) == {}


def test_a_setting_that_is_none(kept: Amanah) -> None:
    wrong = wrong_of(kept, AMANAH_DATABSE="elsewhere.db", AMANAH_API_KEY_FILE="/dev/null")
    assert list(wrong) == ["settings"]
    assert wrong["settings"]["detail"] == "not a setting: AMANAH_DATABSE"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user(kept: Amanah) -> None:
    paths = Paths.of(kept.database)
    os.chown(paths.high_water, 12_345, -1)
    wrong = wrong_of(kept)
    assert list(wrong) == ["owner"]
    assert wrong["owner"]["repair"] == f"chown {os.geteuid()} {paths.high_water}"


@pytest.mark.parametrize(("fixed", "status"), [((99,), "note"), ((3, 0), "ok")])
def test_an_sqlite_with_the_bug_is_named_but_not_wrong(
    kept: Amanah, monkeypatch: Patch, fixed: tuple[int, ...], status: str
) -> None:
    """The ledger avoids it with every version; only other tools may not."""
    monkeypatch.setattr(machine, "SQLITE_FIXED", fixed)
    outcome = kept("doctor", "--json")
    (finding,) = [check for check in outcome.json["checks"] if check["name"] == "sqlite"]
    assert (outcome.code, finding["status"]) == (0, status)
    assert ("WAL-reset bug" in finding["detail"]) == (status == "note")


HOLD = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(flush=True)"


@contextmanager
def held(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has taken the write lock and then was stopped."""
    command = [sys.executable, "-c", f"{HOLD}; time.sleep(60)", str(lock)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux says who holds a lock")
def test_a_stopped_process_that_holds_the_lock_is_named(kept: Amanah, monkeypatch: Patch) -> None:
    monkeypatch.setattr(machine, "LOCK_WAIT_S", 0.1)
    assert wrong_of(kept) == {}
    with held(Paths.of(kept.database).lock) as process:
        wrong = wrong_of(kept)
    assert list(wrong) == ["lock"]
    assert f"process {process.pid} (" in wrong["lock"]["detail"]
    assert f"kill -CONT {process.pid} " in wrong["lock"]["repair"]


def test_a_lock_that_many_take_in_turn_is_busy_and_not_wrong(
    kept: Amanah, monkeypatch: Patch
) -> None:
    """A busy service nearly always holds it; that the ledger grows tells it from a stopped one."""
    monkeypatch.setattr(machine, "LOCK_WAIT_S", 0.1)
    grow = "UPDATE head SET size = size + 1"
    monkeypatch.setattr(time, "sleep", lambda _: run_sql(kept.database, grow))
    with Paths.of(kept.database).lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert machine.lock(Case(kept.database, {})).detail == "busy: entries are sealed"


# -- where it is served


def test_the_service_is_looked_at_too(kept: Amanah) -> None:
    with running_server(kept.database) as server:
        assert wrong_of(kept, "--url", server.url) == {}
        outcome = kept("doctor", "--url", server.url)
    assert "serves 600 entries of this ledger, and is ready" in outcome.out


def test_a_service_that_is_not_there(kept: Amanah, closed_url: str, no_waiting: None) -> None:
    wrong = wrong_of(kept, "--url", closed_url)
    assert list(wrong) == ["service"]
    assert "cannot be reached" in wrong["service"]["detail"]


def test_the_service_of_another_ledger(kept: Amanah, site: Site) -> None:
    wrong = wrong_of(kept, "--url", site.server.url)
    assert list(wrong) == ["service"]
    assert "signature" in wrong["service"]["detail"]


def test_a_service_that_is_not_ready(kept: Amanah, no_waiting: None) -> None:
    with running_server(kept.database) as server:
        mark_ahead(Paths.of(kept.database), pytest.MonkeyPatch())
        wrong = wrong_of(kept, "--url", server.url)
    assert list(wrong) == ["high-water", "service"]
    assert "sealing has stopped" in wrong["service"]["detail"]


# -- the list


def test_every_check_is_broken_by_a_test() -> None:
    broken = {name for _, names, _ in BROKEN for name in names}
    broken |= {damage.table for damage in DAMAGES}
    assert broken | {"settings", "owner", "sqlite", "lock", "service"} == set(CHECKS)
    assert set(DERIVED) <= set(CHECKS)


def test_a_check_that_cannot_be_made_says_why(kept: Amanah) -> None:
    altered_entry(Paths.of(kept.database), pytest.MonkeyPatch())
    checks = {c["name"]: c for c in json.loads(kept("doctor", "--json").out)["checks"]}
    assert all(checks[name]["status"] == "skipped" for name in ("entries", *DERIVED))
    assert checks["refs"]["detail"] == "cannot be looked at before `log` is well"


def test_a_ledger_that_grows_meanwhile_is_well(kept: Amanah) -> None:
    """What is compared is of one moment, whatever is posted while it is compared."""
    code = f"{KEEP_POSTING}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(kept.database)], env=kept.environment(), stdout=-1
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(3):
            assert wrong_of(kept) == {}
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    ledger = Ledger.open(kept.database)
    assert ledger.store.size() > 600
    ledger.close()


KEEP_POSTING = """
import itertools, sys
from pathlib import Path
from ledger.service import Ledger
from tests.support import donation
ledger = Ledger.open(Path(sys.argv[1]))
for number in itertools.count():
    ledger.post("kita", [donation(ref=f"late-{number}")])
    if number == 0: print(flush=True)
"""
