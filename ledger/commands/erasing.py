"""Erasing what is kept beside the log: erase."""

from __future__ import annotations

import click

from ledger.commands.shared import json_option, opened, print_json, say


@click.command()
@click.argument("index", type=click.IntRange(0, 2**53 - 1))
@click.option("--reason", required=True, help="Why, in public: nobody's name or number in it.")
@json_option
def erase(index: int, reason: str, as_json: bool) -> None:
    """Erase the text that is kept beside entry INDEX, for good, from this ledger's database.

    The log stays as it is: it holds a digest that says nothing without the text, and verifies as
    before. That it was erased, when and why is shown with the entry. Backups and copies of others
    are not reached. Run again, it makes sure that nothing of the text is left in the files.
    """
    with opened() as ledger:
        erasure = ledger.erase(index, reason)
    if as_json:
        print_json({"index": index, "at": erasure.erased_at, "reason": erasure.reason})
        return
    click.echo(f"The text beside entry {index} was erased at {erasure.erased_at}.")
    say("Backups made before still hold it, and so may whoever read it.")
