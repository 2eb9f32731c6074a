"""`make fuzz SEED=1 COUNT=100000`: hostile requests against a server of its own.

The ledger is the worked example. Afterwards nothing may have been sealed, every answer must have
been a refusal that says why, every worker must be the one it was, its memory must be flat, and
the ledger must pass its audit. Exit code 1 otherwise, with the requests that did it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from fuzz.running import run


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--count", default=100_000, show_default=True)
def main(seed: int, count: int) -> None:
    """Send hostile requests to a ledger of its own, and say what came of it."""
    with tempfile.TemporaryDirectory() as directory:
        result = run(Path(directory, "amanah.db"), seed, count)
    for (kind, answer), times in sorted(result.seen.items()):
        click.echo(f"{times:8}  {kind:26} {answer}")
    click.echo(f"{sum(result.seen.values())} requests; a worker grew by {result.growth_mb:.1f} MB")
    for fault in result.faults[:20]:
        click.echo(f"FAULT: {fault}", err=True)
    if result.faults:
        sys.exit(f"{len(result.faults)} faults with SEED={seed} COUNT={count}")


if __name__ == "__main__":
    main()
