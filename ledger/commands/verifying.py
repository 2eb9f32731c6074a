"""Verifying: verify, receipt get, receipt verify. Nothing here loads Flask."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO

import click

from ledger.audit import Known, Reader, Report, Ways, audit, prove_receipt, verify_receipt
from ledger.commands.auditing import (
    Pace,
    audit_progress,
    from_scratch_option,
    scratch_for,
    ways_of,
    workers_option,
)
from ledger.commands.receipts import receipt_details, receipt_document, receipt_sentence
from ledger.commands.shared import WRONG, json_option, print_json, say
from ledger.commands.sources import (
    Source,
    first_use,
    note_in,
    opened_source,
    policy_option,
    trust,
    vkey_option,
)
from ledger.commands.verdicts import explain, sentence, verdict_of
from ledger.config import Config
from ledger.errors import FormatError, LedgerError, NotFound, SignatureError
from ledger.remember import Memory
from ledger.tlog.note import parse_note
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_WIDTH, TileHashes, decode_bundle, tile_width


@click.command()
@click.argument("target")
@vkey_option
@policy_option
@click.option(
    "--checkpoint",
    "held",
    type=click.File("rb"),
    multiple=True,
    help="A checkpoint or receipt that somebody holds, which the log must extend. Repeatable.",
)
@workers_option
@from_scratch_option
@json_option
def verify(
    target: str,
    vkey: str | None,
    policy_file: BinaryIO | None,
    held: tuple[BinaryIO, ...],
    workers: int,
    from_scratch: bool,
    as_json: bool,
) -> None:
    """Verify a whole ledger: a URL, a database file, or a directory that holds an export.

    Hashes every entry, follows the chain, rebuilds the tree, adds the books up from nothing
    and checks every rule again. A large log is checked by several processes, and when that is
    interrupted, the next time goes on from there. Exits 0 when sound, 1 when proved wrong,
    3 when unreachable, 4 when too few witnesses of the policy cosigned.
    """
    pace, ways = Pace(), ways_of(target, partial(_reopened, target), workers)
    try:
        policy = trust(vkey, policy_file)
        report = _verify(target, policy, held, ways, pace, from_scratch, as_json)
    except LedgerError as error:
        explain(error, as_json)
        raise
    if as_json:
        print_json(verdict_of(report) | {"audit": pace.document(report, ways)})
    else:
        click.echo(sentence(report))
    if not report.is_sound:
        sys.exit(WRONG)


def _verify(
    target: str,
    policy: Policy | None,
    held: Iterable[BinaryIO],
    ways: Ways,
    pace: Pace,
    from_scratch: bool,
    quiet: bool,
) -> Report:
    state = Config.from_environment().state
    memory = Memory(state)
    with opened_source(target) as source:
        if policy is None:
            policy = first_use(memory, source)
        note = source.checkpoint()
        origin = policy.open(note).checkpoint.origin
        keys = [key for key in policy.logs if key.name == origin]
        # One log, whichever of its keys signed: it must extend what was seen under any of them.
        remembered = [head for key in keys if (head := memory.recall(key)) is not None]
        if not remembered and not quiet:
            say(f"First time that {origin} is verified here; from now on its checkpoint is kept.")
        foreign = [_held_head(file, policy, origin) for file in held]
        known = [*source.known, *remembered, *foreign]
        size = policy.check(note).size
        scratch = scratch_for(state, target, keys, size, from_scratch, quiet)
        with audit_progress(quiet, pace) as progress:
            pinned = _Pinned(source.reader, note)
            report = audit(pinned, policy, known, progress, ways, scratch)
        source.check_rest()
        if report.is_sound:
            for key in parse_note(note).verified_by(keys):
                memory.save(key, note)
    return report


def _reopened(target: str) -> Reader:
    """The log's reader once more, in another process, for as long as that lives."""
    source = opened_source(target)
    _OPEN.append(source)
    return source.__enter__().reader


_OPEN: list[AbstractContextManager[Source]] = []  # what is forgotten is closed


def _held_head(file: BinaryIO, policy: Policy, origin: str) -> Known:
    """The head that somebody else holds in `file`, signed by the log that is verified."""
    try:
        checkpoint = policy.open(note_in(file.read())).checkpoint
        if checkpoint.origin != origin:
            raise SignatureError(f"it is a checkpoint of {checkpoint.origin}, not of {origin}")
    except (FormatError, SignatureError) as error:
        raise type(error)(f"{file.name}, given with --checkpoint: {error}") from error
    return Known(checkpoint.size, checkpoint.root, f"the checkpoint in {file.name}")


class _Pinned:
    """A reader whose checkpoint stays the one that was read first, while the log grows on."""

    def __init__(self, reader: Reader, note: bytes) -> None:
        self._note = note
        self.tile, self.bundle = reader.tile, reader.bundle

    def checkpoint(self) -> bytes:
        return self._note


@click.group()
def receipt() -> None:
    """Receipts: proofs that one entry is on a ledger."""


@receipt.command("get")
@click.argument("source")
@click.argument("index", type=click.IntRange(min=0))
@click.option("-o", "--output", type=click.File("wb"), default="-", help="Where to write it.")
@vkey_option
@policy_option
def receipt_get(
    source: str,
    index: int,
    output: BinaryIO,
    vkey: str | None,
    policy_file: BinaryIO | None,
) -> None:
    """Get the receipt of entry INDEX from SOURCE: a URL, a database file, or an export.

    It is verified before it is written: under --vkey or --policy, else under the key that SOURCE
    names, which finds damage but not a lie.
    """
    try:
        data = _prove(source, index, trust(vkey, policy_file))
    except LedgerError as error:
        explain(error, as_json=False)
        raise
    output.write(data)


def _prove(name: str, index: int, policy: Policy | None) -> bytes:
    """The receipt of an entry, verified."""
    with opened_source(name) as source:
        policy = policy or Policy.for_key(source.named_key())
        note = source.checkpoint()
        size = policy.open(note).checkpoint.size
        if index >= size:
            raise NotFound(f"there is no entry {index} yet; the ledger holds {size}")
        bundle, position = divmod(index, TILE_WIDTH)
        # In the width it has under this checkpoint: a static server holds no other.
        width = tile_width(0, bundle, size)
        entry_bytes = decode_bundle(source.reader.bundle(bundle, width), width)[position]
        nodes = TileHashes(source.reader.tile, size)
        data = prove_receipt(entry_bytes, index, note, size, nodes.node).format()
    verify_receipt(data, policy)
    return data


@receipt.command("verify")
@click.argument("file", type=click.File("rb"))
@vkey_option
@policy_option
@click.option("--verbose", is_flag=True, help="Print everything that was checked.")
@json_option
def receipt_verify(
    file: BinaryIO,
    vkey: str | None,
    policy_file: BinaryIO | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Verify a receipt, offline, against the log's key or a policy of yours."""
    policy = trust(vkey, policy_file)
    if policy is None:
        raise click.UsageError("give --vkey or --policy: a receipt cannot vouch for itself")
    data = file.read()
    try:
        verified = verify_receipt(data, policy)
    except LedgerError as error:
        explain(error, as_json)
        raise
    if as_json:
        print_json(receipt_document(verified, data))
        return
    click.echo(receipt_sentence(verified))
    if verbose:
        click.echo(receipt_details(verified, data))
