"""What several commands share: output, exit codes, options, opening the local ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from ledger.config import Config
from ledger.errors import LedgerError, PolicyError, SetupError, Unavailable, Unreachable

if TYPE_CHECKING:
    from ledger.service import Ledger

SOUND, WRONG, USAGE, UNREACHABLE, NOT_WITNESSED = 0, 1, 2, 3, 4
_EXITS: dict[type[LedgerError], int] = {
    SetupError: USAGE,
    Unavailable: UNREACHABLE,
    Unreachable: UNREACHABLE,
    PolicyError: NOT_WITNESSED,
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def exit_code(error: LedgerError) -> int:
    """The exit code an error ends a command with (docs/format.md, "Exit codes")."""
    return _EXITS.get(type(error), WRONG)


def say(text: str) -> None:
    """Talk to the person, on stderr; results alone go to stdout."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


@contextmanager
def opened() -> Iterator[Ledger]:
    """The ledger that AMANAH_DATABASE names, closed in the end."""
    from ledger.service import Ledger

    with closing(Ledger.open(Config.from_environment().database)) as ledger:
        yield ledger


@contextmanager
def closing(ledger: Ledger) -> Iterator[Ledger]:
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def progress_bar(what: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, where somebody watches."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class ProgressBars:
    """Progress bars that come one after the other, each from its first step to its last."""

    def __init__(self, hidden: bool) -> None:
        self._hidden, self._shown, self._open = hidden, "", ExitStack()
        self._update: Callable[[int, int], None] = lambda done, total: None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def named(self, what: str) -> Callable[[int, int], None]:
        """What takes the steps of the bar `what`."""

        def step(done: int, total: int) -> None:
            if self._shown != what:
                self._open.close()
                self._update = self._open.enter_context(progress_bar(what, self._hidden))
                self._shown = what
            self._update(done, total)
            if done >= total:  # whatever is printed next has the line for itself
                self._open.close()
                self._shown = ""

        return step
