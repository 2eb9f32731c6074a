"""One walk over a log, from its first entry to its last, in bounded memory.

It goes bundle by bundle on what `bundle` has checked already, and entry by entry wherever
that found fault, or where more than the books is to be asked: which entry is wrong first, and
why, is always said by the second way. docs/format.md lists the audited rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from ledger.books import Books
from ledger.chain import Tip, check_link, verify
from ledger.entry import SYSTEM_PLATFORM, Entry
from ledger.errors import LogMismatch, ProofError, Refusal
from ledger.rules import (
    BROKEN_RULE,
    check_form,
    content_of,
    not_understood,
    post_again,
    read_entry,
)
from ledger.scratch import ref_digest
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_SIZE, Frontier, prove_consistency, verify_consistency
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, TileHashes
from ledger.walk.ahead import Ways, checked_bundles
from ledger.walk.bundle import Checked, Reader
from ledger.walk.reading import read_entries, read_tile
from ledger.walk.resume import Saved, Scratch, rules_version
from ledger.walk.upper import UpperTiles
from schemas.check import is_understood


class Known(NamedTuple):
    """A tree head that the log must extend, from outside of what is audited.

    source: who holds it, for the message.
    """

    size: int
    root: bytes
    source: str


Progress = Callable[[int, int], None]  # (entries done, entries in all)

_REWRITTEN = (
    "two ledgers were mixed up; or this log was rewritten, and what is served here is not what "
    "was handed out before"
)


class Walk:
    """The state of one walk. `log_keys`: vkeys, one of which the genesis must name."""

    def __init__(
        self,
        reader: Reader,
        checkpoint: Checkpoint,
        log_keys: set[str],
        known: Sequence[Known],
        ways: Ways,
        scratch: Scratch,
    ) -> None:
        self.ways, self.scratch = ways, scratch
        self.reader, self.checkpoint, self.log_keys = reader, checkpoint, log_keys
        self.known = sorted((head for head in known if head.size), reverse=True)
        self.tip = Tip(Frontier())
        self.tree = UpperTiles(reader)
        self.books = Books(scratch.leaves, {}, scratch.movements, scratch.stocks)
        self.refs = scratch.refs
        self.not_understood: list[tuple[int, str]] = []

    def read_all(self, progress: Progress) -> None:
        """Read every entry, or those after where an earlier walk was interrupted.

        Raises LogMismatch at the first that is wrong.
        """
        if self.scratch.saved is not None:
            self._go_on_from(self.scratch.saved)
        try:
            self._read_entries(progress)
        except LogMismatch as mismatch:
            self._check_refs(mismatch.index)
            raise
        self._check_refs(None)

    def _read_entries(self, progress: Progress) -> None:
        size = self.checkpoint.size
        if size == 0:
            raise LogMismatch(0, "first entry", "the ledger's genesis", "a log without entries")
        if self.tip.size == 0:
            self._read_bundle()  # the genesis says what all others are checked with
        progress(self.tip.size, size)
        end = 0 if self.not_understood else size // TILE_WIDTH
        bundles = range(self.tip.size // TILE_WIDTH, end)
        outcomes = checked_bundles(self.reader, bundles, self.books.currencies, self.ways)
        with closing(outcomes):
            for checked in outcomes:
                if self.not_understood:
                    break
                if not (checked and self._take_checked(checked)):
                    self._read_bundle()
                # A state has no room for what was not understood.
                if self.scratch.is_due() and not self.not_understood:
                    self.scratch.save(self._state())
                progress(self.tip.size, size)
        while self.tip.size < size:
            self._read_bundle()
            progress(self.tip.size, size)
        self.tree.check_partial()
        if self.tip.root != self.checkpoint.root:
            raise LogMismatch(
                None, "root of all entries", self.checkpoint.root.hex(), self.tip.root.hex()
            )

    # -- where it was interrupted

    def _state(self) -> Saved:
        tip, books = self.tip, self.books
        return Saved(
            rules_version(),
            list({*self.scratch.heads, (self.checkpoint.size, self.checkpoint.root)}),
            tip.size,
            tip.prev,
            tip.recorded_at,
            tip.frontier.hashes,
            self.tree.rows,
            self.tree.done,
            books.origin,
            dict(books.currencies),
            books.parties,
            books.key_owners,
            books.programmes,
            books.funds,
            books.positions,
            books.new_holes,
        )

    def _go_on_from(self, saved: Saved) -> None:
        frontier = Frontier(saved.size, saved.frontier)
        reached = "what was read until the audit was interrupted (--from-scratch forgets it)"
        self._check_extends(Known(saved.size, frontier.root(), reached))
        # What is behind is not read again, so these are held against the root alone.
        while self.known and self.known[-1].size <= saved.size:
            self._check_extends(self.known.pop())
        self.tip = Tip(frontier, saved.prev, saved.recorded_at)
        self.tree.rows, self.tree.done = saved.rows, saved.done
        books = self.books
        books.new_origin, books.currencies = saved.origin, saved.currencies
        books.parties, books.key_owners = saved.parties, saved.key_owners
        books.programmes, books.funds = saved.programmes, saved.funds
        books.positions, books.new_holes = saved.positions, saved.holes

    def _check_extends(self, head: Known) -> None:
        """Check that the signed root extends `head`, by a proof out of the tiles."""
        size, root = self.checkpoint.size, self.checkpoint.root
        nodes = TileHashes(partial(read_tile, self.reader), size)
        proof = prove_consistency(head.size, size, nodes.node)
        try:
            verify_consistency(head.size, size, proof, head.root, root)
        except ProofError as error:
            raise LogMismatch(
                head.size - 1,
                f"root at size {head.size}, against {head.source}",
                head.root.hex(),
                str(error),
                meaning=_REWRITTEN,
            ) from error

    # -- bundle by bundle

    def _take_checked(self, checked: Checked) -> bool:
        """Take a bundle as it was checked; False where it must be taken entry by entry."""
        start = self.tip.size
        end = start + TILE_WIDTH
        is_known_within = bool(self.known) and self.known[-1].size <= end
        # The entry that fills a tile of level 1 is asked for more than its rules.
        if is_known_within or end % TILE_WIDTH**2 == 0:
            return False
        try:
            check_link(checked.first, start, self.tip.prev, self.tip.recorded_at)
        except LogMismatch:
            return False
        self.refs.add(checked.refs)
        # Before they are posted: a statement may name the leaf hash of one beside it.
        self.scratch.leaves.add(checked.leaves)
        for index, content in enumerate(checked.contents, start):
            try:
                post_again(self.books, index, content)
            except LogMismatch:
                # Of the entry's form, all has been looked at but that of its totals and goods.
                read_entry(index, self._entries(index // TILE_WIDTH)[index % TILE_WIDTH])
                raise
        last = checked.leaves[-HASH_SIZE:]
        root, time = checked.root, checked.recorded_at
        self.tree.extend(self.tip.extend_subtree(root, TILE_HEIGHT, last, time)[::TILE_HEIGHT])
        return True

    # -- entry by entry

    def _read_bundle(self) -> None:
        for entry_bytes in self._entries(self.tip.size // TILE_WIDTH):
            self._take(entry_bytes)

    def _entries(self, bundle: int) -> list[bytes]:
        return read_entries(self.reader, bundle, self.checkpoint.size)

    def _take(self, entry_bytes: bytes) -> None:
        index = self.tip.size
        entry = read_entry(index, entry_bytes)
        # Level 0 was compared hash by hash already, with the bundle.
        completed = verify(self.tip, entry, entry_bytes)
        self.scratch.leaves.add(completed[0])
        self.tree.extend(completed[TILE_HEIGHT::TILE_HEIGHT])
        while self.known and self.known[-1].size == self.tip.size:
            self._check_known(self.known.pop())
        if index == 0:
            self._check_genesis(entry)
        self._check_rules(entry, entry_bytes)

    def _check_known(self, head: Known) -> None:
        if head.root != self.tip.root:
            raise LogMismatch(
                head.size - 1,
                f"root at size {head.size}, against {head.source}",
                head.root.hex(),
                self.tip.root.hex(),
                meaning=_REWRITTEN,
            )

    def _check_genesis(self, entry: Entry) -> None:
        statement = entry.statement
        if entry.platform != SYSTEM_PLATFORM or statement.get("type") != "genesis":
            found = f"{statement.get('type')!r} by {entry.platform!r}"
            raise LogMismatch(0, "first entry", "the ledger's genesis", found)
        if not is_understood(statement):
            return  # what another format calls its origin and keys is not known here
        if statement.get("ref") != "genesis":
            raise LogMismatch(0, "ref of the genesis", "genesis", str(statement.get("ref")))
        if statement.get("origin") != self.checkpoint.origin:
            raise LogMismatch(
                0, "origin in the genesis", self.checkpoint.origin, str(statement.get("origin"))
            )
        vkeys = statement.get("vkeys")
        if not isinstance(vkeys, list) or not any(key in vkeys for key in self.log_keys):
            found = str(vkeys)
            expected = " or ".join(sorted(self.log_keys))
            raise LogMismatch(0, "keys in the genesis", expected, found)

    def _check_rules(self, entry: Entry, entry_bytes: bytes) -> None:
        """Schema, spelling, references, rights, books: what admission asked, asked again."""
        if (what := not_understood(entry)) is not None:
            self.not_understood.append((entry.index, what))
        if self.not_understood:
            # What such an entry did to the books is unknown, and so is all that follows.
            return
        index, content = entry.index, content_of(entry)
        try:
            check_form(index, content, entry_bytes, self.books.currencies)
            self.refs.add(ref_digest(entry.platform, entry.statement["ref"]))
            post_again(self.books, index, content)
        except Refusal as refusal:
            self.not_understood.append((index, str(refusal)))

    def _check_refs(self, last: int | None) -> None:
        """Look for a ref that stands twice, up to the entry `last` (None: anywhere)."""
        repeat = self.refs.first_repeat()
        if repeat is not None and (last is None or repeat[1] <= last):
            first, second = repeat
            raise LogMismatch(
                second,
                "rule `ref_conflict`",
                "a ref that its platform never used before",
                f"that of entry {first}",
                meaning=BROKEN_RULE,
            )
