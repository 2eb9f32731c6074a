"""Keeping a ledger: doctor, rebuild."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from ledger.commands.shared import WRONG, json_option, print_json, progress_bar
from ledger.commands.verdicts import explain
from ledger.config import Config
from ledger.errors import LedgerError
from ledger.store.files import Paths

if TYPE_CHECKING:
    from ledger.doctor.case import Finding


@click.command()
def rebuild() -> None:
    """Make everything anew that follows from the log.

    That is the tiles, the tables by which entries are found, and what the books remember.
    Entries, the signed checkpoint and API keys stay as they are. The service must be stopped.
    The log is verified first; one that is not sound is left alone.
    """
    from ledger import keeping

    paths = Paths.of(Config.from_environment().database)
    try:
        with progress_bar("Checking", False) as checking, progress_bar("Making", False) as making:
            report = keeping.rebuild(paths, checking, making)
    except LedgerError as error:
        explain(error, False)
        raise
    click.echo(f"Rebuilt from {report.checkpoint.size} entries of {report.checkpoint.origin}.")


@click.command()
@click.option("--url", help="Where the ledger is served, to look there too.")
@json_option
def doctor(url: str | None, as_json: bool) -> None:
    """Look a ledger over: its machine, its files, its log, and all that follows from the log.

    One line for each check, with the repair where something is wrong. Nothing is written.
    Exits 0 when all is well, 1 when something is wrong.
    """
    from ledger.doctor.case import WRONG as FOUND_WRONG
    from ledger.doctor.case import Case
    from ledger.doctor.checks import examine

    findings = []
    database = Config.from_environment().database
    with progress_bar("Entries", as_json) as progress:
        case = Case(database, os.environ, url, progress)
        try:
            for finding in examine(case):
                findings.append(finding)
                if not as_json:
                    click.echo(_line(finding))
        finally:
            case.close()
    is_well = all(finding.status != FOUND_WRONG for finding in findings)
    if as_json:
        print_json({"well": is_well, "checks": [finding._asdict() for finding in findings]})
    if not is_well:
        sys.exit(WRONG)


def _line(finding: Finding) -> str:
    repair = f"\n{'':21}repair: {finding.repair}" if finding.repair else ""
    return f"{finding.status:8} {finding.name:11} {finding.detail}{repair}"
