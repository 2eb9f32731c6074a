"""The list of checks, in the order in which they are made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from ledger.doctor import log, machine
from ledger.doctor.case import FINE, NOTED, SKIPPED, Case, Check, Finding, Verdict, wrong
from ledger.errors import LedgerError


class Listed(NamedTuple):
    """A check, and the one that must have gone well before it can be made."""

    check: Check
    needs: str = ""


# name -> check; docs/operate.md, "Doctor", explains them.
CHECKS: dict[str, Listed] = {
    "settings": Listed(machine.settings),
    "files": Listed(machine.files),
    "modes": Listed(machine.modes),
    "owner": Listed(machine.owner),
    "filesystem": Listed(machine.filesystem),
    "disk-space": Listed(machine.disk_space),
    "sqlite": Listed(machine.sqlite),
    "lock": Listed(machine.lock),
    "database": Listed(log.database),
    "migrations": Listed(log.migrations, "database"),
    "durability": Listed(log.durability, "database"),
    "wal": Listed(log.wal),
    "keys": Listed(log.keys, "migrations"),
    "clock": Listed(machine.clock, "migrations"),
    "checkpoint": Listed(log.checkpoint, "migrations"),
    "high-water": Listed(log.high_water, "migrations"),
    "log": Listed(log.log, "checkpoint"),
    "entries": Listed(log.leaf_hashes, "log"),
    **{name: Listed(check, "log") for name, check in log.TABLES.items()},
    "texts": Listed(log.texts, "log"),
    "service": Listed(machine.service, "checkpoint"),
}


def examine(case: Case) -> Iterator[Finding]:
    """Make every check; one that needs another, which went wrong, is skipped and says so."""
    well: set[str] = set()
    for name, (check, needs) in CHECKS.items():
        if name == "service" and case.url is None:
            continue
        if needs and needs not in well:
            yield Finding(name, SKIPPED, f"cannot be looked at before `{needs}` is well", "")
            continue
        verdict = _make(check, case)
        if verdict.status in (FINE, NOTED):
            well.add(name)
        yield Finding(name, *verdict)


def _make(check: Check, case: Case) -> Verdict:
    try:
        return check(case)
    except (LedgerError, sqlite3.Error, OSError, ValueError) as error:
        return wrong(str(error), 'as the message says; else see docs/operate.md, "Doctor"')
