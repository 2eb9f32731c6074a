"""Write docs/cli.md, the reference of the command line, from the commands themselves.

python docs/make_cli.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from ledger.cli import cli

TARGET = Path(__file__).resolve().with_name("cli.md")
HEAD = """\
# The command line

Made by `python docs/make_cli.py` from the commands themselves; changes made here are lost.
Results go to stdout, everything else to stderr. What the exit codes mean:
[format.md](format.md#exit-codes). The settings (`AMANAH_DATABASE` and others):
[operate.md](operate.md#settings).
"""


def reference() -> str:
    """The text of docs/cli.md."""
    sections = _sections(cli, click.Context(cli, info_name="amanah"))
    return "\n".join([HEAD, *sections]).rstrip("\n") + "\n"


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """The section of `command`, then those of its subcommands, in order of their names."""
    pieces = [context.command_path, *command.collect_usage_pieces(context)]
    yield f"## {context.command_path}\n\n```\n{' '.join(pieces)}\n```\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    if rows := list(_options(command, context)):
        yield "| option | meaning |\n|---|---|\n" + "".join(rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, "a group knows the commands it lists"
            yield from _sections(below, click.Context(below, info_name=name, parent=context))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        # Arguments stand in the usage line already; some versions of click list them here too.
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record:
            spelled, meaning = (text.replace("|", "\\|") for text in record)
            yield f"| `{spelled}` | {meaning} |\n"


if __name__ == "__main__":
    TARGET.write_text(reference(), "utf-8")
