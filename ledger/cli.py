"""The command line. Results go to stdout, talk to stderr; exit codes are of docs/format.md.

Commands import what they need when they run: `verify` and `receipt verify` load neither Flask
nor, unless a database is what is verified, SQLite.
"""

from __future__ import annotations

import sys

import click

from ledger.commands import (
    comparing,
    erasing,
    exporting,
    keeping,
    parties,
    posting,
    publishing,
    running,
    verifying,
)
from ledger.commands.shared import exit_code, say
from ledger.errors import LedgerError


def main() -> None:
    """Run the command line; every error of ours becomes a message and an exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LedgerError as error:
        say("\n  ".join([f"amanah: {error.code}: {error}", *getattr(error, "__notes__", ())]))
        sys.exit(exit_code(error))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="amanah-ledger")
def cli() -> None:
    """Amanah: a transparency ledger for donations.

    The ledger is the SQLite file that AMANAH_DATABASE names (amanah.db by default).
    """


for command in (
    running.init,
    running.serve,
    running.key,
    posting.post,
    parties.party,
    verifying.verify,
    verifying.receipt,
    comparing.compare,
    posting.import_,
    exporting.export,
    keeping.backup,
    keeping.restore,
    keeping.doctor,
    keeping.rebuild,
    erasing.erase,
    running.demo,
):
    cli.add_command(command)
for command in publishing.COMMANDS:
    exporting.export.add_command(command)
