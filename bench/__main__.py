"""`python -m bench`: what the ledger does here, beside limits that are measured in the same run.

Yardstick and ledger take turns, and medians count. A missed target is only said; a ledger that
does not pass its audit afterwards ends with exit code 1.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import click

from bench.clients import Clients
from bench.growth import Growth, Say
from bench.inprocess import auditing
from bench.lines import Line, Skipped, text_table
from bench.making import create_ledger
from bench.overhttp import OverHttp
from bench.peers import PEERS, Peer, racing
from bench.report import Document, curves, machine
from bench.scale import Scale
from bench.servers import ROOT
from ledger.errors import LedgerError

FULL_ENTRIES = 5_000_000
DISK_BYTES_EACH = 3_500  # of the ledger, its backup and the copy of that, for one entry


def measure(scale: Scale, peers: Sequence[Peer], var: Path, say: Say) -> Document:
    """Measure everything. What it fills lies below `var` meanwhile, and is removed."""
    start = time.monotonic()
    found: list[Line | Skipped] = []
    document: Document = {"machine": machine(var), "scale": scale._asdict()}
    # Not where temporary files usually go: that may be memory, where a commit costs nothing.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=var)))
        clients = stack.enter_context(closing(Clients()))
        problems = []
        ledger = stack.enter_context(closing(create_ledger(folder / "ledger.db")))
        over = OverHttp(folder, ledger, clients, scale)
        with over.serving():
            document["client_processes"] = over.choose_clients()
            say("single posts")
            posting, document["clients"] = over.posting()
            say("batches, reads, and posts beside readers")
            found += [*posting, over.batches(), *over.reading(), *over.with_readers()]
        say(f"audit of {ledger.store.size():,} entries")
        try:
            found.append(auditing(ledger, scale.turns))
        except LedgerError as error:
            problems.append(str(error))
        growth = stack.enter_context(closing(Growth(folder, clients, scale, say)))
        growth.grow()
        say("the grown ledger beside its small copy")
        found += growth.lines()
        document["entries"] = [ledger.store.size(), growth.ledger.store.size()]
        document["sizes"] = [rung._asdict() for rung in growth.rungs]
        say("peers")
        found += racing(peers, folder, var, scale)
        problems += growth.problems()
    document["lines"] = [line.as_json() for line in found if isinstance(line, Line)]
    document["skipped"] = [list(line) for line in found if isinstance(line, Skipped)]
    document |= {"is_sound": not problems, "problems": problems}
    return document | {"minutes": round((time.monotonic() - start) / 60, 1)}


def _write(document: Document, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1) + "\n"
    (folder / "performance.json").write_text(text, "utf-8")
    for name, svg in curves(document).items():
        (folder / name).write_text(svg, "utf-8")


def _say_table(document: Document, lines: Sequence[Line]) -> None:
    for row in text_table(lines):
        click.echo(row)
    for what, why in document["skipped"]:
        click.echo(f"skipped: {what}: {why}")
    for problem in document["problems"]:
        click.echo(f"NOT SOUND: {problem}")
    on = document["machine"]
    click.echo(
        f"{document['minutes']} minutes on {on['cpus']} processors, load {on['load_before']} "
        "before; only an idle machine tells"
    )


@click.command()
@click.option("--seconds", default=Scale().seconds, show_default=True, help="Of each turn.")
@click.option("--full", is_flag=True, help=f"Grow to {FULL_ENTRIES:,} entries: half an hour.")
@click.option(
    "--entries", type=click.IntRange(min=2 * Scale().small), help="Grow to so many entries."
)
def main(seconds: float, full: bool, entries: int | None) -> None:
    """Measure the ledger on this machine, in at most ten minutes unless told otherwise.

    The figures go to stdout, and with the curves to var/bench.
    """
    entries = entries or (FULL_ENTRIES if full else Scale().entries)
    var = ROOT / "var"
    var.mkdir(exist_ok=True)
    if shutil.disk_usage(var).free < entries * DISK_BYTES_EACH:
        needed = entries * DISK_BYTES_EACH / 1e9
        raise click.UsageError(f"{entries:,} entries need {needed:.0f} GB of disk below {var}")
    # As Ctrl-C does: the servers are stopped and what was filled is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    scale = Scale(seconds=seconds, entries=entries)
    document = measure(scale, PEERS, var, lambda text: click.echo(text, err=True))
    _write(document, var / "bench")
    _say_table(document, [Line.from_json(line) for line in document["lines"]])
    sys.exit(not document["is_sound"])


if __name__ == "__main__":
    main()
