"""Where the verifying commands read a log from, and whose word they take for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ledger.audit import Known, Reader
from ledger.commands.shared import say
from ledger.errors import (
    FormatError,
    LedgerError,
    LogMismatch,
    NotFound,
    SetupError,
    Unreachable,
)
from ledger.exports.directory import CHECKPOINT, TILES, DirectoryReader
from ledger.outgrown import Outgrown
from ledger.remember import Memory
from ledger.rules import genesis_key
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.note import VerifierKey, parse_note
from ledger.tlog.policy import Policy
from ledger.tlog.proof import HEADER, parse_proof
from ledger.tlog.tile import tile_width

if TYPE_CHECKING:
    from ledger.client import HttpLedger

vkey_option = click.option("--vkey", help="The log's verifier key, from whoever you trust.")
policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.File("rb"),
    help="A C2SP tlog-policy file: the logs and witnesses you trust.",
)


class Source:
    """Where a log is read from.

    name: as it was given. reader: its files. known: heads that are kept beside it.
    check_rest: raises LogMismatch for what reading the log does not meet.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        named_key: Callable[[], VerifierKey],
        no_checkpoint: Callable[[NotFound], LedgerError],
        known: Iterable[Known] = (),
        check_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.reader = name, reader
        self.known, self.check_rest = list(known), check_rest
        self._named_key, self._no_checkpoint = named_key, no_checkpoint

    def named_key(self) -> VerifierKey:
        """What it says its key is, which proves nothing. Raises as `checkpoint` does."""
        try:
            return self._named_key()
        except NotFound as error:
            raise self._no_checkpoint(error) from error

    def checkpoint(self) -> bytes:
        """The signed checkpoint. Raises LogMismatch or Unreachable when there is none."""
        try:
            return self.reader.checkpoint()
        except NotFound as error:
            raise self._no_checkpoint(error) from error


@contextmanager
def opened_source(name: str) -> Iterator[Source]:
    """The log at `name`: a URL, a database file, or a directory that holds an export."""
    if name.startswith(("http://", "https://")):
        from ledger.client import HttpLedger

        remote = HttpLedger(name)
        reader = Outgrown(remote)
        yield Source(name, reader, lambda: _served_key(remote, reader), _not_a_ledger)
    elif Path(name).is_dir():
        reader = Outgrown(DirectoryReader(Path(name)))
        yield Source(name, reader, lambda: _key_in_bundle(reader), _not_exported(Path(name)))
    else:
        from ledger.store.shape import check_rows
        from ledger.store.sqlite import SqliteStore

        store = SqliteStore(Path(name))
        try:
            yield Source(
                name,
                store,
                lambda: genesis_key(lambda: store.entry_bytes(0)),
                _checkpoints_gone,
                [Known(*head) for head in store.heads()],
                lambda: check_rows(Path(name)),
            )
        finally:
            store.close()


def trust(vkey: str | None, policy_file: BinaryIO | None) -> Policy | None:
    """What the verifier trusts; None when nothing was named."""
    if vkey is not None and policy_file is not None:
        raise click.UsageError("give --vkey or --policy, not both")
    try:
        if policy_file is not None:
            return Policy.parse(policy_file.read())
        return Policy.for_key(VerifierKey.parse(vkey)) if vkey is not None else None
    except FormatError as error:
        raise click.UsageError(str(error)) from error


def first_use(memory: Memory, source: Source) -> Policy:
    """Trust on first use: the keys that are remembered, else the one the ledger names."""
    named = source.named_key()
    remembered = memory.keys_of(named.name)
    if remembered:
        return Policy(logs=tuple(remembered))
    say(
        f"No --vkey or --policy given, so the key that the ledger names is taken on trust:\n{named}"
    )
    return Policy.for_key(named)


def note_in(data: bytes) -> bytes:
    """The signed checkpoint in a file that somebody holds: the file, or that of a receipt.

    Raises FormatError for a receipt that cannot be read. Nothing is verified yet.
    """
    return parse_proof(data).checkpoint if data.startswith(HEADER.encode()) else data


# -- what each kind of source says its key is, and what it means that it has no checkpoint


def _served_key(remote: HttpLedger, reader: Reader) -> VerifierKey:
    with suppress(NotFound):  # when it is any server of files: the genesis names the key too
        return VerifierKey.parse(remote.ledger()["vkeys"][0])
    return _key_in_bundle(reader)


def _key_in_bundle(reader: Reader) -> VerifierKey:
    """The key in entry 0. Raises NotFound without a checkpoint."""
    size = parse_checkpoint(parse_note(reader.checkpoint()).text).size
    width = tile_width(0, 0, size)

    def genesis() -> bytes:
        # Not the whole bundle: what is wrong further on is for the audit to place.
        data = reader.bundle(0, width)
        return data[2 : 2 + int.from_bytes(data[:2], "big")]

    return genesis_key(genesis)


def _not_a_ledger(error: NotFound) -> LedgerError:
    return Unreachable(
        f"{error}; the address of a ledger is what its /{CHECKPOINT} and /{TILES}/ begin with"
    )


def _checkpoints_gone(error: NotFound) -> LedgerError:
    return LogMismatch(None, "signed checkpoint", "one that covers every entry", str(error))


def _not_exported(directory: Path) -> Callable[[NotFound], LedgerError]:
    def no_checkpoint(error: NotFound) -> LedgerError:
        if (directory / TILES).exists():
            return _checkpoints_gone(error)
        return SetupError(
            f"{directory} is no export of a ledger: it holds no {CHECKPOINT}; `amanah export` "
            "makes one"
        )

    return no_checkpoint
