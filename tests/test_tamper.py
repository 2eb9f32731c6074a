"""Whatever is changed in the database behind its back, `amanah verify` says so and says where.

A table of every column of every table. What `verify` passes over is listed as such: it follows
from the log (REBUILDABLE, which `amanah doctor` finds and `amanah rebuild` makes anew), or it is
not of the log at all (NOT_OF_THE_LOG).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from ledger.service import Ledger
from ledger.store.migrations import migrations
from tests.command_line import Amanah, found, verdict
from tests.damage import copy_ledger
from tests.signers import acknowledgement, keyed, signed
from tests.simulator import flipped
from tests.support import (
    ORIGIN,
    PLATFORM,
    disbursement,
    donation,
    fund,
    goods,
    post_report,
    programme,
    refund,
    returned,
)

ITEM = goods("goods_in", "air", "oil", "0.5", item="oil", unit="LTR")
SIZE = 560  # two full tiles, and a partial one
GIFT = 100
Change = Callable[[sqlite3.Connection], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of 560 entries with rows in every table."""
    database = tmp_path_factory.mktemp("original") / "amanah.db"
    ledger = Ledger.create(database, ORIGIN, "Tests")
    for platform in (PLATFORM, "other"):
        ledger.create_key(platform)
    things = [fund("air"), fund("gizi"), programme("p-1"), programme("p-2")]
    ledger.post(PLATFORM, things)
    ledger.post(PLATFORM, [donation("gizi" if n % 2 else "air", f"gift-{n}") for n in range(530)])
    for n in (20, 30):  # each leaves a hole, and something that cannot be given back again
        ledger.post(PLATFORM, [refund(n, f"refund-{n}", amount="400")])
    paid = ledger.post(PLATFORM, [disbursement("gizi")]).entries[0].index
    back = (returned(paid, amount="7"), returned(paid, "again", amount="3"))
    ledger.post(PLATFORM, [back[0], donation("air", "between"), back[1]])
    for name, status in (("desa", "received"), ("kota", "disputed")):
        ledger.post(PLATFORM, [signed(keyed(name), name)])
        out = disbursement("air", f"to-{name}", amount="5", recipient={"party": name})
        [sent] = ledger.post(PLATFORM, [out]).entries
        said = acknowledgement(sent.index, sent.leaf_hash, name, f"from-{name}", status=status)
        ledger.post(PLATFORM, [signed(said, name)])
    ledger.post(PLATFORM, [goods("goods_in", "air", "rice", "3"), ITEM])
    post_report(ledger, "What became of it, in many words.", fund="air")
    erased = post_report(ledger, "Words that were erased.", "report-2", fund="air")
    ledger.erase(erased, "as was asked")
    ledger.post(PLATFORM, [returned(paid, "again", amount="3")])
    rest = SIZE - ledger.store.size()
    ledger.post(PLATFORM, [donation("air", f"late-{n}") for n in range(rest)])
    with ledger.store.writing() as transaction:
        transaction.index_terms()  # which else waits until there are more
        transaction.commit()
    assert ledger.views.follow()  # which else waits until somebody asks, and there is more
    ledger.close()
    return database


@pytest.fixture
def amanah(original: Path, tmp_path: Path) -> Amanah:
    """The command line at a copy of the ledger."""
    amanah = Amanah(tmp_path)
    copy_ledger(original, amanah.database)
    return amanah


@contextmanager
def written(amanah: Amanah) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(amanah.database)) as connection, connection:
        yield connection


def test_untouched_it_is_sound(amanah: Amanah) -> None:
    assert verdict(amanah, amanah.database).json["size"] == SIZE


def other(value: Any) -> Any:
    """A value of the same kind that is not the same."""
    if isinstance(value, bytes):
        return flipped(value, 8 * (len(value) // 2) + 1)
    if isinstance(value, int):
        return value + 1
    return value[:-1] + ("x" if value[-1:] != "x" else "y")


def edit(table: str, column: str, where: str = "true") -> Change:
    """Change one value: that of the first row, or of the first to which `where` applies."""

    def change(connection: sqlite3.Connection) -> None:
        keys = primary_key(connection, table)
        sql = f'SELECT "{column}", {keys} FROM {table} WHERE {where} ORDER BY {keys}'
        value, *key = connection.execute(sql).fetchone()
        marks = ", ".join("?" * len(key))
        sql = f'UPDATE {table} SET "{column}" = ? WHERE ({keys}) = ({marks})'
        assert connection.execute(sql, (other(value), *key)).rowcount == 1

    return change


def primary_key(connection: sqlite3.Connection, table: str) -> str:
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return ", ".join(f'"{row[1]}"' for row in sorted(rows, key=lambda row: row[5]) if row[5])


def run(*statements: str) -> Change:
    def change(connection: sqlite3.Connection) -> None:
        for sql in statements:
            assert connection.execute(sql).rowcount != 0, sql

    return change


def swap(table: str, columns: str, one: str, two: str) -> Change:
    """Give each of two rows the other's values."""

    def change(connection: sqlite3.Connection) -> None:
        rows = [
            connection.execute(f"SELECT {columns} FROM {table} WHERE {where}").fetchone()
            for where in (one, two)
        ]
        assert rows[0] != rows[1]
        marks = ", ".join("?" * len(rows[0]))
        for where, row in zip((two, one), rows, strict=True):
            connection.execute(f"UPDATE {table} SET ({columns}) = ({marks}) WHERE {where}", row)

    return change


def first_rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    """The first two rows, in the order of their keys, that are more than a key."""
    order = primary_key(connection, table)
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY {order} LIMIT 2")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def delete_first(table: str) -> Change:
    def change(connection: sqlite3.Connection) -> None:
        keys = primary_key(connection, table)
        sql = f"DELETE FROM {table} WHERE ({keys}) = (SELECT {keys} FROM {table} ORDER BY {keys})"
        assert connection.execute(sql).rowcount == 1

    return change


def insert_another(table: str) -> Change:
    """Put in a copy of the first row under a key of its own."""

    def change(connection: sqlite3.Connection) -> None:
        row = first_rows(connection, table)[0]
        key = primary_key(connection, table).split(", ")[0].strip('"')
        row[key] = row[key] + 5000 if isinstance(row[key], int) else other(row[key])
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(row.values()))

    return change


def swap_first(table: str) -> Change:
    """Give each of the first two rows what the other says, but for the key."""

    def change(connection: sqlite3.Connection) -> None:
        one, two = first_rows(connection, table)
        keys = [name.strip('"') for name in primary_key(connection, table).split(", ")]
        assert one != two
        connection.execute(f"DELETE FROM {table}")
        for row, key_of in ((one, two), (two, one)):
            mixed = row | {name: key_of[name] for name in keys}
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(mixed.values()))

    return change


def _columns() -> dict[str, list[str]]:
    """The columns of every table that a ledger's database has."""
    database = Database(memory=True)
    migrations.apply(database)
    return {table.name: [column.name for column in table.columns] for table in database.tables}


COLUMNS = _columns()
AT = f'"index" = {GIFT}'
NEXT = f'"index" = {GIFT + 1}'
COPY = "SELECT bytes, leaf_hash FROM entries WHERE"
FIRST_TILE, SECOND_TILE = 'level = 0 AND "index" = 0', 'level = 0 AND "index" = 1'

# change -> (the index that is named, how what was compared begins)
PROVED: dict[str, tuple[Change, int | None, str]] = {
    "entries.bytes": (edit("entries", "bytes", AT), GIFT, "leaf hash of the entry"),
    "entries.index": (
        run(f'UPDATE entries SET "index" = 5000 WHERE {AT}'),
        GIFT,
        "entry",
    ),
    "entries.leaf_hash": (
        edit("entries", "leaf_hash", f'"index" = {SIZE - 1}'),
        SIZE - 1,
        "leaf hash of the entry",
    ),
    "entries: delete": (run(f"DELETE FROM entries WHERE {AT}"), GIFT, "entry"),
    "entries: delete the last": (
        run(f'DELETE FROM entries WHERE "index" = {SIZE - 1}'),
        SIZE - 1,
        "entry",
    ),
    "entries: cut the tail": (run('DELETE FROM entries WHERE "index" >= 300'), 300, "entry"),
    "entries: swap": (swap("entries", "bytes, leaf_hash", AT, NEXT), GIFT, "leaf hash"),
    "entries: insert behind": (
        run(f"INSERT INTO entries SELECT {SIZE}, bytes, leaf_hash FROM entries WHERE {AT}"),
        SIZE,
        "entries of the database",
    ),
    "entries: insert far behind": (
        run(f"INSERT INTO entries SELECT 9999, bytes, leaf_hash FROM entries WHERE {AT}"),
        9999,
        "entries of the database",
    ),
    "entries: insert before": (
        run(f"INSERT INTO entries SELECT -1, bytes, leaf_hash FROM entries WHERE {AT}"),
        -1,
        "entries of the database",
    ),
    "entries: insert between": (
        run(
            f'UPDATE entries SET "index" = -"index" - 1 WHERE "index" >= {GIFT}',
            'UPDATE entries SET "index" = -"index" WHERE "index" < 0',
            f"INSERT INTO entries SELECT {GIFT}, bytes, leaf_hash FROM entries WHERE {NEXT}",
            f'DELETE FROM entries WHERE "index" = {SIZE}',
        ),
        GIFT + 1,
        "leaf hash of the entry",
    ),
    "entries: another in its place": (
        run(f"UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE {NEXT}) WHERE {AT}"),
        GIFT,
        "leaf hash of the entry",
    ),
    "entries: all of them": (run("DELETE FROM entries"), 0, "first entry"),
    "tiles.hashes of level 0": (edit("tiles", "hashes", FIRST_TILE), 128, "leaf hash of the entry"),
    "tiles.hashes of level 1": (edit("tiles", "hashes", "level = 1"), 256, "hash 1 of tile/1/000"),
    "tiles.level": (run(f"UPDATE tiles SET level = 7 WHERE {FIRST_TILE}"), 0, "row of tile/0/000"),
    "tiles.index": (
        run(f'UPDATE tiles SET "index" = 7 WHERE {SECOND_TILE}'),
        256,
        "row of tile/0/001",
    ),
    "tiles: delete": (run(f"DELETE FROM tiles WHERE {SECOND_TILE}"), 256, "row of tile/0/001"),
    "tiles: delete that of level 1": (run("DELETE FROM tiles WHERE level = 1"), 0, "tile/1/000"),
    "tiles: swap": (swap("tiles", "hashes", FIRST_TILE, SECOND_TILE), 0, "leaf hash of the entry"),
    "tiles: insert": (
        run("INSERT INTO tiles VALUES (0, 5, zeroblob(8192), zeroblob(512))"),
        5 * 256,
        "row of tile/0/005",
    ),
    "tiles: insert at a level too many": (
        run("INSERT INTO tiles VALUES (2, 0, zeroblob(32), NULL)"),
        0,
        "row of tile/2/000",
    ),
    "tiles: longer": (
        run("UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB) WHERE level = 1"),
        0,
        "row of tile/1/000",
    ),
    "tiles: shorter": (
        run(f"UPDATE tiles SET hashes = substr(hashes, 1, 8160) WHERE {SECOND_TILE}"),
        256,
        "tile/0/001",
    ),
    "head.size": (run("UPDATE head SET size = size + 1"), SIZE, "size, against the head"),
    "head.size, smaller": (run("UPDATE head SET size = size - 1"), SIZE - 2, "root at size"),
    "head.root": (edit("head", "root"), SIZE - 1, f"root at size {SIZE}, against the head"),
    "head.prev": (edit("head", "prev"), SIZE - 1, "prev of the database's head"),
    "head.recorded_at": (edit("head", "recorded_at"), SIZE - 1, "recorded_at of the database's"),
    "head.frontier": (edit("head", "frontier"), SIZE - 1, "frontier of the database's head"),
    "head.frontier, shorter": (
        run("UPDATE head SET frontier = substr(frontier, 1, 32)"),
        SIZE - 1,
        "frontier of the database's head",
    ),
    "head: delete": (run("DELETE FROM head"), None, "signed checkpoint"),
    "head.checkpoint, none": (run("UPDATE head SET checkpoint = x''"), None, "signed checkpoint"),
}

# What follows from the log. `verify` reads none of it, so its verdict stays; who serves or seals
# by it needs `amanah doctor`, which names it, and `amanah rebuild`, which makes it anew.
DERIVED = tuple(
    "refs terms parties key_owners programmes funds undone acknowledged holes stocks purses "
    "memberships kinds outflows lots came went returns flows weights".split()
)
REBUILDABLE: dict[str, Change] = {
    "entries.leaf_hash under a full tile": edit("entries", "leaf_hash", AT),
    "tiles.middle": edit("tiles", "middle", FIRST_TILE),
    "head.indexed": edit("head", "indexed"),
    "viewed.size": edit("viewed", "size"),
    "viewed: delete": run("DELETE FROM viewed"),
    **{f"{table}.{name}": edit(table, name) for table in DERIVED for name in COLUMNS[table]},
    **{f"{table}: delete the first": delete_first(table) for table in DERIVED},
    **{f"{table}: delete all": run(f"DELETE FROM {table}") for table in DERIVED},
    **{f"{table}: insert": insert_another(table) for table in DERIVED},
    **{f"{table}: swap": swap_first(table) for table in DERIVED},
}

# Who may post, texts beside the log and which tables there are: of this machine, and of no log.
# `amanah doctor` names a text that is not the one whose digest was sealed.
NOT_OF_THE_LOG: dict[str, Change] = {
    "keys.key_id": edit("keys", "key_id"),
    "keys.platform": edit("keys", "platform"),
    "keys.scopes": edit("keys", "scopes"),
    "keys.hash": edit("keys", "hash"),
    "keys.created_at": edit("keys", "created_at"),
    "keys.revoked_at": run("UPDATE keys SET revoked_at = '2026-01-01T00:00:00Z'"),
    "keys: delete": run("DELETE FROM keys"),
    **{
        f"{table}.{name}": edit(table, name)
        for table in ("disclosures", "erasures")
        for name in COLUMNS[table]
    },
    "disclosures: delete": delete_first("disclosures"),
    "erasures: delete": delete_first("erasures"),
    "_sqlite_migrations.applied_at": edit("_sqlite_migrations", "applied_at"),
}
# head.one is 1 by a CHECK; the other columns of that table say which tables were made.
UNCHANGEABLE = {
    "head.one",
    "viewed.one",
    *(f"_sqlite_migrations.{name}" for name in ("id", "migration_set", "name")),
}
# Values whose change is no LogMismatch but a note that its key did not sign.
SIGNED = {"head.checkpoint"}


@pytest.mark.parametrize(("change", "index", "compared"), PROVED.values(), ids=PROVED)
def test_a_change_of_the_log_is_found_at_its_place(
    amanah: Amanah, change: Change, index: int | None, compared: str
) -> None:
    with written(amanah) as connection:
        change(connection)
    place, what = found(amanah, amanah.database)
    assert (place, what[: len(compared)]) == (index, compared)
    assert not amanah.state.exists()  # what is not sound is not remembered


@pytest.mark.parametrize("change", REBUILDABLE.values(), ids=REBUILDABLE)
def test_verify_s_verdict_on_what_can_be_rebuilt(amanah: Amanah, change: Change) -> None:
    with written(amanah) as connection:
        change(connection)
    assert verdict(amanah, amanah.database).code == 0


@pytest.mark.parametrize("change", NOT_OF_THE_LOG.values(), ids=NOT_OF_THE_LOG)
def test_verify_s_verdict_on_what_is_not_of_the_log(amanah: Amanah, change: Change) -> None:
    with written(amanah) as connection:
        change(connection)
    assert verdict(amanah, amanah.database).code == 0


def test_no_column_is_left_out() -> None:
    changes = (*PROVED, *REBUILDABLE, *NOT_OF_THE_LOG)
    named = {name.split(",")[0].split(" ")[0] for name in changes} | UNCHANGEABLE | SIGNED
    columns = {f"{table}.{name}" for table, names in COLUMNS.items() for name in names}
    assert {name for name in named if not name.endswith(":")} == columns
    assert {name.split(".")[0] for name in columns} == {re.split("[.:]", n)[0] for n in named}
