"""Checks of the machine: settings, files, disk, SQLite, the write lock, the clock, the service."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ledger.client import HttpLedger
from ledger.config import DEFAULTS
from ledger.doctor.case import Case, Verdict, fine, noted, wrong
from ledger.errors import NotFound
from ledger.sequencer import CLOCK_BEHIND_MAX_S
from ledger.store.files import refuse_network_filesystem
from ledger.tlog.policy import Policy

FREE_BYTES_MIN = 2**30  # a backup or a rebuild lets the write-ahead log grow
LOCK_WAIT_S = 5.0  # a commit takes milliseconds, one of a thousand entries a tenth of a second
# SQLite's "WAL-reset bug", sqlite.org/wal.html: the first version without it.
SQLITE_FIXED = (3, 51, 3)


def settings(case: Case) -> Verdict:
    known = {f"{name}{ending}" for name in DEFAULTS for ending in ("", "_FILE")}
    unknown = sorted(n for n in case.environment if n.startswith("AMANAH_") and n not in known)
    if unknown:
        what = f"not a setting: {', '.join(unknown)}"
        return wrong(what, "correct the name, or unset it; docs/operate.md lists the settings")
    return fine("every AMANAH_ variable is a setting")


def files(case: Case) -> Verdict:
    paths = case.paths
    missing = [p for p in (paths.database, paths.log_key, paths.key_secret) if not p.exists()]
    if missing:
        what = f"missing: {', '.join(map(str, missing))}"
        return wrong(what, "put keys back from where they are kept; `amanah restore` a database")
    return fine(f"{paths.database} and its two key files are there")


def modes(case: Case) -> Verdict:
    private = {case.paths.log_key, case.paths.key_secret}
    bad = [p for p in _present(case) if p.stat().st_mode & (0o077 if p in private else 0o022)]
    if bad:
        what = ", ".join(f"{path} has mode {path.stat().st_mode & 0o777:04o}" for path in bad)
        commands = (f"chmod {'600' if path in private else '644'} {path}" for path in bad)
        return wrong(what, "; ".join(commands))
    return fine("keys are readable by their owner alone, nothing is writable by others")


def owner(case: Case) -> Verdict:
    uid = case.paths.database.stat().st_uid
    others = [path for path in _present(case) if path.stat().st_uid != uid]
    if others:
        what = f"not of user {uid}, as the database is: {', '.join(map(str, others))}"
        return wrong(what, f"chown {uid} {' '.join(map(str, others))}")
    return fine(f"all files are of user {uid}")


def _present(case: Case) -> list[Path]:
    database = case.paths.database
    beside = [database.with_name(database.name + ending) for ending in ("-wal", "-shm")]
    return [path for path in (*case.paths, *beside) if path.exists()]


def filesystem(case: Case) -> Verdict:
    refuse_network_filesystem(case.paths.database.parent)
    return fine("the database is on no file system that machines share")


def disk_space(case: Case) -> Verdict:
    free = shutil.disk_usage(case.paths.database.parent).free
    said = f"{free / 2**20:.0f} MiB free"
    if free < FREE_BYTES_MIN:
        return wrong(f"{said}, less than {FREE_BYTES_MIN / 2**20:.0f}", "make room on that disk")
    return fine(said)


def sqlite(case: Case) -> Verdict:
    version = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < SQLITE_FIXED:
        return noted(
            f"{version} has the WAL-reset bug, which the ledger itself avoids",
            "open the database with other tools read-only; take a Python with 3.51.3 or newer",
        )
    return fine(version)


def lock(case: Case) -> Verdict:
    path = case.paths.lock
    if not path.exists():
        return fine("nobody has written yet")
    fd = os.open(path, os.O_RDWR)
    try:
        size = _size(case)
        give_up = time.monotonic() + LOCK_WAIT_S
        while not _take(fd):
            if time.monotonic() > give_up:
                # Somebody always had it, but not one for long, if the ledger grew.
                return _held(path) if _size(case) == size else fine("busy: entries are sealed")
            time.sleep(0.02)
    finally:
        os.close(fd)
    return fine("the write lock is free")


def _size(case: Case) -> int:
    try:
        return int(case.value("SELECT size FROM head")[0])
    except (sqlite3.Error, NotFound):
        return -1  # the checks of the database say why


def _take(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(path: Path) -> Verdict:
    what = f"{path} has been held for {LOCK_WAIT_S:g} s or longer, so that nobody can write"
    pid = _holder(path)
    if pid is None:
        return wrong(what, f"find out who: lsof {path}")
    try:
        process = psutil.Process(pid)
        who = f"process {pid} ({process.name()}, {process.status()})"
        is_stopped = process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        who, is_stopped = f"process {pid}", False
    repair = f"kill -CONT {pid}" if is_stopped else f"wait if it is a rebuild; else kill {pid}"
    return wrong(f"{what}: by {who}", f"{repair} (a killed process loses nothing acknowledged)")


def _holder(path: Path) -> int | None:
    """The process that holds the file's lock; None when the system does not say."""
    status = path.stat()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        fields = line.split()
        if fields[1:2] == ["FLOCK"] and fields[5] == place and int(fields[4]) > 0:
            return int(fields[4])
    return None


def clock(case: Case) -> Verdict:
    (recorded_at,) = case.value("SELECT recorded_at FROM head")
    ahead_s = datetime.fromisoformat(str(recorded_at)).timestamp() - time.time()
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if ahead_s > CLOCK_BEHIND_MAX_S:
        what = f"it is {now}, {ahead_s:.0f} s behind the last entry ({recorded_at})"
        return wrong(what, "set the clock right; if it is right now, wait until it has caught up")
    return fine(f"it is {now}; the last entry is of {recorded_at}")


def service(case: Case) -> Verdict:
    assert case.url is not None, "asked only when an address was given"
    remote = HttpLedger(case.url)
    key = case.genesis_key()
    size = Policy.for_key(key).check(remote.checkpoint()).size
    remote.get("readyz")
    return fine(f"{case.url} serves {size} entries of this ledger, and is ready")
