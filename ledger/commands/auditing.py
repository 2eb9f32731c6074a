"""How `verify` reads a whole log: in how many processes, from where on, and what it shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.audit import Progress, Reader, Report, Scratch, Ways
from ledger.commands.shared import say
from ledger.tlog.note import VerifierKey
from ledger.tlog.tile import TILE_WIDTH
from ledger.walk.resume import WORTH_ENTRIES, KeptScratch, directory_of

if TYPE_CHECKING:
    from rich.progress import Task

IN_FLIGHT = 16  # requests to a server, in all processes together
LINE_EVERY_S = 15.0  # where nobody watches a bar


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=_processors,
    show_default="the processors there are",
    help="How many processes check a large log.",
)
from_scratch_option = click.option(
    "--from-scratch",
    is_flag=True,
    help="Read everything again, though an audit of this log was interrupted.",
)


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _location_of(target: str) -> str:
    """One spelling of where a log is read from, however it was named."""
    if _is_url(target):
        return target.rstrip("/")
    return str(Path(target).resolve())


def ways_of(target: str, reopen: Callable[[], Reader], workers: int) -> Ways:
    """How the log at `target` is read, by so many processes."""
    return Ways(reopen, workers, IN_FLIGHT if _is_url(target) else 1)


def scratch_for(
    state: Path,
    target: str,
    keys: Iterable[VerifierKey],
    size: int,
    from_scratch: bool,
    quiet: bool,
) -> Scratch:
    """Where the audit of the log of these keys is laid by: kept when it is large.

    Raises SetupError.
    """
    directory = directory_of(state, _location_of(target), map(str, keys))
    if size < WORTH_ENTRIES and not directory.exists():
        return Scratch()
    scratch = KeptScratch(directory, from_scratch)
    if scratch.saved is not None and not quiet:
        say(
            f"An audit of this log was interrupted after {scratch.saved.size:,} entries. It goes "
            "on from there: the log first proves that it still begins with them, and they are "
            "not read again. To read everything: --from-scratch"
        )
    elif scratch.heads and not quiet:
        say("An audit of this log was interrupted. This one reads everything from the beginning.")
    return scratch


class Pace:
    """How fast an audit is: what it has done since the first step it was told."""

    def __init__(self) -> None:
        self._start, self._first, self.done = time.monotonic(), -1, 0

    def step(self, done: int) -> None:
        if self._first < 0:
            self._first, self._start = done, time.monotonic()
        self.done = done

    @property
    def rate(self) -> float:
        """Entries a second."""
        return (self.done - max(self._first, 0)) / max(time.monotonic() - self._start, 1e-3)

    def document(self, report: Report, ways: Ways) -> dict[str, int]:
        """How the log was read, for programs."""
        read = report.checkpoint.size - report.read_from
        return {
            "read_from": report.read_from,
            "workers": ways.workers_for(read // TILE_WIDTH),
            "entries_a_second": round(self.rate),
        }


@contextmanager
def audit_progress(quiet: bool, pace: Pace) -> Iterator[Progress]:
    """A bar on stderr for who watches; a line now and then, for a long audit, otherwise."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda done, size: pace.step(done)
    elif console.is_terminal:
        with _bar(console) as show:

            def step(done: int, size: int) -> None:
                pace.step(done)
                show(done, size)

            yield step
    else:
        lines = _Lines(pace)
        yield lines.step


class _Lines:
    """A line every so many seconds."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._said_at = pace, time.monotonic()

    def step(self, done: int, size: int) -> None:
        self._pace.step(done)
        if time.monotonic() - self._said_at >= LINE_EVERY_S:
            self._said_at = time.monotonic()
            left_s = (size - done) / max(self._pace.rate, 1)
            say(
                f"{done:,} of {size:,} entries ({done * 100 // size} %), "
                f"{self._pace.rate:,.0f} a second, {_duration(left_s)} left"
            )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@contextmanager
def _bar(console: Any) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "")

    columns = (BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(TextColumn("Entries"), *columns, console=console) as bar:

        def show(done: int, size: int) -> None:
            if not bar.task_ids:  # from where an interrupted audit goes on, if it does
                bar.add_task("Entries", completed=done, total=size)
            bar.update(bar.task_ids[0], completed=done, total=size)

        yield show
