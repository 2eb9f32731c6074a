"""Logs to view: of the generator, with acknowledgements in between, and where to keep them."""

from __future__ import annotations

import random
import sqlite3
from typing import Any

from sqlite_utils import Database

from ledger.books import Books
from ledger.entry import canonical
from ledger.errors import Refusal
from ledger.state import EmptyState
from ledger.store.migrations import migrations
from ledger.store.views import VIEW_TABLES, ViewTables
from ledger.views.answers import Reading
from schemas.check import check_statement
from tests.independent.generator import CURRENCIES, generate
from tests.views_oracle import Entry

LENGTH = 700
STATUSES = ("received", "received", "partial", "not_received", "disputed")


def log(seed: int, n: int = LENGTH) -> list[Entry]:
    """Entries as the books admit them, and acknowledgements among them."""
    books = Books(EmptyState(), {})
    genesis: Entry = {"type": "genesis", "ref": "genesis", "origin": "o", "currencies": CURRENCIES}
    posts = [("ledger", genesis), *generate(seed, n)]
    entries: list[Entry] = []
    for platform, statement in posts:
        if well_formed(statement) and (
            totals := admitted(books, len(entries), platform, statement)
        ):
            entries.append(
                totals | {"recorded_at": f"2026-01-05T{len(entries) // 60:02}:00:00.000Z"}
            )
    return with_acknowledgements(entries, random.Random(seed))


def well_formed(statement: Entry) -> bool:
    """The generator spoils some, which the schema would refuse before the books see them."""
    if statement["type"] == "genesis":
        return True
    try:
        check_statement(statement, len(canonical(statement)), CURRENCIES)
    except Refusal:
        return False
    return True


def admitted(books: Books, index: int, platform: str, statement: Entry) -> Entry | None:
    try:
        totals = books.post(index, platform, statement)
    except Refusal:
        return None
    sums = "goods" if statement["type"].startswith("goods") else "totals"
    return {"index": index, "platform": platform, "statement": statement, sums: totals}


def with_acknowledgements(entries: list[Entry], rng: random.Random) -> list[Entry]:
    """The same, numbered anew, with acknowledgements of outflows in between, some of one twice."""
    found: list[Entry] = []
    number: dict[int, int] = {}
    outflows: list[Entry] = []
    for entry in entries:
        statement = dict(entry["statement"])
        if "target" in statement:
            statement["target"] = number[statement["target"]]
        number[entry["index"]] = len(found)
        found.append(entry | {"index": len(found), "statement": statement})
        if statement["type"] in ("disbursement", "transfer"):
            outflows.append(found[-1])
        if outflows and rng.random() < 0.2:
            statement = acknowledgement(rng.choice(outflows[-20:]), rng)
            found.append(entry | {"index": len(found), "statement": statement, "totals": []})
    return found


def acknowledgement(outflow: Entry, rng: random.Random) -> Entry:
    statement: Entry = {"type": "acknowledgement", "ref": "a", "target": outflow["index"]}
    statement |= {"status": rng.choice(STATUSES), "occurred_at": "2025-12-31T23:59:59+07:00"}
    if statement["status"] == "partial":
        amount = outflow["statement"]["amount"]
        statement["amount"] = amount if rng.random() < 0.5 else "1"
    return statement


# -- a database that holds a log and its views, and nothing else


class Kept:
    """Views in a database of their own, over entries that only stand there."""

    def __init__(self, entries: list[Entry]) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrations.apply(Database(self.connection, execute_plugins=False))
        rows = [(entry["index"], canonical(entry), b"") for entry in entries]
        self.connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
        self.tables = ViewTables(self.connection, lambda: CURRENCIES)

    def follow(self, end: int, bulk: int) -> Kept:
        while self.tables.reach() < end:
            self.tables.save(self.tables.fold(min(self.tables.reach() + bulk, end)))
        return self

    def rows(self) -> dict[str, list[Any]]:
        sql = "SELECT * FROM {}"
        return {t: sorted(self.connection.execute(sql.format(t)).fetchall()) for t in VIEW_TABLES}

    def reading(self, end: int) -> Reading:
        """The figures after `end` entries: those of the tables, and a fold of the rest."""
        return Reading(self.tables.fold(end))
