"""Proving and verifying, over a reader that a database, a URL or a directory can satisfy.

`audit` trusts nothing but the policy: it hashes every entry, follows the chain, builds the
tree and compares its tiles, holds the root against the signed checkpoint, folds the books
from nothing and checks every audited rule again. `verify_receipt` does it for one entry,
offline. docs/format.md lists the audited rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ledger.books import Books
from ledger.chain import Tip, verify
from ledger.entry import (
    SYSTEM_PLATFORM,
    Entry,
    decode_entry,
    entry_hash,
)
from ledger.errors import (
    FormatError,
    LogMismatch,
    NotFound,
    ProofError,
    Refusal,
)
from ledger.rules import (
    BROKEN_RULE,
    check_form,
    not_understood,
    post_again,
    read_entry,
)
from ledger.scratch import MovementFile, RefFile
from ledger.state import EmptyState
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_SIZE, Frontier, NodeReader, prove_inclusion
from ledger.tlog.policy import Policy
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.tile import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    tile_width,
)
from schemas.check import is_understood


class Reader(Protocol):
    """Where a log can be read from. Each raises NotFound for what is not there."""

    def checkpoint(self) -> bytes: ...
    def tile(self, tile: Tile) -> bytes: ...
    def bundle(self, index: int, width: int) -> bytes: ...


class Known(NamedTuple):
    """A tree head that the log must extend, from outside of what is audited.

    source: who holds it, for the message.
    """

    size: int
    root: bytes
    source: str


Progress = Callable[[int, int], None]  # (entries done, entries in all)


@dataclass
class Report:
    """What an audit found. It is sound only when nothing was beyond its understanding."""

    checkpoint: Checkpoint
    witnesses: list[str]
    not_understood: list[tuple[int, str]] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.not_understood


class Receipt(NamedTuple):
    """A receipt that verified: the entry, and the checkpoint of the log it is in."""

    entry: Entry
    entry_bytes: bytes
    checkpoint: Checkpoint
    witnesses: list[str]


# -- one entry


def prove_receipt(
    entry_bytes: bytes, index: int, note: bytes, size: int, node: NodeReader
) -> TlogProof:
    """The receipt of entry `index` under the signed checkpoint `note` of `size` entries.

    node: of the tree of that size. Raises ProofError when it does not cover the entry.
    """
    return TlogProof(entry_bytes, index, prove_inclusion(index, size, node), note)


def verify_receipt(data: bytes, policy: Policy) -> Receipt:
    """Check a .tlog-proof that carries its entry, offline, against what `policy` trusts.

    Which log it is of comes from the policy, never from the receipt. Raises FormatError,
    Refusal (`malformed`), SignatureError, PolicyError or ProofError.
    """
    proof = parse_proof(data)
    if proof.extra is None:
        raise FormatError("the receipt carries no entry: its `extra` line is missing")
    entry = decode_entry(proof.extra)
    if entry.index != proof.index:
        raise ProofError(f"the entry says index {entry.index}, the proof is of {proof.index}")
    checkpoint = proof.verify(entry_hash(proof.extra), policy)
    return Receipt(entry, proof.extra, checkpoint, sorted(policy.open(proof.checkpoint).witnesses))


# -- the whole log


def audit(
    reader: Reader, policy: Policy, known: Sequence[Known] = (), progress: Progress | None = None
) -> Report:
    """Verify a whole log from its first entry to its newest checkpoint.

    Raises LogMismatch at the first thing that is wrong; SignatureError, PolicyError or
    FormatError when the checkpoint cannot be trusted in the first place, NotFound when there
    is none.
    """
    note = reader.checkpoint()
    checkpoint = policy.check(note)
    for head in known:
        _check_not_shorter(head, checkpoint)
    log_keys = {str(key) for key in policy.logs if key.name == checkpoint.origin}
    with closing(MovementFile()) as movements, closing(RefFile()) as refs:
        run = _Audit(reader, checkpoint, log_keys, known, movements, refs)
        run.read_all(progress or (lambda done, size: None))
    return Report(checkpoint, sorted(policy.open(note).witnesses), run.not_understood)


class _Audit:
    """One pass over a log, entry by entry, in bounded memory."""

    def __init__(
        self,
        reader: Reader,
        checkpoint: Checkpoint,
        log_keys: set[str],
        known: Sequence[Known],
        movements: MovementFile,
        refs: RefFile,
    ) -> None:
        self.reader, self.checkpoint, self.log_keys = reader, checkpoint, log_keys
        self.known = sorted((head for head in known if head.size), reverse=True)
        self.tip = Tip(Frontier())
        self.tree = _Tree(reader, checkpoint.size)
        self.books = Books(EmptyState(), {}, movements)
        self.refs = refs
        self.not_understood: list[tuple[int, str]] = []

    def read_all(self, progress: Progress) -> None:
        try:
            self._read_entries(progress)
        except LogMismatch as mismatch:
            # Refs are only compared in the end, but a repeat may be what was wrong first.
            self._check_refs(mismatch.index)
            raise
        self._check_refs(None)

    def _read_entries(self, progress: Progress) -> None:
        size = self.checkpoint.size
        if size == 0:
            raise LogMismatch(0, "first entry", "the ledger's genesis", "a log without entries")
        for start in range(0, size, TILE_WIDTH):
            for entry_bytes in self._bundle(start // TILE_WIDTH):
                self._take(entry_bytes)
            progress(self.tip.size, size)
        self.tree.check_partial()
        if self.tip.root != self.checkpoint.root:
            raise LogMismatch(
                None, "root of all entries", self.checkpoint.root.hex(), self.tip.root.hex()
            )

    def _bundle(self, index: int) -> list[bytes]:
        """The entries of a bundle, each held against its hash in the level 0 tile."""
        start = index * TILE_WIDTH
        width = tile_width(0, index, self.checkpoint.size)
        data, held, reason = self._read_bundle(index, width)
        # Only as wide as the entries go: so a log that was cut is found to end between two.
        hashes = self.tree.leaves(index, held) if held else b""
        entries, end = _whole_entries(data, width)
        first = _first_difference(entries[:held], hashes)
        if first < min(held, len(entries)):
            expected = hashes[first * HASH_SIZE : (first + 1) * HASH_SIZE].hex()
            found = entry_hash(entries[first]).hex()
            raise LogMismatch(start + first, "leaf hash of the entry", expected, found)
        if first < width:
            raise LogMismatch(start + first, "entry", "one in its place", reason)
        if end < len(data):
            expected, found = f"{end} bytes for {width} entries", f"{len(data)} bytes"
            raise LogMismatch(start + width, "end of the entry bundle", expected, found)
        return entries

    def _read_bundle(self, index: int, width: int) -> tuple[bytes, int, str]:
        """A bundle, how many entries of it the reader has, and why not all."""
        try:
            return self.reader.bundle(index, width), width, "a bundle that ends before or in it"
        except (NotFound, FormatError) as error:
            held = self._widest_bundle(index, width)
            return self.reader.bundle(index, held) if held else b"", held, str(error)

    def _widest_bundle(self, index: int, width: int) -> int:
        """How many entries of the bundle the reader still has from its start."""
        low, high = 0, width - 1
        while low < high:
            middle = (low + high + 1) // 2
            try:
                self.reader.bundle(index, middle)
                low = middle
            except (NotFound, FormatError):
                high = middle - 1
        return low

    def _take(self, entry_bytes: bytes) -> None:
        index = self.tip.size
        entry = read_entry(index, entry_bytes)
        self.tree.extend(verify(self.tip, entry, entry_bytes))
        while self.known and self.known[-1].size == self.tip.size:
            self._check_known(self.known.pop())
        if index == 0:
            self._check_genesis(entry)
        self._check_rules(entry)

    def _check_known(self, head: Known) -> None:
        if head.root != self.tip.root:
            raise LogMismatch(
                head.size - 1,
                f"root at size {head.size}, against {head.source}",
                head.root.hex(),
                self.tip.root.hex(),
                meaning="two ledgers were mixed up; or this log was rewritten, and what is "
                "served here is not what was handed out before",
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

    def _check_rules(self, entry: Entry) -> None:
        """Schema, spelling, references, rights, books: what admission asked, asked again."""
        if (what := not_understood(entry)) is not None:
            self.not_understood.append((entry.index, what))
        if self.not_understood:
            # What such an entry did to the books is unknown, and so is all that follows.
            return
        try:
            check_form(entry, self.books.currencies)
            self.refs.add(entry.platform, entry.statement["ref"], entry.index)
            post_again(self.books, entry)
        except Refusal as refusal:
            self.not_understood.append((entry.index, str(refusal)))

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


class _Tree:
    """The tree as it grows, compared tile by tile with the tiles the reader holds."""

    def __init__(self, reader: Reader, size: int) -> None:
        self.reader, self.size = reader, size
        self.rows: list[list[bytes]] = []  # by level: hashes of the tile in progress
        self.done: list[int] = []  # by level: full tiles behind

    def leaves(self, index: int, width: int) -> bytes:
        return self._tile(Tile(0, index, width))

    def extend(self, completed: Sequence[bytes]) -> None:
        """completed: hashes of the subtrees a new leaf completed, by height."""
        for level, hash_ in enumerate(completed[::TILE_HEIGHT]):
            if level == len(self.rows):
                self.rows.append([])
                self.done.append(0)
            self.rows[level].append(hash_)
            # Level 0 was compared hash by hash already, by whoever asked for the leaves.
            if len(self.rows[level]) == TILE_WIDTH:
                if level > 0:
                    self._compare(level)
                self.rows[level] = []
                self.done[level] += 1

    def check_partial(self) -> None:
        """Compare the tiles that are still open at the end of the log."""
        for level in range(1, len(self.rows)):
            if self.rows[level]:
                self._compare(level)

    def _compare(self, level: int) -> None:
        hashes, tile_index = self.rows[level], self.done[level]
        tile = Tile(level, tile_index, len(hashes))
        data = self._tile(tile)
        for i, hash_ in enumerate(hashes):
            found = data[i * HASH_SIZE : (i + 1) * HASH_SIZE]
            if found != hash_:
                first = (tile_index * TILE_WIDTH + i) << (TILE_HEIGHT * level)
                raise LogMismatch(first, f"hash {i} of {tile.path()}", hash_.hex(), found.hex())

    def _tile(self, tile: Tile) -> bytes:
        first = (tile.index * TILE_WIDTH) << (TILE_HEIGHT * tile.level)
        try:
            data = self.reader.tile(tile)
        except NotFound as error:
            raise LogMismatch(first, tile.path(), "a tile", str(error)) from error
        if len(data) != tile.width * HASH_SIZE:
            expected = f"{tile.width * HASH_SIZE} bytes"
            raise LogMismatch(first, tile.path(), expected, f"{len(data)} bytes")
        return data


def _check_not_shorter(head: Known, checkpoint: Checkpoint) -> None:
    if head.size > checkpoint.size:
        raise LogMismatch(
            checkpoint.size,
            f"size, against {head.source}",
            f"at least {head.size}",
            str(checkpoint.size),
            meaning="a cache or a mirror that lags behind answered, or an old backup was "
            "restored; or the newest entries were removed",
            advice="ask again in a minute; if it stays, keep the larger checkpoint and publish "
            "both: they prove what was removed",
        )


def _first_difference(entries: Sequence[bytes], hashes: bytes) -> int:
    """The first position whose entry does not have its hash; the number of entries if none."""
    for i, entry_bytes in enumerate(entries):
        if entry_hash(entry_bytes) != hashes[i * HASH_SIZE : (i + 1) * HASH_SIZE]:
            return i
    return len(entries)


def _whole_entries(data: bytes, width: int) -> tuple[list[bytes], int]:
    """The first `width` entries of a bundle, as many as are whole, and where the last one ends."""
    entries: list[bytes] = []
    start = 0
    while len(entries) < width and start + 2 <= len(data):
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if end > len(data):
            break
        entries.append(data[start + 2 : end])
        start = end
    return entries, start
