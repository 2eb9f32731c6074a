"""Verifying: verify, receipt get, receipt verify. Nothing here loads Flask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ledger.audit import Known, Reader, Report, audit, prove_receipt, verify_receipt
from ledger.commands.shared import WRONG, json_option, print_json, progress_bar, say
from ledger.commands.verdicts import (
    explain,
    receipt_document,
    receipt_sentence,
    sentence,
    verdict_of,
)
from ledger.config import Config
from ledger.errors import FormatError, LedgerError, LogMismatch, NotFound, Unreachable
from ledger.remember import Memory
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import VerifierKey, parse_note
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_WIDTH, TileHashes, decode_bundle

if TYPE_CHECKING:
    from ledger.client import HttpLedger

vkey_option = click.option("--vkey", help="The log's verifier key, from whoever you trust.")
policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.File("rb"),
    help="A C2SP tlog-policy file: the logs and witnesses you trust.",
)


@click.command()
@click.argument("target")
@vkey_option
@policy_option
@json_option
def verify(target: str, vkey: str | None, policy_file: BinaryIO | None, as_json: bool) -> None:
    """Verify a whole ledger: a URL, or a database file.

    Hashes every entry, follows the chain, rebuilds the tree, adds the books up from nothing
    and checks every rule again. Exits 0 when sound, 1 when proved wrong, 3 when unreachable,
    4 when too few witnesses of the policy cosigned.
    """
    try:
        report = _verify(target, _trust(vkey, policy_file), as_json)
    except LedgerError as error:
        explain(error, as_json)
        raise
    if as_json:
        print_json(verdict_of(report))
    else:
        click.echo(sentence(report))
    if not report.is_sound:
        sys.exit(WRONG)


def _trust(vkey: str | None, policy_file: BinaryIO | None) -> Policy | None:
    """What the verifier trusts; None when nothing was named."""
    if vkey is not None and policy_file is not None:
        raise click.UsageError("give --vkey or --policy, not both")
    try:
        if policy_file is not None:
            return Policy.parse(policy_file.read())
        return Policy.for_key(VerifierKey.parse(vkey)) if vkey is not None else None
    except FormatError as error:
        raise click.UsageError(str(error)) from error


def _verify(target: str, policy: Policy | None, quiet: bool) -> Report:
    memory = Memory(Config.from_environment().state)
    with _source(target) as source:
        if policy is None:
            policy = _first_use(memory, source)
        note = source.checkpoint()
        origin = policy.open(note).checkpoint.origin
        keys = [key for key in policy.logs if key.name == origin]
        # One log, whichever of its keys signed: it must extend what was seen under any of them.
        remembered = [head for key in keys if (head := memory.recall(key)) is not None]
        if not remembered and not quiet:
            say(f"First time that {origin} is verified here; from now on its checkpoint is kept.")
        with progress_bar("Entries", hidden=quiet) as progress:
            pinned = _Pinned(source.reader, note)
            report = audit(pinned, policy, [*source.known, *remembered], progress)
        if report.is_sound:
            for key in parse_note(note).verified_by(keys):
                memory.save(key, note)
    return report


class _Pinned:
    """A reader whose checkpoint stays the one that was read first, while the log grows on."""

    def __init__(self, reader: Reader, note: bytes) -> None:
        self._note = note
        self.tile, self.bundle = reader.tile, reader.bundle

    def checkpoint(self) -> bytes:
        return self._note


class _Source:
    """What is verified: a reader, what it says its key is, and heads known beside it."""

    def __init__(
        self,
        reader: Reader,
        named_key: Callable[[], VerifierKey],
        known: Iterable[Known],
        no_checkpoint: Callable[[NotFound], LedgerError],
    ) -> None:
        self.reader, self.named_key, self.known = reader, named_key, list(known)
        self._no_checkpoint = no_checkpoint

    def checkpoint(self) -> bytes:
        try:
            return self.reader.checkpoint()
        except NotFound as error:
            raise self._no_checkpoint(error) from error


@contextmanager
def _source(target: str) -> Iterator[_Source]:
    if target.startswith(("http://", "https://")):
        from ledger.client import HttpLedger

        remote = HttpLedger(target)
        yield _Source(remote, lambda: _served_key(remote), (), _not_a_ledger)
        return
    from ledger.keeping import genesis_key
    from ledger.store.sqlite import SqliteStore

    store = SqliteStore(Path(target))
    try:
        known = [Known(*head) for head in store.heads()]
        yield _Source(store, lambda: genesis_key(store), known, _checkpoints_gone)
    finally:
        store.close()


def _served_key(remote: HttpLedger) -> VerifierKey:
    try:
        return VerifierKey.parse(remote.ledger()["vkeys"][0])
    except NotFound as error:
        raise _not_a_ledger(error) from error


def _not_a_ledger(error: NotFound) -> LedgerError:
    return Unreachable(f"{error}; the address of a ledger is what its /v1/ledger begins with")


def _checkpoints_gone(error: NotFound) -> LedgerError:
    return LogMismatch(None, "signed checkpoint", "one that covers every entry", str(error))


def _first_use(memory: Memory, source: _Source) -> Policy:
    """Trust on first use: the keys that are remembered, else the one the ledger names."""
    named = source.named_key()
    remembered = memory.keys_of(named.name)
    if remembered:
        return Policy(logs=tuple(remembered))
    say(
        f"No --vkey or --policy given, so the key that the ledger names is taken on trust:\n{named}"
    )
    return Policy.for_key(named)


@click.group()
def receipt() -> None:
    """Receipts: proofs that one entry is on a ledger."""


@receipt.command("get")
@click.argument("source")
@click.argument("index", type=click.IntRange(min=0))
@click.option("-o", "--output", type=click.File("wb"), default="-", help="Where to write it.")
def receipt_get(source: str, index: int, output: BinaryIO) -> None:
    """Get the receipt of entry INDEX from SOURCE, a URL or a database file."""
    with _source(source) as opened:
        named = opened.named_key()
        note = opened.checkpoint()
        size = open_checkpoint(note, named).size
        if index >= size:
            raise NotFound(f"there is no entry {index} yet; the ledger holds {size}")
        bundle, position = divmod(index, TILE_WIDTH)
        entry_bytes = decode_bundle(opened.reader.bundle(bundle, position + 1), position + 1)[-1]
        nodes = TileHashes(opened.reader.tile, size)
        data = prove_receipt(entry_bytes, index, note, size, nodes.node).format()
    verify_receipt(data, Policy.for_key(named))
    output.write(data)


@receipt.command("verify")
@click.argument("file", type=click.File("rb"))
@vkey_option
@policy_option
@json_option
def receipt_verify(
    file: BinaryIO, vkey: str | None, policy_file: BinaryIO | None, as_json: bool
) -> None:
    """Verify a receipt, offline, against the log's key or a policy of yours."""
    policy = _trust(vkey, policy_file)
    if policy is None:
        raise click.UsageError("give --vkey or --policy: a receipt cannot vouch for itself")
    try:
        verified = verify_receipt(file.read(), policy)
    except LedgerError as error:
        explain(error, as_json)
        raise
    if as_json:
        print_json(receipt_document(verified))
    else:
        click.echo(receipt_sentence(verified))
