"""Checks of the database: is it whole, is the log the one that was signed, does the rest follow."""

from __future__ import annotations

import json
import sqlite3
from functools import partial

from sqlite_utils import Database

from ledger.disclosure import asked_for, digest
from ledger.doctor.case import Case, Check, Verdict, fine, wrong
from ledger.errors import LogMismatch
from ledger.service import Ledger
from ledger.store.files import HighWater
from ledger.store.migrations import migrations as known_migrations
from ledger.store.rebuild import DERIVED
from ledger.store.sqlite import SqliteStore, make_durable
from ledger.tlog.merkle import root_at
from ledger.tlog.policy import Policy

WAL_BYTES_MAX = (
    256 * 2**20
)  # SQLite keeps it at some 4 MiB, as long as no reader stays in one place
SYNCHRONOUS_FULL = 2
_RESTORE = "keep this copy, look at the disk, and `amanah restore` the newest backup"
_ERASE = "`amanah erase` it again; then find out who put it back"
_NOT_SERVED = "it is not served; find out who altered it, and put the text back from a backup"
_REBUILD = "stop the service, then `amanah rebuild`"


def database(case: Case) -> Verdict:
    (first,) = case.value("PRAGMA quick_check(1)")
    if first != "ok":
        return wrong(f"{case.paths.database} is damaged: {first}", _RESTORE)
    return fine("SQLite finds the file whole")


def migrations(case: Case) -> Verdict:
    tables = Database(case.connection, execute_plugins=False)
    pending = [str(migration.name) for migration in known_migrations.pending(tables)]
    if pending:
        what = f"not made yet: {', '.join(pending)}"
        return wrong(
            what, "any command that opens the ledger makes them, such as `amanah key list`"
        )
    return fine("the tables are those of this version")


def durability(case: Case) -> Verdict:
    (journal,) = case.value("PRAGMA journal_mode")
    if journal != "wal":
        return wrong(f"journal mode {journal}, not wal", "restart the service, which sets it")
    make_durable(case.connection)
    (synchronous,) = case.value("PRAGMA synchronous")
    if synchronous != SYNCHRONOUS_FULL:
        what = f"synchronous is {synchronous}, not FULL, on a connection as the writer opens it"
        return wrong(what, "do not write with this version; report it")
    return fine("journal mode wal, synchronous FULL")


def wal(case: Case) -> Verdict:
    path = case.paths.database.with_name(f"{case.paths.database.name}-wal")
    size = path.stat().st_size if path.exists() else 0
    said = f"the write-ahead log has {size / 2**20:.0f} MiB"
    if size > WAL_BYTES_MAX:
        why = "something has been reading in one place for long"
        return wrong(f"{said}: {why}", "end old readers, then restart the service: it folds it in")
    return fine(said)


def keys(case: Case) -> Verdict:
    ledger = Ledger.open(case.paths.database)
    ledger.close()
    return fine(f"the key files are those of {ledger.origin}")


def checkpoint(case: Case) -> Verdict:
    note = case.comparison.note()
    if not note:
        return wrong("there is no signed checkpoint", _RESTORE)
    case.checkpoint = Policy.for_key(case.genesis_key()).check(note)
    return fine(f"signed, of {case.checkpoint.size} entries")


def high_water(case: Case) -> Verdict:
    mark = HighWater(case.paths.high_water).read()  # before the size: the ledger grows on
    if mark is None:
        what = f"{case.paths.high_water} is missing: until the next post nothing guards this ledger"
        return wrong(what, "move the file here too, if the ledger came from another machine")
    size, root = mark
    store = SqliteStore(case.paths.database)
    try:
        held = store.size()
        extends = size <= held and root_at(size, store.nodes(held).node) == root
    finally:
        store.close()
    if extends:
        return fine(f"the {size} entries that were handed out are all there")
    what = f"{size} entries were handed out, and the {held} entries here do not extend them"
    return wrong(what, 'sealing has stopped; see docs/operate.md, "Restore and the rollback guard"')


def log(case: Case) -> Verdict:
    assert case.checkpoint is not None, "checked before"
    try:
        case.comparison.derive(case.checkpoint, case.comparison.note(), case.progress)
    except LogMismatch as error:
        where = "checkpoint" if error.index is None else f"entry {error.index}"
        what = f"{error.compared}: expected {error.expected}, found {error.found}"
        return wrong(f"{where}: {what}", _RESTORE)
    return fine(f"all {case.checkpoint.size} entries are those of the checkpoint, and add up")


def leaf_hashes(case: Case) -> Verdict:
    difference = case.comparison.leaf_hashes()
    return wrong(difference, _REBUILD) if difference else fine("every entry has its hash beside it")


def texts(case: Case) -> Verdict:
    """Each text beside the log is the one that was sealed, and none that was erased is there."""
    statements = 'SELECT d."index", bytes, CAST(disclosure AS BLOB), e."index" '
    sources = (
        'FROM disclosures AS d LEFT JOIN entries USING ("index") LEFT JOIN erasures AS e '
        'ON e."index" = d."index" ORDER BY 1'
    )
    count = 0
    for index, data, text, erased in case.connection.execute(statements + sources):
        if erased is not None:
            return wrong(f"the text beside entry {index} was erased, and is there", _ERASE)
        asked = asked_for(json.loads(data)["statement"]) if data is not None else set()
        if digest(text.decode(errors="replace")) not in asked:
            return wrong(f"the text beside entry {index} is not what was sealed", _NOT_SERVED)
        count += 1
    return fine(f"{count} kept beside the log, each the one that was sealed")


def _table(name: str, case: Case) -> Verdict:
    try:
        difference = case.comparison.table(name)
    except sqlite3.Error as error:
        difference = str(error)
    return wrong(difference, _REBUILD) if difference else fine("as the log says")


TABLES: dict[str, Check] = {name: partial(_table, name) for name in DERIVED}
