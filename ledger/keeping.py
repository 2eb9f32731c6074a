"""Keeping a ledger: rebuilding what follows from its log, copying it, putting a copy back.

Whatever is made here is audited before anybody is told that it is there.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ledger.audit import Known, Progress, Report, audit
from ledger.entry import entry_hash
from ledger.errors import LedgerError, LogMismatch, NotFound, RolledBack, SetupError
from ledger.rules import genesis_key
from ledger.store import rebuild as derived
from ledger.store.backup import appearing, check_pages, copy_database, refuse_existing, set_journal
from ledger.store.files import (
    HighWater,
    Paths,
    read_signing_key,
    refuse_in_use,
    refuse_network_filesystem,
)
from ledger.store.sqlite import SqliteStore
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_SIZE, Frontier, root_at
from ledger.tlog.note import VerifierKey
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile

# -- rebuild


def rebuild(paths: Paths, checking: Progress, making: Progress) -> Report:
    """Make everything anew that follows from the log, once the log itself is audited.

    Raises SetupError when something has the database open, LogMismatch and other errors of an
    audit when the log is not sound; then nothing is changed.
    """
    refuse_in_use(paths.database)
    store = SqliteStore(paths.database)
    try:
        with store.writing() as tx:
            note = store.checkpoint()
            report = audit(_Untiled(store), Policy.for_key(_key_of(store)), (), checking)
            _refuse_unless_understood(report)
            derived.rebuild(tx, report.checkpoint, note, making)
    except NotFound as error:
        raise LogMismatch(None, "signed checkpoint", "one", str(error)) from error
    finally:
        store.close()
    return report


def _key_of(store: SqliteStore) -> VerifierKey:
    return genesis_key(lambda: store.entry_bytes(0))


def _refuse_unless_understood(report: Report) -> None:
    if not report.is_sound:
        index, what = report.not_understood[0]
        raise SetupError(f"entry {index} ({what}) is not understood; update amanah first")


class _Untiled:
    """An audit's reader that trusts entries alone: its tiles are made of them, as they come."""

    def __init__(self, store: SqliteStore) -> None:
        self.checkpoint, self.bundle = store.checkpoint, store.bundle
        self._entries = store.entries
        self._frontier = Frontier()
        self._levels: defaultdict[int, bytearray] = defaultdict(bytearray)

    def tile(self, tile: Tile) -> bytes:
        start = tile.index * TILE_WIDTH
        if tile.level == 0:
            leaves = [entry_hash(data) for data in self._entries(start, start + tile.width)]
            for leaf in leaves:
                completed = self._frontier.append(leaf)[::TILE_HEIGHT]
                for level, hash_ in enumerate(completed[1:], 1):
                    self._levels[level] += hash_
            return b"".join(leaves)
        end = start + tile.width
        return bytes(self._levels[tile.level][start * HASH_SIZE : end * HASH_SIZE])


# -- backup


class Copy(NamedTuple):
    """A copy that was audited. note: its newest signed checkpoint; size: of the file, in bytes."""

    checkpoint: Checkpoint
    note: bytes
    size: int


def backup(paths: Paths, target: Path, copying: Progress, checking: Progress) -> Copy:
    """Copy a ledger's database, served or not, to the new file `target`, and audit the copy.

    Raises SetupError, Unavailable, or what an audit raises; then there is no file.
    """
    SqliteStore(paths.database).close()  # a database of another version is brought up to date
    # Before the copy is begun, so that the copy must hold what was handed out by then.
    mark = _handed_out(paths)
    refuse_existing(target)
    with appearing(target, 0o600) as draft:
        copy_database(paths.database, draft, copying)
        set_journal(draft, "DELETE")
        return _audited(draft, [mark] if mark else [], checking)


def _audited(database: Path, known: Sequence[Known], progress: Progress) -> Copy:
    """Audit a database that nobody uses. Raises SetupError or what an audit raises."""
    check_pages(database)
    store = SqliteStore(database)
    try:
        note = store.checkpoint()
        heads = [Known(*head) for head in store.heads()]
        policy = Policy.for_key(_key_of(store))
        report = audit(store, policy, [*heads, *known], progress)
    except NotFound as error:
        raise LogMismatch(None, "signed checkpoint", "one", str(error)) from error
    finally:
        store.close()
    _refuse_unless_understood(report)
    return Copy(report.checkpoint, note, database.stat().st_size)


def _handed_out(paths: Paths) -> Known | None:
    mark = HighWater(paths.high_water).read()
    return Known(*mark, f"what was last handed out, by {paths.high_water}") if mark else None


# -- restore


class Restored(NamedTuple):
    """What became of a restore.

    moved: where the files went that stood in its place. missing: key files that are not there.
    lost: what was handed out and is not in it, so that nothing is sealed. is_guarded: whether
    anything here could tell what was handed out.
    """

    copy: Copy
    moved: list[Path]
    missing: list[Path]
    lost: Known | None
    is_guarded: bool


def restore(
    paths: Paths,
    backup: Path,
    replace: bool,
    for_reading: bool,
    copying: Progress,
    checking: Progress,
) -> Restored:
    """Put the database `backup` in the place of `paths.database`, once a copy of it is audited.

    replace: move what stands there aside. for_reading: also when entries that were handed out
    are not in it, on which nothing will be sealed. Raises SetupError, RolledBack, or what an
    audit raises; then everything is as it was.
    """
    refuse_network_filesystem(paths.database.parent)
    there = [path for path in _with_its_journals(paths.database) if path.exists()]
    if there and not replace:
        raise SetupError(f"{there[0]} exists already; --replace moves it aside")
    if paths.database.exists():
        refuse_in_use(paths.database)
    with appearing(paths.database, 0o644) as draft:
        copy_database(backup, draft, copying)
        copy = _audited(draft, [], checking)
        key = _checked_key(draft, paths)
        guards = [g for g in (_handed_out(paths), _signed_before(paths.database, key)) if g]
        lost = _first_lost(draft, guards)
        if lost is not None and not for_reading:
            raise RolledBack(_too_old(copy, lost))
        set_journal(draft, "WAL")
        if lost is not None:
            _keep_guard(paths, lost)
        moved = _move_aside(paths.database)
    missing = [path for path in (paths.log_key, paths.key_secret) if not path.exists()]
    return Restored(copy, moved, missing, lost, bool(guards))


def _with_its_journals(database: Path) -> list[Path]:
    """Where the database's files are: SQLite would take an old journal for the new file's own."""
    endings = ("", "-wal", "-shm", "-journal")
    return [database.with_name(database.name + ending) for ending in endings]


def _checked_key(database: Path, paths: Paths) -> VerifierKey:
    """The key of a copy's ledger. Raises SetupError when the log key beside is of another one."""
    with closing(SqliteStore(database)) as store:
        key = _key_of(store)
    if paths.log_key.exists():
        own = read_signing_key(paths.log_key).verifier
        if own != key:
            raise SetupError(
                f"{paths.log_key} is the key {own}, but the backup is of the ledger {key}; restore "
                "it to another place, or put the right key there first"
            )
    return key


def _signed_before(database: Path, key: VerifierKey) -> Known | None:
    """What the database that is to be replaced signed last; None when that cannot be told."""
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            (note,) = connection.execute("SELECT checkpoint FROM head").fetchone()
        head = Policy.for_key(key).check(note)
    except (sqlite3.Error, TypeError, LedgerError):
        return None  # it is replaced for a reason
    return Known(head.size, head.root, f"what {database} signed last")


def _first_lost(database: Path, guards: Sequence[Known]) -> Known | None:
    """The largest of `guards` that the database does not extend."""
    with closing(SqliteStore(database)) as store:
        size = store.size()
        nodes = store.nodes(size)
        lost = [g for g in guards if g.size > size or root_at(g.size, nodes.node) != g.root]
    return max(lost, key=lambda guard: guard.size, default=None)


def _too_old(copy: Copy, lost: Known) -> str:
    return (
        f"the backup holds {copy.checkpoint.size} entries and does not extend the {lost.size} that "
        f"were handed out ({lost.source}). Entries that people hold receipts for would be gone, so "
        "nothing could be sealed on it any more: this ledger would have ended. Look for a newer "
        "copy first: the damaged file itself with its -wal, a snapshot, a replica of the disk. To "
        "put this one in place for reading alone, add --for-reading"
    )


def _keep_guard(paths: Paths, lost: Known) -> None:
    """Let the mark say what is lost, so that nothing is sealed without it."""
    mark = _handed_out(paths)
    if mark is None or mark.size < lost.size:
        HighWater(paths.high_water).write(lost.size, lost.root)


def _move_aside(database: Path) -> list[Path]:
    """Give what stands in the place of `database` another name; where it went."""
    name = f"{database.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    moved = []
    for path in _with_its_journals(database):
        if path.exists():
            aside = path.with_name(name + path.name.removeprefix(database.name))
            path.rename(aside)
            moved.append(aside)
    return moved
