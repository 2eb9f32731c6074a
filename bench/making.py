"""Ledgers to measure: made, copied, and measured on disk."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from bench.load import FUNDS
from ledger.service import Ledger
from ledger.store.files import Paths

PLATFORM = "kita"


def create_ledger(database: Path) -> Ledger:
    """A ledger with one platform and its funds."""
    ledger = Ledger.create(database, "ledger.example/bench", "bench")
    ledger.register_platform(PLATFORM)
    fund: dict[str, object] = {
        "type": "fund",
        "title": "Fund",
        "owner": PLATFORM,
        "platforms": [PLATFORM],
    }
    fund |= {"currency": "IDR", "policy": {}, "status": "open"}
    ids = [f"fund-{i}" for i in range(FUNDS)]
    ledger.post(PLATFORM, [fund | {"ref": f"fund.{i}", "id": i} for i in ids])
    return ledger


def copy_ledger(source: Path, target: Path) -> None:
    """The ledger at `source` as it stands, with its keys, at `target`."""
    backup(source, target)
    of, to = Paths.of(source), Paths.of(target)
    for path, copy in ((of.log_key, to.log_key), (of.key_secret, to.key_secret)):
        shutil.copy2(path, copy)


def backup(source: Path, target: Path) -> None:
    """Copy a database that is in use, by SQLite's own means."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def truncate_wal(paths: Paths) -> None:
    """Move everything into the database file, under the lock that every writer takes."""
    with paths.lock.open("r+b") as lock, closing(sqlite3.connect(paths.database)) as connection:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def bytes_per_entry(paths: Paths) -> tuple[float, float]:
    """(bytes on disk, bytes of its own) of the average entry, tables and indexes included."""
    truncate_wal(paths)
    with closing(sqlite3.connect(f"file:{paths.database}?mode=ro", uri=True)) as connection:
        sql = "SELECT count(*), sum(length(bytes)) FROM entries"
        count, own = connection.execute(sql).fetchone()
    return paths.database.stat().st_size / count, own / count
