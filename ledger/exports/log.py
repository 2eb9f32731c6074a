"""The log as an export reads it: under one signed checkpoint, entry by entry, nothing left out.

An export is only made of a log whose entries are all there: chain and root are checked on the
way. The signature, the sums and the rules are for `amanah verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ledger.audit import Reader
from ledger.chain import Tip, verify
from ledger.entry import Entry, canonical, decode_audited_entry
from ledger.errors import LogMismatch, Refusal
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
        self.currencies: dict[str, int] = {}
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
            raise _not_of_this_format(index, refusal) from refusal
        verify(tip, entry, entry_bytes)
        if index == 0 and is_understood(entry.statement):
            self.currencies = entry.statement["currencies"]
        return entry


def understood(log: Log) -> Iterator[Sealed]:
    """The entries of `log` for an export that says what they mean: statements have passed their
    schema, totals are totals. Raises Refusal (`not_supported`) at what this version cannot tell.
    """
    for sealed in log:
        entry = sealed.entry
        try:
            if is_understood(entry.statement):
                check_statement(entry.statement, len(canonical(entry.statement)), log.currencies)
            elif entry.totals:
                detail = f"it does not know the type {entry.statement.get('type')!r}"
                raise Refusal("not_supported", f"{detail}, which moves money")
            for total in entry.totals:
                _check_total(total, log.currencies)
        except Refusal as refusal:
            if refusal.code != "not_supported":
                raise _not_of_this_format(entry.index, refusal) from refusal
            detail = f"this version cannot export entry {entry.index}: {refusal}; update amanah"
            raise Refusal("not_supported", detail) from refusal
        yield sealed


def _check_total(total: object, currencies: Mapping[str, int]) -> None:
    texts = ("fund", "currency", "balance")
    if (
        not isinstance(total, dict)
        or not all(isinstance(total.get(name), str) for name in texts)
        or total["currency"] not in currencies
    ):
        raise Refusal("malformed", f"/totals: {canonical(total)!r} is not the total of a fund")


def _not_of_this_format(index: int, refusal: Refusal) -> LogMismatch:
    return LogMismatch(index, "form of the entry", "an entry of this format", str(refusal))
