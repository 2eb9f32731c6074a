"""A ledger with a row in every table, and ways to damage what follows from its log."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from ledger import sequencer
from ledger.service import Ledger
from ledger.store.rebuild import DERIVED
from tests.shelf import fill

NOT_OF_THE_LOG = ("keys", "disclosures", "erasures")


class Damage(NamedTuple):
    """What is wrong, in which table it must be found, and the SQL that does it."""

    name: str
    table: str
    sql: str


DAMAGES = [
    Damage("a leaf hash", "entries", "UPDATE entries SET leaf_hash = x'00' WHERE rowid = 270"),
    Damage("the newest one", "entries", "UPDATE entries SET leaf_hash = x'' WHERE rowid = 599"),
    Damage("a tile's hashes", "tiles", "UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0"),
    Damage("no upper tile", "tiles", "DELETE FROM tiles WHERE level = 1"),
    Damage("a tile too many", "tiles", "INSERT INTO tiles VALUES (0, 9, zeroblob(8192), NULL)"),
    Damage("the head's size", "head", "UPDATE head SET size = 7"),
    Damage("the head's root", "head", "UPDATE head SET root = zeroblob(32)"),
    Damage("the head's prev", "head", "UPDATE head SET prev = 'nonsense'"),
    Damage("the head's time", "head", "UPDATE head SET recorded_at = '2001-01-01T00:00:00.000Z'"),
    Damage("the head's frontier", "head", "UPDATE head SET frontier = zeroblob(32)"),
    Damage("no ref", "refs", "DELETE FROM refs WHERE ref = 'n7'"),
    Damage("another entry's ref", "refs", "UPDATE refs SET \"index\" = 9 WHERE ref = 'n7'"),
    Damage("a ref of nobody", "refs", "INSERT INTO refs VALUES ('aa', 'made-up', 3)"),
    Damage("no term", "terms", "DELETE FROM terms WHERE kind = 'fund' AND run = 0"),
    Damage("a term too many", "terms", "INSERT INTO terms VALUES ('zz', 'made-up', 0, '[3]')"),
    Damage("terms in no run", "terms", "UPDATE terms SET run = run + 1 WHERE kind = 'type'"),
    Damage("terms that are no JSON", "terms", "UPDATE terms SET indexes = '[' WHERE kind = 'type'"),
    Damage("terms said to reach less far", "terms", "UPDATE head SET indexed = 300"),
    Damage("terms said to reach further", "head", "UPDATE head SET indexed = 700"),
    Damage("no party", "parties", "DELETE FROM parties WHERE id = 'kita'"),
    Damage("another registrar", "parties", "UPDATE parties SET platform = 'x' WHERE id = 'kita'"),
    Damage("a party's keys", "parties", "UPDATE parties SET keys = '[]'"),
    Damage("a party said to sign all", "parties", "UPDATE parties SET signed_only = 1"),
    Damage("nobody's key", "key_owners", "DELETE FROM key_owners"),
    Damage("another party's key", "key_owners", "UPDATE key_owners SET party = 'kita'"),
    Damage("nothing acknowledged", "acknowledged", "DELETE FROM acknowledged"),
    Damage("not received", "acknowledged", "UPDATE acknowledged SET is_received = 0"),
    Damage("no programme", "programmes", "DELETE FROM programmes WHERE id = 'gizi'"),
    Damage("a replaced programme", "programmes", "UPDATE programmes SET \"index\" = 6"),
    Damage("no fund", "funds", "DELETE FROM funds WHERE id = 'kosong'"),
    Damage("a fund's counters", "funds", "UPDATE funds SET counters_minor = '{}' WHERE id = 'air'"),
    Damage("a fund's cursor", "funds", "UPDATE funds SET cursor_minor = 0 WHERE id = 'air'"),
    Damage("nothing undone", "undone", "DELETE FROM undone"),
    Damage("more undone", "undone", "UPDATE undone SET amount_minor = amount_minor + 1"),
    Damage("no holes", "holes", "DELETE FROM holes"),
    Damage("no stock", "stocks", "DELETE FROM stocks"),
    Damage("more goods", "stocks", "UPDATE stocks SET in_millionths = in_millionths + 1"),
    Damage("views said to reach further", "viewed", "UPDATE viewed SET size = 700"),
    Damage("another owner", "purses", "UPDATE purses SET owner = 'kita' WHERE fund = 'desa'"),
    Damage("more acknowledged", "purses", "UPDATE purses SET acknowledged_minor = 7"),
    Damage("in no programme", "memberships", "DELETE FROM memberships WHERE id = 'gizi'"),
    Damage("another kind", "kinds", "UPDATE kinds SET kind = 'ngo' WHERE party = 'dinkes'"),
    Damage("no outflow", "outflows", 'DELETE FROM outflows WHERE "index" < 30'),
    Damage("other people's money", "outflows", "UPDATE outflows SET pieces = '[]'"),
    Damage("a lot less", "lots", "DELETE FROM lots WHERE fund = 'desa'"),
    Damage("older money", "lots", "UPDATE lots SET given_at = given_at - 1"),
    Damage("no way in", "came", "DELETE FROM came WHERE fund = 'desa'"),
    Damage("another way in", "came", 'UPDATE came SET "index" = "index" + 1'),
    Damage("no way out", "went", "DELETE FROM went WHERE fund = 'desa'"),
    Damage("a longer way out", "went", "UPDATE went SET from_minor = from_minor - 1"),
    Damage("nothing came back", "returns", "DELETE FROM returns"),
    Damage("a larger flow", "flows", "UPDATE flows SET amount_minor = amount_minor + 1"),
    Damage("less that came back", "flows", "UPDATE flows SET undone_minor = 0"),
    Damage("no weights", "weights", "DELETE FROM weights"),
    Damage("a longer wait", "weights", "UPDATE weights SET hours = hours + 1"),
    Damage("larger holes", "holes", "UPDATE holes SET from_minor = from_minor - 1"),
]  # fmt: skip


def rich_ledger(database: Path) -> None:
    """Make a ledger of 600 entries that leaves no table empty but those that are not of the log."""
    with mock.patch.object(sequencer, "INDEX_EVERY", 100):
        fill(database)
    ledger = Ledger.open(database)
    assert ledger.views.follow()  # which else waits until somebody asks, and there is more
    ledger.close()


def copy_ledger(database: Path, target: Path) -> None:
    """Copy a closed ledger with the files beside it, under the name of `target`."""
    for path in database.parent.glob(f"{database.name}*"):
        if not path.name.endswith(("-wal", "-shm")):
            shutil.copy(path, f"{target}{path.name.removeprefix(database.name)}")


def run_sql(database: Path, sql: str) -> None:
    """Do to the database what nothing of ours does."""
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(sql).rowcount != 0


def contents(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of a ledger."""
    with closing(sqlite3.connect(database)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
            for table in ("entries", *NOT_OF_THE_LOG, *DERIVED)
        }
