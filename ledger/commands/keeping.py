"""Keeping a ledger: backup, doctor, rebuild, restore."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.commands.shared import WRONG, ProgressBars, json_option, print_json, say
from ledger.commands.verdicts import explain
from ledger.config import Config
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.doctor.case import Finding
    from ledger.keeping import Copy
    from ledger.store.files import Paths

COPYING, CHECKING, FOLDING = "Pages copied", "Entries checked", "Entries folded"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Copy the database to FILE, while it is served or not, and verify the copy.

    FILE must not exist. It is there when all of it is on disk and every entry was verified. It
    has no private keys in it: keep those apart.
    """
    from ledger import keeping

    paths = _paths()
    with ProgressBars(as_json) as bars, _explained(as_json):
        copy = keeping.backup(paths, file, bars.named(COPYING), bars.named(CHECKING))
    apart = [str(paths.log_key), str(paths.key_secret)]
    if as_json:
        print_json({"file": str(file), **_facts(copy), "not_in_it": apart})
        return
    click.echo(f"Backed up {_sentence(copy)}\nfile: {file}, {copy.size} bytes")
    click.echo(f"root: {copy.checkpoint.root.hex()}\n\n{copy.note.decode()}")
    say("Write these down, apart from the file: they tell later whether it is still the same.")
    say(f"Not in it: the private keys {apart[0]} (without it the ledger cannot go on) and")
    say(f"{apart[1]} (without it no API key is known). Keep both, elsewhere than this file.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Move the database that is there aside.")
@click.option(
    "--for-reading",
    is_flag=True,
    help="Also when entries that were handed out are not in it; nothing is sealed on it then.",
)
@json_option
def restore(file: Path, replace: bool, for_reading: bool, as_json: bool) -> None:
    """Put the backup FILE in the place that AMANAH_DATABASE names, once it is verified.

    The service must be stopped. Key files and the high-water mark stay as they are.
    """
    from ledger import keeping

    paths = _paths()
    with ProgressBars(as_json) as bars, _explained(as_json):
        steps = bars.named(COPYING), bars.named(CHECKING)
        done = keeping.restore(paths, file, replace, for_reading, *steps)
    if as_json:
        document = {"file": str(paths.database), **_facts(done.copy)}
        document |= {"moved": [str(path) for path in done.moved]}
        document |= {"missing": [str(path) for path in done.missing]}
        print_json(document | {"can_go_on": done.lost is None, "is_guarded": done.is_guarded})
        return
    click.echo(f"Restored {_sentence(done.copy)}\nfile: {paths.database}")
    for path in done.moved:
        say(f"Moved aside: {path}")
    for path in done.missing:
        say(f"Missing: {path}. Put it back from where keys are kept, with mode 0600.")
    if done.lost is not None:
        say(
            f"FOR READING ALONE: {done.lost.size} entries were handed out ({done.lost.source}) and "
            "this copy does not extend them. Verify and export work; sealing stays stopped."
        )
    elif not done.is_guarded:
        say(
            f"There is no {paths.high_water}, so nothing here can tell whether entries were handed "
            "out after this backup. If any were, do not serve it: that would make two histories. "
            "Compare with the newest checkpoint that anybody holds."
        )
    say("Then: amanah doctor")


def _paths() -> Paths:
    from ledger.store.files import Paths

    return Paths.of(Config.from_environment().database)


@contextmanager
def _explained(as_json: bool) -> Iterator[None]:
    try:
        yield
    except LedgerError as error:
        explain(error, as_json)
        raise


def _facts(copy: Copy) -> dict[str, Any]:
    head = copy.checkpoint
    facts = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
    return facts | {"checkpoint": copy.note.decode(), "bytes": copy.size}


def _sentence(copy: Copy) -> str:
    return f"{copy.checkpoint.size} entries of {copy.checkpoint.origin}, every one verified."


@click.command()
def rebuild() -> None:
    """Make everything anew that follows from the log.

    That is the tiles, the tables by which entries are found, and what the books remember.
    Entries, the signed checkpoint and API keys stay as they are. The service must be stopped.
    The log is verified first; one that is not sound is left alone.
    """
    from ledger import keeping

    paths = _paths()
    with ProgressBars(False) as bars, _explained(False):
        report = keeping.rebuild(paths, bars.named(CHECKING), bars.named(FOLDING))
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
    with ProgressBars(as_json) as bars:
        case = Case(database, os.environ, url, bars.named(FOLDING))
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
    return f"{finding.status:8} {finding.name:12} {finding.detail}{repair}"
