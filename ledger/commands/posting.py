"""Posting from the command line: post, import."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ledger.batches import batches
from ledger.chain import SealedEntry
from ledger.commands.shared import WRONG, json_option, opened, print_json, progress_bar, say
from ledger.config import Config
from ledger.entry import read_json
from ledger.errors import Refusal
from ledger.target import Target, post_of

if TYPE_CHECKING:
    from ledger.importers.giving360 import Report

platform_option = click.option("--platform", help="Post as this platform (a party id).")
url_option = click.option("--url", help="Post to this ledger, with the key in AMANAH_API_KEY.")


@contextmanager
def _target(
    platform: str | None,
    url: str | None,
    needs_platform: bool = False,
    statements: Sequence[dict[str, Any]] = (),
) -> Iterator[Target]:
    """What to post to. statements: those to come; the platform may register itself in them."""
    if url is not None:
        from ledger.client import HttpLedger

        config = Config.from_environment()
        if not config.api_key:
            raise click.UsageError("set AMANAH_API_KEY to the API key of that ledger")
        if needs_platform and platform is None:
            raise click.UsageError("name with --platform the platform the API key belongs to")
        yield HttpLedger(url, config.api_key, platform or "")
    elif platform is None:
        raise click.UsageError("give --platform ID for the local ledger, or --url for a remote one")
    else:
        with opened() as ledger:
            itself = {"type": "party", "id": platform}.items()
            registers_itself = any(
                itself <= statement.get("statement", statement).items() for statement in statements
            )
            if not registers_itself and ledger.register_platform(platform):
                say(f"Registered the platform {platform!r}, which is new on this ledger.")
            yield ledger.at(platform)


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@platform_option
@url_option
@json_option
def post(file: BinaryIO, platform: str | None, url: str | None, as_json: bool) -> None:
    """Post statements from FILE (JSON, or JSON lines), or from standard input.

    Posting the same file again is safe: what is on the ledger already is only replayed, so an
    interrupted run is taken up by running it again.
    """
    statements = read_statements(file.read())
    with _target(platform, url, statements=statements) as target:
        start = 0
        for batch in batches(map(post_of, statements)):
            try:
                sealed = target.post(batch)
            except Refusal as refusal:
                _say_refused(refusal, start, len(batch))
                raise
            for entry in sealed:
                _print_sealed(entry, as_json)
            start += len(batch)


def read_statements(data: bytes) -> list[dict[str, Any]]:
    """The statements of a file: one, an array, `{"entries": [...]}`, or one a line.

    Each may stand bare or, as the API takes it, within {"statement": ..., "signatures": [...]}.
    """
    return [_read_post(number, post) for number, post in enumerate(_documents(data), 1)]


def _read_post(number: int, post: Any) -> dict[str, Any]:
    if not isinstance(post, dict) or not isinstance(post.get("statement", post), dict):
        raise Refusal("malformed", f"statement {number} is not an object")
    return post


def _documents(data: bytes) -> list[Any]:
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) > 1 and _is_json(lines[0]):
        return [_read_line(number, line) for number, line in enumerate(lines, 1)]
    whole = read_json(data)
    if isinstance(whole, dict) and whole.keys() == {"entries"}:
        whole = whole["entries"]
    return whole if isinstance(whole, list) else [whole]


def _is_json(line: bytes) -> bool:
    """Whether a first line is a document of its own, so that each line is one."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _read_line(number: int, line: bytes) -> Any:
    try:
        return read_json(line)
    except Refusal as refusal:
        raise Refusal("malformed", f"statement {number}: {refusal}", refusal.faults) from None


def _say_refused(refusal: Refusal, start: int, count: int) -> None:
    before = "; those before them were" if start else ""
    say(f"Of statements {start + 1} to {start + count} none was sealed{before}.")
    for fault in refusal.faults:
        head, _, rest = fault.pointer.removeprefix("/entries/").partition("/")
        where = f"statement {start + int(head) + 1}" if head.isdecimal() else "a statement"
        say(f"  {where}, /{rest}: {fault.detail}")


def _print_sealed(entry: SealedEntry, as_json: bool) -> None:
    leaf = entry.leaf_hash.hex()
    if as_json:
        print_json({"index": entry.index, "leaf_hash": leaf, "replayed": entry.replayed})
    else:
        click.echo(f"{entry.index} {leaf}{' replayed' if entry.replayed else ''}")


@click.group("import")
def import_() -> None:
    """Bring in data that others publish."""


@import_.command("360giving")
@click.argument("file", type=click.File("rb"))
@platform_option
@url_option
@json_option
def import_360giving(file: BinaryIO, platform: str | None, url: str | None, as_json: bool) -> None:
    """Import grants in the 360Giving format as donations and disbursements.

    Running it again adds nothing. Exits 1 when records were refused; each is named.
    """
    from ledger.importers.giving360 import import_grants

    with (
        _target(platform, url, needs_platform=True) as target,
        progress_bar("Grants", hidden=as_json) as progress,
    ):
        report = import_grants(file.read(), target, progress)
    _print_import(report, as_json)
    if report.refused:
        sys.exit(WRONG)


def _print_import(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "grants": report.grants,
                "replayed": report.replayed,
                "parties": report.parties,
                "funds": report.funds,
                "money_entries": report.money_entries,
                "sums": {currency: sums._asdict() for currency, sums in report.sums.items()},
                "refused": [refused._asdict() for refused in report.refused],
            }
        )
        return
    for refused in report.refused:
        say(f"Refused {refused.id}: {refused.code}: {refused.reason}")
    click.echo(
        f"{report.grants} grants sealed in {report.money_entries} money entries, with "
        f"{report.parties} parties and {report.funds} funds; {report.replayed} were there "
        f"before; {len(report.refused)} refused."
    )
    for currency, sums in report.sums.items():
        click.echo(
            f"{currency}: {sums.received} in, {sums.paid_out} out "
            f"({sums.to_organisations} to organisations, {sums.to_individuals} to individuals)"
        )
