"""A mixed ledger to export: 2,000 random statements, the worked example, and real grants."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import demo
from ledger.exports.log import Log
from ledger.importers.giving360 import import_grants
from ledger.service import Ledger
from tests.independent.generator import expected, generate
from tests.support import HERE, ORIGIN, Statement

GRANTS = HERE / "data" / "360giving-154-grants.json"
DESK = "grants-desk"
SEED, STATEMENTS = 360, 2_000


def fill(ledger: Ledger) -> None:
    """Everything, in the order in which it can be: who counts from the genesis comes first."""
    refused = expected(SEED, STATEMENTS)
    posts = [post for i, post in enumerate(generate(SEED, STATEMENTS)) if i not in refused]
    for platform, batch in itertools.groupby(posts, key=lambda post: post[0]):
        ledger.post(platform, [statement for _, statement in batch])
    ledger.register_platform(demo.PARTNER)
    offset = ledger.store.size() - 3  # its targets count from an index of 3
    for platform, statement in demo.statements():
        ledger.post(platform, [moved(statement, offset)])
    ledger.register_platform(DESK)
    import_grants(GRANTS.read_bytes(), ledger.at(DESK))


def moved(statement: Statement, offset: int) -> Statement:
    """The statement with what it points at so many entries later."""
    pointers = {n: statement[n] + offset for n in ("target", "supersedes") if n in statement}
    return statement | pointers


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """To be read and never written to."""
    ledger = Ledger.create(tmp_path_factory.mktemp("mixed") / "amanah.db", ORIGIN, "Tests")
    fill(ledger)
    yield ledger
    ledger.close()


@pytest.fixture
def log(mixed: Ledger) -> Log:
    return Log(mixed.store, mixed.store.checkpoint())


@pytest.fixture(scope="session")
def database(mixed: Ledger) -> Path:
    return mixed.store.paths.database
