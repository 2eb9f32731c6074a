"""Comparing: whether several sources show one log. Nothing here loads Flask."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import click

from ledger.audit import Reader
from ledger.commands.shared import json_option, print_json
from ledger.commands.sources import (
    Source,
    first_use,
    note_in,
    opened_source,
    policy_option,
    trust,
    vkey_option,
)
from ledger.commands.verdicts import explain
from ledger.compare import View, view_of
from ledger.compare import compare as compare_views
from ledger.config import Config
from ledger.errors import LedgerError, SetupError, SplitView, Unavailable, Unreachable
from ledger.remember import Memory
from ledger.tlog.policy import Policy

_SQLITE = b"SQLite format 3\0"


@click.command()
@click.argument("sources", nargs=-1, required=True)
@vkey_option
@policy_option
@json_option
def compare(
    sources: tuple[str, ...], vkey: str | None, policy_file: BinaryIO | None, as_json: bool
) -> None:
    """Tell whether several SOURCES show one log.

    Each is a URL, a database file, a directory that holds an export, or the file of a checkpoint
    or receipt that somebody holds. Each must extend the next smaller one, by proofs that are
    computed from its own tiles. Exits 0 for one log, 1 when two histories are proved, of which it
    prints both checkpoints, and 3 when a source is unreachable or nothing reaches far enough.
    """
    if len(sources) < 2:
        raise click.UsageError("name at least two sources: one alone agrees with itself")
    try:
        views = _compare(sources, trust(vkey, policy_file))
    except LedgerError as error:
        if isinstance(error, SplitView) and not as_json:
            _print_evidence(error)
        explain(error, as_json)
        raise
    if as_json:
        print_json(_document(views))
    else:
        click.echo(_sentence(views))


def _compare(names: tuple[str, ...], policy: Policy | None) -> list[View]:
    shown: list[tuple[str, bytes, Reader | None]] = []
    sources: list[Source] = []
    failures: list[LedgerError] = []
    with ExitStack() as stack:
        for name in names:
            try:
                if (held := _held(name)) is not None:
                    shown.append((name, note_in(held), None))
                    continue
                source = stack.enter_context(opened_source(name))
                shown.append((name, source.checkpoint(), source.reader))
                sources.append(source)
            except (Unreachable, Unavailable) as error:
                failures.append(error)  # those that answer may prove more than this one's silence
        if policy is None and sources:
            policy = first_use(Memory(Config.from_environment().state), sources[0])
        if policy is None and not failures:
            raise click.UsageError("give --vkey or --policy: checkpoints alone name no key")
        views = [view_of(*view, policy) for view in shown] if policy else []
        ordered = compare_views(views)
    if failures:
        raise failures[0]
    return ordered


def _held(name: str) -> bytes | None:
    """The file of a checkpoint or receipt, which is any file that is no database."""
    path = Path(name)
    if name.startswith(("http://", "https://")) or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
            return None if head == _SQLITE else head + file.read()
    except OSError as error:
        raise SetupError(f"{name} cannot be read: {error}") from error


def _print_evidence(split: SplitView) -> None:
    for name, note in split.notes:
        click.echo(f"The checkpoint of {name}:\n\n{note.decode()}")


def _document(views: list[View]) -> dict[str, Any]:
    newest = views[-1].checkpoint
    shown = [
        {"source": v.name, "size": v.checkpoint.size, "root": v.checkpoint.root.hex()}
        for v in views
    ]
    return {"verdict": "one_log", "origin": newest.origin, "size": newest.size, "sources": shown}


def _sentence(views: list[View]) -> str:
    shown = ", ".join(f"{view.name} ({view.checkpoint.size} entries)" for view in views)
    return f"ONE LOG: all show the same history of {views[-1].checkpoint.origin}: {shown}."
