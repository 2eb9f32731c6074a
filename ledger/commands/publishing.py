"""Exports: the log in formats that other people's tools read and check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import click

from ledger.commands.shared import progress_bar, say
from ledger.commands.sources import opened_source
from ledger.config import Config
from ledger.disk import replacing
from ledger.errors import SetupError
from ledger.exports.log import Log
from ledger.exports.manifest import manifest, write

_SOURCE = (
    "SOURCE is a URL, a database file, or a directory that holds an export; by default the "
    "ledger of AMANAH_DATABASE."
)


def _command(name: str, module: str, does: str) -> click.Command:
    """The command that exports as `name`, by `export` of a module in ledger/exports."""

    @click.command(name, help=f"{does}\n\n{_SOURCE}")
    @click.argument("source", required=False)
    @click.option(
        "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write this file."
    )
    @click.option(
        "--manifest",
        "manifest_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write here what a copy can be checked with.",
    )
    def export(**options: Any) -> None:
        _publish(name, module, **options)

    return export


COMMANDS = (
    _command(
        "360giving",
        "grants",
        "Export grants in the 360Giving format: what organisations gave to others and to persons.",
    ),
    _command(
        "csv",
        "table",
        "Export every entry as a row of CSV, for spreadsheets.\n\nA cell that a spreadsheet could "
        "take for a formula begins with an apostrophe.",
    ),
    _command(
        "hledger",
        "hledger",
        "Export all money as a journal that `hledger check --strict` adds up again.",
    ),
    _command("iati", "iati", "Export each fund as an activity in the IATI standard, version 2.03."),
    _command("jsonl", "lines", "Export every entry as a line of JSON: its exact bytes."),
)


def _publish(
    name: str,
    module: str,
    source: str | None,
    output: Path | None,
    manifest_file: Path | None,
) -> None:
    export = import_module(f"ledger.exports.{module}").export  # the others cost memory and time
    with (
        opened_source(source or str(Config.from_environment().database)) as opened,
        progress_bar("Entries", hidden=False) as progress,
    ):
        log = Log(opened.reader, opened.checkpoint(), progress)
        with _file(output) as file:
            written = write(export(log), file)
    if manifest_file is not None:
        with _file(manifest_file) as file:
            file.write(manifest(name, written, log.checkpoint, log.note))
    for remark in log.remarks:
        say(remark)
    say(f"Exported {log.checkpoint.size} entries of {log.checkpoint.origin} as {name}.")


@contextmanager
def _file(path: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that appears when it is complete. Raises SetupError."""
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error}") from error
