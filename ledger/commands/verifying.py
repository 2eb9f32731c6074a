"""Verifying: verify, receipt get, receipt verify. Nothing here loads Flask."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from ledger.audit import Known, Reader, Receipt, Report, audit, prove_receipt, verify_receipt
from ledger.commands.shared import (
    NOT_WITNESSED,
    UNREACHABLE,
    WRONG,
    exit_code,
    json_option,
    print_json,
    progress_bar,
    say,
)
from ledger.config import Config
from ledger.entry import decode_entry
from ledger.errors import (
    FormatError,
    LedgerError,
    LogMismatch,
    PolicyError,
    Refusal,
    SignatureError,
    Unreachable,
)
from ledger.remember import Memory
from ledger.tlog.note import VerifierKey
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_WIDTH, decode_bundle

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
        origin, report = _verify(target, _trust(vkey, policy_file), as_json)
    except (LogMismatch, SignatureError, FormatError, PolicyError, Unreachable) as error:
        if as_json:
            print_json(_verdict_of(error))
        raise
    if as_json:
        print_json(_verdict_of(report))
    else:
        click.echo(_sentence(origin, report))
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


def _verify(target: str, policy: Policy | None, quiet: bool) -> tuple[str, Report]:
    memory = Memory(Config.from_environment().state)
    with _source(target) as source:
        if policy is None:
            policy = Policy.for_key(_first_use(memory, source))
        key = _key_that_signed(source.reader, policy)
        known = [*source.known]
        if (remembered := memory.recall(key)) is not None:
            known.append(remembered)
        elif not quiet:
            say(f"First time that {key.name} is verified here; from now on its checkpoint is kept.")
        with progress_bar("Entries", hidden=quiet) as progress:
            note = source.reader.checkpoint()
            report = audit(_Pinned(source.reader, note), policy, known, progress)
        if report.is_sound:
            memory.save(key, note)
    return key.name, report


class _Pinned:
    """A reader whose checkpoint stays the one that was read first, while the log grows on."""

    def __init__(self, reader: Reader, note: bytes) -> None:
        self._note = note
        self.tile, self.bundle = reader.tile, reader.bundle

    def checkpoint(self) -> bytes:
        return self._note


class _Source:
    """What is verified: a reader, what it says its key is, and heads known beside it."""

    def __init__(self, reader: Reader, vkey: Callable[[], str], known: Iterable[Known]) -> None:
        self.reader, self.vkey, self.known = reader, vkey, list(known)


@contextmanager
def _source(target: str) -> Iterator[_Source]:
    if target.startswith(("http://", "https://")):
        from ledger.client import HttpLedger

        remote = HttpLedger(target)
        yield _Source(remote, lambda: str(remote.ledger()["vkeys"][0]), ())
        return
    from ledger.store.sqlite import SqliteStore

    store = SqliteStore(Path(target))
    try:
        known = [Known(*head) for head in store.heads()]
        yield _Source(store, lambda: _genesis_key(store.entry_bytes(0)), known)
    finally:
        store.close()


def _genesis_key(entry_bytes: bytes) -> str:
    try:
        return str(decode_entry(entry_bytes).statement["vkeys"][0])
    except (Refusal, KeyError, TypeError, IndexError) as error:
        raise LogMismatch(0, "genesis", "an entry that names the log's keys", str(error)) from error


def _first_use(memory: Memory, source: _Source) -> VerifierKey:
    """Trust on first use: the key that was remembered, else the one the ledger names."""
    named = VerifierKey.parse(source.vkey())
    remembered: VerifierKey | None = memory.key_of(named.name)
    if remembered is None:
        say(
            "No --vkey or --policy given, so the key that the ledger names is taken on trust:\n"
            f"{named}"
        )
        return named
    return remembered


def _key_that_signed(reader: Reader, policy: Policy) -> VerifierKey:
    checkpoint = policy.open(reader.checkpoint()).checkpoint
    return next(key for key in policy.logs if key.name == checkpoint.origin)


def _sentence(origin: str, report: Report) -> str:
    checkpoint = report.checkpoint
    witnesses = ", ".join(report.witnesses)
    cosigned = f" Cosigned by {witnesses}." if witnesses else " No witness cosigned it."
    if report.is_sound:
        return (
            f"SOUND: all {checkpoint.size} entries of {origin} are intact, in order, and add up, "
            f"under the signed root {checkpoint.root.hex()}.{cosigned}"
        )
    index, what = report.not_understood[0]
    return (
        f"NOT UNDERSTOOD: the hashes of all {checkpoint.size} entries of {origin} fit, but from "
        f"entry {index} on ({what}) this version cannot check what they say. Update amanah."
    )


def _verdict_of(outcome: Report | LedgerError) -> dict[str, Any]:
    if not isinstance(outcome, LedgerError):
        checkpoint = outcome.checkpoint
        return {
            "verdict": "sound" if outcome.is_sound else "not_understood",
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "witnesses": outcome.witnesses,
            "not_understood": [list(item) for item in outcome.not_understood],
        }
    verdicts = {UNREACHABLE: "unreachable", NOT_WITNESSED: "not_witnessed"}
    verdict = verdicts.get(exit_code(outcome), "wrong")
    document: dict[str, Any] = {"verdict": verdict, "code": outcome.code, "detail": str(outcome)}
    if isinstance(outcome, LogMismatch):
        names = ("index", "compared", "expected", "found", "meaning", "advice")
        document |= {name: getattr(outcome, name) for name in names}
    return document


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
        named = VerifierKey.parse(opened.vkey())
        bundle, position = divmod(index, TILE_WIDTH)
        entry_bytes = decode_bundle(opened.reader.bundle(bundle, position + 1), position + 1)[-1]
        data = prove_receipt(opened.reader, index, entry_bytes, named).format()
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
        if as_json:
            print_json(_verdict_of(error))
        raise
    if as_json:
        print_json(_receipt_document(verified))
    else:
        click.echo(_receipt_sentence(verified))


def _receipt_document(verified: Receipt) -> dict[str, Any]:
    return {
        "verdict": "verified",
        "origin": verified.checkpoint.origin,
        "index": verified.entry.index,
        "size": verified.checkpoint.size,
        "root": verified.checkpoint.root.hex(),
        "witnesses": verified.witnesses,
        "entry": json.loads(verified.entry_bytes),
    }


def _receipt_sentence(verified: Receipt) -> str:
    entry, checkpoint = verified.entry, verified.checkpoint
    statement = entry.statement
    what = f"a {statement.get('type')}"
    if "amount" in statement:
        what += f" of {statement['amount']} {statement.get('currency', '')}".rstrip()
    if "fund" in statement:
        what += (
            f" to the fund {statement['fund']}"
            if statement["type"] == "donation"
            else (f" from the fund {statement['fund']}")
        )
    return (
        f"VERIFIED: {what}, posted by {entry.platform} and recorded at {entry.recorded_at}, is "
        f"entry {entry.index} of {checkpoint.origin}, under its signed checkpoint of "
        f"{checkpoint.size} entries."
    )
