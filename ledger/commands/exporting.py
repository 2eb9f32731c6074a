"""Taking the log along: export, to a directory or in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from ledger.commands.shared import json_option, print_json, progress_bar
from ledger.commands.sources import (
    first_use,
    opened_source,
    policy_option,
    trust,
    vkey_option,
)
from ledger.config import Config
from ledger.exports.directory import Exported, export_log
from ledger.remember import Memory
from ledger.tlog.policy import Policy

_INTO_DIRECTORY = "DIR"


class _Formats(click.Group):
    """A group whose first argument is a directory unless it is the name of a format."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        formats = self.commands.keys() - {_INTO_DIRECTORY}
        if args and args[0] not in formats and args[0] not in ctx.help_option_names:
            args = [_INTO_DIRECTORY, *args]
        return super().parse_args(ctx, args)


class _IntoDirectory(click.Command):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]"]  # its argument is the name it stands under


@click.group("export", cls=_Formats)
def export() -> None:
    """Export the log: into a directory, or in a format of other programs."""


@export.command(_INTO_DIRECTORY, cls=_IntoDirectory)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--from", "name", help="A URL or another source, in place of the local ledger.")
@vkey_option
@policy_option
@json_option
def export_directory(
    directory: Path,
    name: str | None,
    vkey: str | None,
    policy_file: BinaryIO | None,
    as_json: bool,
) -> None:
    """Write the log to DIR as C2SP tiles, which any web server can serve.

    Running it again adds what is new, after it has checked that the log extends what stands
    there. `amanah verify` reads the directory, and the address where it is served.
    """
    policy = trust(vkey, policy_file)
    config = Config.from_environment()
    with (
        opened_source(name or str(config.database)) as source,
        progress_bar("Entries", hidden=as_json) as progress,
    ):
        if policy is None and name is None:
            policy = Policy.for_key(source.named_key())  # our own, and not on trust
        policy = policy or first_use(Memory(config.state), source)
        exported = export_log(source.reader, policy, directory, progress)
    _print_exported(exported, directory, as_json)


def _print_exported(exported: Exported, directory: Path, as_json: bool) -> None:
    checkpoint = exported.checkpoint
    if as_json:
        document = {"origin": checkpoint.origin, "size": checkpoint.size}
        document |= {"root": checkpoint.root.hex(), "before": exported.before}
        print_json(document | {"files": exported.files})
        return
    click.echo(
        f"{directory} holds all {checkpoint.size} entries of {checkpoint.origin}: "
        f"{checkpoint.size - exported.before} of them new, in {exported.files} files."
    )
