"""The database as others open it, and what the store keeps beside the log."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from ledger import sequencer
from ledger.entry import decode_entry
from ledger.errors import NotFound, SetupError
from ledger.service import Ledger
from ledger.store import files
from ledger.store.sqlite import SqliteStore
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.tile import TILE_WIDTH, Tile, tiles_of
from tests.support import PLATFORM, disbursement, donation, fund

DONATIONS, DISBURSEMENTS = 40, 8


@pytest.fixture(params=[10, 1_024], ids=["terms follow often", "no terms yet"])
def filled(
    ledger: Ledger, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Ledger:
    """A ledger with some money, whose terms reach far or nowhere."""
    monkeypatch.setattr(sequencer, "INDEX_EVERY", request.param)
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air"), fund("desa")])
    for number in range(DONATIONS):
        ledger.post(
            PLATFORM, [donation(("air", "desa")[number % 2], ref=f"in-{number}", amount="5.5")]
        )
    for number in range(DISBURSEMENTS):
        ledger.post(PLATFORM, [disbursement("air", ref=f"out-{number}", amount="1")])
    return ledger


def test_the_views_hold_every_entry(filled: Ledger) -> None:
    database = Database(filled.store.paths.database, execute_plugins=False)
    assert {"donations", "disbursements"} <= set(database.view_names())
    rows = list(database["donations"].rows)
    assert [row["ref"] for row in rows] == [f"in-{n}" for n in range(DONATIONS)]
    assert rows[0]["amount"] == "5.5"
    assert database["disbursements"].count == DISBURSEMENTS
    database.close()


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_filter_finds_what_a_scan_finds(filled: Ledger, newest_first: bool, limit: int) -> None:
    store = filled.store
    entries = [decode_entry(data) for data in store.entries(0, store.size())]
    terms = [("fund", "air"), ("type", "donation")]
    wanted = [
        e.index
        for e in (reversed(entries) if newest_first else entries)
        if e.statement.get("fund") == "air" and e.statement["type"] == "donation"
    ]
    pages: list[int] = []
    while page := store.find(terms, pages[-1] if pages else None, limit, newest_first):
        assert len(page) <= limit
        assert [decode_entry(data).index for _, data in page] == [index for index, _ in page]
        pages += [index for index, _ in page]
    assert pages == wanted


def test_every_tile_of_every_size_is_there(ledger: Ledger) -> None:
    """Also of sizes gone by, and whether a tile is full, partial, or not stored at all."""
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    ledger.post(PLATFORM, [donation(ref=f"r{n}") for n in range(2 * TILE_WIDTH)])
    store = ledger.store
    leaves = b"".join(bytes.fromhex(e.prev) for e in map(decode_entry, store.entries(1, 600)))
    for size in (1, 255, 256, 257, 512, store.size()):
        for tile in tiles_of(size):
            hashes = store.tile(tile)
            assert len(hashes) == tile.width * HASH_SIZE
            if tile.level == 0:
                start = tile.index * TILE_WIDTH * HASH_SIZE
                assert leaves[start:].startswith(hashes[: len(leaves) - start])
    with pytest.raises(NotFound):
        store.tile(Tile(0, 2, store.size() % TILE_WIDTH + 1))
    with pytest.raises(NotFound):
        store.tile(Tile(1, 0, 3))


@pytest.mark.parametrize("made", ["", "CREATE TABLE theirs (a)"], ids=["empty", "of others"])
def test_a_database_that_is_no_ledger_is_left_as_it_is(tmp_path: Path, made: str) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(made)
    path.touch()
    before = path.read_bytes()
    with pytest.raises(SetupError, match="is not a ledger"):
        SqliteStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.db"]


def test_reading_takes_no_lock(ledger: Ledger, tmp_path: Path) -> None:
    """So that whoever may read the database may verify it."""
    ledger.store.paths.lock.unlink()
    store = SqliteStore(ledger.store.paths.database)
    assert store.size() == 1
    store.close()
    assert not ledger.store.paths.lock.exists()


def test_whoever_would_wait_can_know_it(ledger: Ledger) -> None:
    store = ledger.store
    with closing(SqliteStore(store.paths.database)) as other:
        assert not store.is_busy()
        assert not other.is_busy()
        with store.writing():
            assert store.is_busy()  # for another thread
            assert other.is_busy()  # and for another process
        assert not other.is_busy()
        with other.writing():
            assert store.is_busy()


def test_looking_whether_somebody_writes_lets_go_of_no_lock(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread begins to write between two steps of another that looks: it keeps its lock."""
    store, flock = ledger.store, fcntl.flock
    begun, looked, ended = (threading.Event() for _ in range(3))

    def write() -> None:
        with store.writing():
            begun.set()
            ended.wait(20)

    writer = threading.Thread(target=write)

    def interrupted(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_NB and not looked.is_set():
            looked.set()
            writer.start()
            begun.wait(0.2)  # where it may begin, it has begun by now
        flock(fd, operation)

    monkeypatch.setattr("ledger.store.sqlite.fcntl.flock", interrupted)
    store.is_busy()
    assert begun.wait(20)
    with closing(SqliteStore(store.paths.database)) as other:
        assert other.is_busy()
    ended.set()
    writer.join()


def test_what_is_committed_is_on_disk(ledger: Ledger) -> None:
    """Promise 1: the write-ahead log is flushed with every commit, on every connection."""
    writer = ledger.store._open_writer()
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    ledger.store._drop_writer()  # as after a failure
    assert ledger.store._open_writer().execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_mark_is_flushed_soon_after_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 3, also again and after a disk that refused once."""
    flushed = threading.Semaphore(0)
    refusals = [OSError("no")]

    def fsync(fd: int) -> None:
        flushed.release()
        if refusals:
            raise refusals.pop()

    monkeypatch.setattr("os.fsync", fsync)
    mark = files.HighWater(tmp_path / "mark")
    for size in (1, 2):
        mark.write(size, bytes(32))
        assert flushed.acquire(timeout=10)
    assert mark.read() == (2, bytes(32))
