"""How SQLite finds what the service asks for: never by reading a table from end to end."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from ledger import sequencer, viewing
from ledger.app import create_app
from ledger.config import Config
from ledger.store.views import VIEW_TABLES
from tests.shelf import Shelf, fill
from tests.support import donation, returned

FILTERS = {
    "fund": "air",
    "type": "donation",
    "party": "yayasan",
    "programme": "gizi",
    "platform": "kita",
}
PATHS = """
/v1/entries/7 /v1/entries/7/receipt /v1/parties /v1/parties/kita /v1/programmes /v1/programmes/gizi
/v1/entries/11/trace /v1/entries/15/trace
/v1/funds /v1/funds/air /v1/programmes/gizi/graph /v1/proofs/inclusion?index=7&size=300
/v1/proofs/consistency?from=7&to=300
/v1/ledger /checkpoint /tile/0/000 /tile/0/001.p/9 /tile/1/000.p/1 /tile/entries/000
/tile/entries/001.p/9 /v1/entries?platform=kita&ref=n8 /v1/funds?after=air /readyz
""".split()
# Tables of one row, and the texts that SQLite takes apart for us.
SCANNED = re.compile(r"SCAN (head|viewed|json_each|\w+ VIRTUAL TABLE.*)")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, set[str]]:
    """A database, and every statement of SQL that filling and reading it over the API takes."""
    statements: set[str] = set()
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(statements.add)
        return connection

    monkeypatch.setattr(sequencer, "INDEX_EVERY", 64)
    monkeypatch.setattr(viewing, "BULK", 64)
    monkeypatch.setattr("ledger.store.sqlite.sqlite3.connect", traced)
    database = tmp_path / "amanah.db"
    fill(database)
    app = create_app(Config.from_environment({"AMANAH_DATABASE": str(database)}))
    with closing(app.extensions["amanah"]):
        shelf = Shelf(app)
        shelf.key("kita")
        shelf.post(donation("air", "one-more"), returned(15, "came-back", amount="1"))
        while shelf.ledger.views.follow():
            pass  # in bulks, each of which lies on what the ones before have stored
        for path in PATHS:
            shelf.get(path)
        for count in range(len(FILTERS) + 1):
            for names in combinations(FILTERS, count):
                for order in ("asc", "desc"):
                    query = {name: FILTERS[name] for name in names}
                    list(shelf.pages({**query, "order": order, "limit": 200}))
    return database, statements


def test_no_query_reads_a_table_from_end_to_end(asked: tuple[Path, set[str]]) -> None:
    database, statements = asked
    looks = {s for s in statements if s.startswith(("SELECT", "UPDATE", "DELETE"))}
    tables = {match[1] for s in looks for match in re.finditer(r"(?:FROM|JOIN) (\w+)", s)}
    assert {"entries", "refs", "terms", "tiles", "funds", "parties", "undone", "holes"} <= tables
    assert set(VIEW_TABLES) <= tables
    with closing(sqlite3.connect(database)) as connection:
        for statement in looks:
            if "sqlite_master" in statement or "_sqlite_migrations" in statement:
                continue  # asked once, when a ledger is opened
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for step in plan:
                is_scan = step.startswith("SCAN") and SCANNED.fullmatch(step) is None
                assert not is_scan, f"{statement}\n{plan}"
                assert "TEMP B-TREE" not in step, f"{statement}\n{plan}"
