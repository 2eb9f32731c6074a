"""Exports: the log in formats that other people's tools read and check."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ledger.audit import Reader
from ledger.commands.shared import progress_bar, say
from ledger.config import Config
from ledger.exports.log import Log
from ledger.exports.manifest import manifest, replacing, write

_OPTIONS = (
    click.argument("source", required=False),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write this file."
    ),
    click.option(
        "--manifest",
        "manifest_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write here what a copy can be checked with.",
    ),
)


def _export(command: Callable[..., None]) -> click.Command:
    """A command of `SOURCE`, `-o` and `--manifest`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return click.command(command.__name__.removeprefix("export_").lstrip("_"))(command)


@_export
def export_iati(**options: Any) -> None:
    """Export each fund as an activity in the IATI standard, version 2.03.

    SOURCE is a URL or a database file; by default the ledger of AMANAH_DATABASE.
    """
    from ledger.exports import iati

    _publish("iati", iati.export, **options)


@_export
def export_jsonl(**options: Any) -> None:
    """Export every entry as a line of JSON: its exact bytes.

    SOURCE is a URL or a database file; by default the ledger of AMANAH_DATABASE.
    """
    from ledger.exports import lines

    _publish("jsonl", lines.export, **options)


@_export
def export_csv(**options: Any) -> None:
    """Export every entry as a row of CSV, for spreadsheets.

    A cell that a spreadsheet could take for a formula begins with an apostrophe. SOURCE is a URL
    or a database file; by default the ledger of AMANAH_DATABASE.
    """
    from ledger.exports import table

    _publish("csv", table.export, **options)


@_export
def export_360giving(**options: Any) -> None:
    """Export grants in the 360Giving format: what organisations gave to others and to persons.

    SOURCE is a URL or a database file; by default the ledger of AMANAH_DATABASE.
    """
    from ledger.exports import grants

    _publish("360giving", grants.export, **options)


@_export
def export_hledger(**options: Any) -> None:
    """Export all money as a journal that `hledger check --strict` adds up again.

    SOURCE is a URL or a database file; by default the ledger of AMANAH_DATABASE.
    """
    from ledger.exports import hledger

    _publish("hledger", hledger.export, **options)


def _publish(
    name: str,
    export: Callable[[Log], Iterable[bytes]],
    source: str | None,
    output: Path | None,
    manifest_file: Path | None,
) -> None:
    with _reader(source) as reader, progress_bar("Entries", hidden=False) as progress:
        log = Log(reader, progress)
        if output is None:
            written = write(export(log), sys.stdout.buffer)
        else:
            with replacing(output) as file:
                written = write(export(log), file)
    if manifest_file is not None:
        with replacing(manifest_file) as file:
            file.write(manifest(name, written, log.checkpoint, log.note))
    for remark in log.remarks:
        say(remark)
    say(f"Exported {log.checkpoint.size} entries of {log.checkpoint.origin} as {name}.")


@contextmanager
def _reader(source: str | None) -> Iterator[Reader]:
    if source is not None and source.startswith(("http://", "https://")):
        from ledger.client import HttpLedger

        yield HttpLedger(source)
        return
    from ledger.store.sqlite import SqliteStore

    store = SqliteStore(Path(source) if source else Config.from_environment().database)
    try:
        yield store
    finally:
        store.close()


COMMANDS = (export_360giving, export_csv, export_hledger, export_iati, export_jsonl)
