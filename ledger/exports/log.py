"""The log as an export reads it: under one signed checkpoint, entry by entry, nothing left out.

An export is only made of a log whose entries are all there: chain and root are checked on the
way. One that says what entries mean adds up the books as well. The signature, and refs that stand
twice, are for `amanah verify`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple, NoReturn

from ledger.audit import Progress, Reader
from ledger.books import Books
from ledger.chain import Tip, verify
from ledger.entry import Entry
from ledger.errors import LogMismatch, Refusal
from ledger.rules import check_form, content_of, not_understood, post_again, read_entry
from ledger.scratch import LeafFile, MovementFile
from ledger.stocks import StockFile
from ledger.tlog.head import parse_checkpoint
from ledger.tlog.merkle import Frontier
from ledger.tlog.note import parse_note
from ledger.tlog.tile import TILE_WIDTH, decode_bundle, tile_width


class Sealed(NamedTuple):
    """An entry, its exact bytes and its leaf hash in hex."""

    entry: Entry
    entry_bytes: bytes
    leaf: str


class Log:
    """All entries up to the signed checkpoint `note` of `reader`, while the log itself grows on.

    currencies: code -> exponent, as far as was read; it is read once.
    progress: called with the entries done and the entries there are. remarks: what an export
    has to tell the person who asked for it.
    """

    def __init__(self, reader: Reader, note: bytes, progress: Progress | None = None) -> None:
        self._reader, self._progress, self.note = reader, progress, note
        self.checkpoint = parse_checkpoint(parse_note(self.note).text)
        self.currencies: Mapping[str, int] = {}
        self.remarks: list[str] = []

    def __iter__(self) -> Iterator[Sealed]:
        """Raises LogMismatch where the log is not whole, so what was written by then is void."""
        tip, size = Tip(Frontier()), self.checkpoint.size
        for start in range(0, size, TILE_WIDTH):
            for entry_bytes in self._bundle(start // TILE_WIDTH):
                entry = read_entry(tip.size, entry_bytes)
                verify(tip, entry, entry_bytes)
                yield Sealed(entry, entry_bytes, tip.prev)
            if self._progress is not None:
                self._progress(tip.size, size)
        if tip.root != self.checkpoint.root:
            expected, found = self.checkpoint.root.hex(), tip.root.hex()
            raise LogMismatch(None, "root of all entries", expected, found)

    def _bundle(self, index: int) -> list[bytes]:
        width = tile_width(0, index, self.checkpoint.size)
        return decode_bundle(self._reader.bundle(index, width), width)


def understood(log: Log) -> Iterator[Sealed]:
    """The entries of `log`, for an export that says what they mean.

    The books are added up again on the way, so whoever reads an entry may rely on its form and
    on what it refers to. Raises LogMismatch where a rule is broken, and Refusal
    (`not_supported`) at what this version cannot tell: an export must not guess.
    """
    with (
        closing(MovementFile()) as movements,
        closing(StockFile()) as stocks,
        closing(LeafFile()) as leaves,
    ):
        books = Books(leaves, {}, movements, stocks)
        for sealed in log:
            _post(books, sealed)
            leaves.add(bytes.fromhex(sealed.leaf))
            log.currencies = books.currencies
            yield sealed


def _post(books: Books, sealed: Sealed) -> None:
    entry = sealed.entry
    if (what := not_understood(entry)) is not None:
        _not_supported(entry, what)
    content = content_of(entry)
    try:
        check_form(entry.index, content, sealed.entry_bytes, books.currencies)
    except Refusal as refusal:
        _not_supported(entry, str(refusal))
    post_again(books, entry.index, content)


def _not_supported(entry: Entry, what: str) -> NoReturn:
    detail = f"this version does not understand entry {entry.index} ({what}), and an export that "
    raise Refusal("not_supported", f"{detail}guesses would be wrong: update amanah, or use jsonl")
