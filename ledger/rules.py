"""The audited rules, asked of sealed entries again (docs/format.md, "Audited rules of amanah/1").

Whoever reads a log to its end and says what it means folds it through here: the audit, the
exports, and what makes the tables of a database anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ledger.books import Books
from ledger.entry import (
    STATEMENT_BYTES_MAX,
    Entry,
    SumsBytes,
    canonical,
    decode_audited_entry,
    decode_entry,
)
from ledger.errors import FormatError, LogMismatch, NotFound, Refusal
from ledger.goods import divided
from ledger.signatures import Signature
from ledger.state import Statement, Total
from ledger.tlog.note import VerifierKey
from schemas.check import check_signatures, check_statement, is_understood

BROKEN_RULE = "the ledger's software had a bug; or somebody wrote past its rules"


def read_entry(index: int, entry_bytes: bytes) -> Entry:
    """The entry that stands at `index`. Raises LogMismatch when it is not one of this format."""
    try:
        return decode_audited_entry(entry_bytes)
    except Refusal as refusal:
        what, expected = "form of the entry", "canonical JSON of an entry"
        raise LogMismatch(index, what, expected, str(refusal)) from refusal


def genesis_key(genesis: Callable[[], bytes]) -> VerifierKey:
    """The key that a log's first entry names, which proves nothing by itself.

    genesis: reads that entry. Raises LogMismatch when it cannot, or the entry names none.
    """
    try:
        return VerifierKey.parse(decode_entry(genesis()).statement["vkeys"][0])
    except (NotFound, Refusal, FormatError, LookupError, TypeError, AttributeError) as error:
        wanted = "the genesis, which names the log's keys"
        raise LogMismatch(0, "first entry", wanted, str(error)) from error


def not_understood(entry: Entry) -> str | None:
    """What of an entry this version does not know; None when it knows all of it."""
    if is_understood(entry.statement) and not entry.unread:
        return None
    return ", ".join((f"type {entry.statement.get('type')!r}", *entry.unread))


class Content(NamedTuple):
    """What the rules ask of a sealed entry, wherever it stands."""

    platform: str
    statement: Statement
    sums: SumsBytes
    signatures: Sequence[Signature]


def content_of(entry: Entry) -> Content:
    """What the rules ask of an entry that was read."""
    sums = spell_sums(entry.totals, entry.goods)
    return Content(entry.platform, entry.statement, sums, entry.signatures)


def check_spelling(
    statement: Statement,
    signatures: Sequence[Signature],
    entry_bytes: bytes,
    currencies: Mapping[str, int],
) -> None:
    """Hold the statement of an entry, and what stands beside it, to their schemas. Raises Refusal.

    currencies: this ledger's table, not asked of the genesis itself.
    """
    # Measured alone only where the entry around it does not settle how long it is at most.
    size = len(entry_bytes)
    if size > STATEMENT_BYTES_MAX:
        size = len(canonical(statement))
    check_statement(statement, size, currencies)
    if signatures:
        check_signatures(signatures)


def check_form(
    index: int, content: Content, entry_bytes: bytes, currencies: Mapping[str, int]
) -> None:
    """`check_spelling` of entry `index`.

    Raises LogMismatch, or Refusal (`not_supported`) for what this version does not know.
    """
    try:
        check_spelling(content.statement, content.signatures, entry_bytes, currencies)
    except Refusal as refusal:
        if refusal.code == "not_supported":
            raise
        raise _broken(index, refusal) from refusal


def post_again(books: Books, index: int, content: Content) -> None:
    """References, rights, state, sums, signatures: add entry `index` up in `books`, which hold all
    before it.

    Its form was checked. Raises LogMismatch when a rule is broken, or its totals or goods are
    others.
    """
    platform, statement, sums, signatures = content
    try:
        lines = books.post(index, platform, statement, signatures)
    except Refusal as refusal:
        raise _broken(index, refusal) from refusal
    # As bytes: compared as values, a `true` would pass for a 1.
    added_up = spell_sums(*divided(statement["type"], lines))
    if added_up == sums:
        return
    name = "totals" if added_up.totals != sums.totals else "goods"
    wanted, found = (getattr(one, name) or b"[]" for one in (added_up, sums))
    raise LogMismatch(
        index,
        f"{name}, added up again from the first entry",
        wanted.decode(),
        found.decode(errors="replace"),
        meaning="the ledger's software had a bug; or somebody sealed a false balance",
    )


def spell_sums(totals: list[Total], goods: list[Total]) -> SumsBytes:
    """Their bytes as an entry carries them; none for what is empty."""
    return SumsBytes(*(canonical(lines) if lines else b"" for lines in (totals, goods)))


def _broken(index: int, refusal: Refusal) -> LogMismatch:
    what, expected = f"rule `{refusal.code}`", "a statement that the rules admit"
    return LogMismatch(index, what, expected, str(refusal), meaning=BROKEN_RULE)
