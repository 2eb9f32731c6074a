"""What follows from the log can be made anew from it, and only from a log that is sound.

Each single damage: tests/cli/test_doctor.py, where it is found too.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.audit import audit
from ledger.service import Ledger
from ledger.store import rebuild
from ledger.store.rebuild import DERIVED, Comparison
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_WIDTH
from tests.command_line import Amanah
from tests.damage import DAMAGES, NOT_OF_THE_LOG, contents, copy_ledger, rich_ledger, run_sql
from tests.support import donation, refund, running_server


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("original") / "amanah.db"
    rich_ledger(database)
    ledger = Ledger.open(database)
    ledger.create_key("kita")
    ledger.close()
    run_sql(database, "INSERT INTO disclosures VALUES (7, 'a text that is kept')")
    run_sql(database, "INSERT INTO erasures VALUES (9, '2026-01-01T00:00:00Z', 'as was asked')")
    return database


def differences(database: Path) -> dict[str, str]:
    """table -> the first difference from what the log says, of tables that have one."""
    ledger = Ledger.open(database)
    key = ledger.vkeys[0]
    ledger.close()
    with closing(Comparison(database)) as comparison:
        note = comparison.note()
        comparison.derive(open_checkpoint(note, key), note, lambda done, size: None)
        found = {table: comparison.table(table) for table in DERIVED}
        found["entries"] = comparison.leaf_hashes()
    return {table: difference for table, difference in found.items() if difference}


def test_every_table_is_of_the_log_or_follows_from_it_or_is_kept_beside_it(original: Path) -> None:
    with closing(sqlite3.connect(original)) as connection:
        sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = {name for (name,) in connection.execute(sql) if name != "_sqlite_migrations"}
    assert tables == {"entries", *NOT_OF_THE_LOG, *DERIVED}
    assert all(contents(original).values()), "each table has a row to damage"
    assert {damage.table for damage in DAMAGES} == {"entries", *DERIVED}


def test_a_ledger_is_what_its_log_leads_to(original: Path, tmp_path: Path) -> None:
    lagging = Amanah(tmp_path)
    copy_ledger(original, lagging.database)
    before = contents(lagging.database)
    assert differences(lagging.database) == {}
    outcome = lagging("rebuild")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Rebuilt from 600 entries of ")
    after = contents(lagging.database)
    # The terms may reach further than they did; everything else is the same to the byte.
    for table in ("terms", "head"):
        before.pop(table)
        after.pop(table)
    assert after == before
    assert differences(lagging.database) == {}


def test_all_of_it_gone_is_made_anew(kept: Amanah) -> None:
    """But for the signed checkpoint, which nobody could make anew."""
    before = contents(kept.database)
    for table in DERIVED:
        if table != "head":
            run_sql(kept.database, f"DELETE FROM {table}")
    run_sql(kept.database, "UPDATE head SET size = 0, root = x'', prev = '', frontier = x''")
    assert kept("rebuild").code == 0
    assert contents(kept.database) == before


def test_it_is_the_same_in_many_chunks(kept: Amanah, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger is folded a chunk at a time, and most are larger than one."""
    before = contents(kept.database)
    monkeypatch.setattr(rebuild, "CHUNK", TILE_WIDTH)
    assert differences(kept.database) == {}
    assert kept("rebuild").code == 0
    after = contents(kept.database)
    for table in ("terms", "head"):  # where a run of terms begins is the writer's choice
        before.pop(table)
        after.pop(table)
    assert after == before
    assert differences(kept.database) == {}


def test_a_rebuilt_ledger_goes_on(kept: Amanah) -> None:
    run_sql(kept.database, "DELETE FROM undone")
    assert kept("rebuild").code == 0
    ledger = Ledger.open(kept.database)
    gift = ledger.post("kita", [donation(ref="after")]).entries[0].index
    ledger.post("kita", [refund(gift, ref="after-it")])
    assert audit(ledger.store, Policy.for_key(ledger.vkeys[0])).checkpoint.size == 602
    ledger.close()
    assert differences(kept.database) == {}


ALTER = """UPDATE entries
SET bytes = CAST(replace(CAST(bytes AS TEXT), '1000', '9000') AS BLOB) WHERE rowid = 300"""


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (ALTER, "index 300: totals"),
        ("DELETE FROM entries WHERE rowid = 300", "index 300: entry"),
        ("DELETE FROM entries WHERE rowid > 590", "index 591: entry"),
        ("INSERT INTO entries SELECT 600, bytes, leaf_hash FROM entries WHERE rowid = 9", "600"),
        ("UPDATE head SET checkpoint = x''", "signed checkpoint"),
        ("DELETE FROM head", "signed checkpoint"),
        ("UPDATE head SET checkpoint = x'00'", "malformed"),
    ],
    ids=["altered", "one missing", "cut off", "one more", "not signed", "no head", "nonsense"],
)
def test_a_log_that_is_not_sound_is_left_alone(kept: Amanah, sql: str, said: str) -> None:
    run_sql(kept.database, "DELETE FROM undone")  # something to mend, if it only could
    run_sql(kept.database, sql)
    before = contents(kept.database)
    outcome = kept("rebuild")
    assert outcome.code == 1
    assert said in outcome.err
    assert contents(kept.database) == before


def test_a_ledger_that_is_served_is_not_rebuilt(kept: Amanah) -> None:
    """Its processes keep at hand what never changes, also when it is damaged."""
    with running_server(kept.database):
        outcome = kept.really("rebuild")
    assert outcome.code == 2
    assert "is in use; stop the service" in outcome.err
    assert kept("rebuild").code == 0
