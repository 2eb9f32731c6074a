"""The log as an export reads it: under one signed checkpoint, entry by entry, nothing left out.

An export is only made of a log whose entries are all there: chain and root are checked on the
way. One that says what entries mean adds up the books as well. The signature, and refs that stand
twice, are for `amanah verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import NamedTuple, NoReturn

from ledger.audit import Reader
from ledger.books import Books
from ledger.chain import Tip, verify
from ledger.entry import Entry, canonical, decode_audited_entry
from ledger.errors import LogMismatch, Refusal
from ledger.scratch import MovementFile
from ledger.state import EmptyState
from ledger.tlog.head import parse_checkpoint
from ledger.tlog.merkle import Frontier
from ledger.tlog.note import parse_note
from ledger.tlog.tile import TILE_WIDTH, decode_bundle, tile_width
from schemas.check import check_statement, is_understood


class Sealed(NamedTuple):
    """An entry, its exact bytes and its leaf hash in hex."""

    entry: Entry
    entry_bytes: bytes
    leaf: str


class Log:
    """All entries up to the newest signed checkpoint of `reader`, while the log itself grows on.

    note: that checkpoint. currencies: code -> exponent, as far as was read; it is read once.
    progress: called with the entries done and the entries there are. remarks: what an export
    has to tell the person who asked for it.
    """

    def __init__(self, reader: Reader, progress: Callable[[int, int], None] | None = None) -> None:
        self._reader, self._progress = reader, progress
        self.note = reader.checkpoint()
        self.checkpoint = parse_checkpoint(parse_note(self.note).text)
        self.currencies: Mapping[str, int] = {}
        self.remarks: list[str] = []

    def __iter__(self) -> Iterator[Sealed]:
        """Raises LogMismatch where the log is not whole, so what was written by then is void."""
        tip, size = Tip(Frontier()), self.checkpoint.size
        for start in range(0, size, TILE_WIDTH):
            for entry_bytes in self._bundle(start // TILE_WIDTH):
                entry = self._decode(tip, entry_bytes)
                yield Sealed(entry, entry_bytes, tip.prev)
            if self._progress is not None:
                self._progress(tip.size, size)
        if tip.root != self.checkpoint.root:
            expected, found = self.checkpoint.root.hex(), tip.root.hex()
            raise LogMismatch(None, "root of all entries", expected, found)

    def _bundle(self, index: int) -> list[bytes]:
        width = tile_width(0, index, self.checkpoint.size)
        return decode_bundle(self._reader.bundle(index, width), width)

    def _decode(self, tip: Tip, entry_bytes: bytes) -> Entry:
        index = tip.size
        try:
            entry = decode_audited_entry(entry_bytes)
        except Refusal as refusal:
            what = "form of the entry"
            raise LogMismatch(index, what, "an entry of this format", str(refusal)) from refusal
        verify(tip, entry, entry_bytes)
        return entry


def understood(log: Log) -> Iterator[Sealed]:
    """The entries of `log`, for an export that says what they mean.

    The books are added up again on the way, so whoever reads an entry may rely on its form and
    on what it refers to. Raises LogMismatch where a rule is broken, and Refusal
    (`not_supported`) at what this version cannot tell: an export must not guess.
    """
    with closing(MovementFile()) as movements:
        books = Books(EmptyState(), {}, movements)
        for sealed in log:
            _post(books, sealed.entry)
            log.currencies = books.currencies
            yield sealed


def _post(books: Books, entry: Entry) -> None:
    statement = entry.statement
    if entry.unread or not is_understood(statement):
        _not_supported(entry, ", ".join((f"type {statement.get('type')!r}", *entry.unread)))
    try:
        check_statement(statement, len(canonical(statement)), books.currencies)
        totals = books.post(entry.index, entry.platform, statement)
    except Refusal as refusal:
        if refusal.code == "not_supported":
            _not_supported(entry, str(refusal))
        rule, wanted = f"rule `{refusal.code}`", "a statement that the rules admit"
        raise LogMismatch(entry.index, rule, wanted, str(refusal)) from refusal
    if totals != entry.totals:
        expected, found = (canonical(value).decode() for value in (totals, entry.totals))
        raise LogMismatch(entry.index, "totals, added up again", expected, found)


def _not_supported(entry: Entry, what: str) -> NoReturn:
    detail = f"this version does not understand entry {entry.index} ({what}), and an export that "
    raise Refusal("not_supported", f"{detail}guesses would be wrong: update amanah, or use jsonl")
