"""Keeping a ledger: rebuild."""

from __future__ import annotations

import click

from ledger.commands.shared import progress_bar
from ledger.commands.verdicts import explain
from ledger.config import Config
from ledger.errors import LedgerError
from ledger.store.files import Paths


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
