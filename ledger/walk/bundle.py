"""A bundle by itself: reading it, and all that can be checked without what stands before it.

Leaf hashes against the tile, form, schema, links, times and refs need no order, so an auditor
asks for them here, for many bundles at once if he likes, and only the books are left to be
added up one entry after the other (ledger/walk/whole.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ledger.chain import check_link
from ledger.entry import decode_sealed, entry_hash
from ledger.errors import FormatError, LogMismatch, NotFound, Refusal
from ledger.rules import Content, check_spelling
from ledger.scratch import ref_digest
from ledger.tlog.merkle import HASH_SIZE, node_hash
from ledger.tlog.tile import TILE_WIDTH, Tile, decode_bundle, expand_tile
from schemas.check import is_understood


class Reader(Protocol):
    """Where a log can be read from. Each raises NotFound for what is not there."""

    def checkpoint(self) -> bytes: ...
    def tile(self, tile: Tile) -> bytes: ...
    def bundle(self, index: int, width: int) -> bytes: ...


class Place(NamedTuple):
    """Where an entry says it stands: a `chain.Link`."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a place
    prev: str
    recorded_at: str


class Checked(NamedTuple):
    """A full bundle in which nothing is wrong by itself.

    first: where its first entry says it stands, which is still to be held against what stands
    before. recorded_at: of the last entry. leaves: the hashes of all. refs: their digests.
    contents: what the books ask of each.
    """

    first: Place
    recorded_at: str
    leaves: bytes
    refs: bytes
    contents: Sequence[Content]

    @property
    def root(self) -> bytes:
        """Of the subtree over the bundle."""
        index = self.first.index // TILE_WIDTH
        pair = expand_tile(Tile(0, index, TILE_WIDTH), self.leaves)[-1]
        return node_hash(pair[:HASH_SIZE], pair[HASH_SIZE:])


def read_bundle(reader: Reader, index: int) -> tuple[bytes, bytes]:
    """The full bundle `index`, and the tile with its leaf hashes."""
    return reader.bundle(index, TILE_WIDTH), reader.tile(Tile(0, index, TILE_WIDTH))


def check_bundle(
    read: Callable[[], tuple[bytes, bytes]], index: int, currencies: Mapping[str, int]
) -> Checked | None:
    """Check the full bundle `index` by itself; None when anything in it is not as it should be.

    What, and at which entry first, is then for the walk to say, which looks again. read: gets
    it, as `read_bundle`. Raises Unreachable or Unavailable as that does.
    """
    try:
        data, hashes = read()
        entries = decode_bundle(data, TILE_WIDTH)
        return _check(entries, hashes, index * TILE_WIDTH, currencies)
    except (FormatError, LogMismatch, NotFound, Refusal):
        return None


def _check(
    entries: list[bytes], hashes: bytes, start: int, currencies: Mapping[str, int]
) -> Checked | None:
    leaves = [entry_hash(data) for data in entries]
    if b"".join(leaves) != hashes:
        return None
    contents: list[Content] = []
    refs = []
    first, prev, recorded_at = None, "", ""
    for index, data in enumerate(entries, start):
        entry = decode_sealed(data)
        if entry is None or not is_understood(entry.statement):
            return None
        if first is None:
            first, prev = Place(entry.index, entry.prev, entry.recorded_at), entry.prev
        check_link(entry, index, prev, recorded_at)
        check_spelling(entry.statement, entry.signed, data, currencies)
        refs.append(ref_digest(entry.platform, entry.statement["ref"]))
        contents.append(Content(entry.platform, entry.statement, entry.sums, entry.signed))
        prev, recorded_at = leaves[index - start].hex(), entry.recorded_at
    assert first is not None, "a bundle holds entries"
    return Checked(first, recorded_at, hashes, b"".join(refs), contents)
