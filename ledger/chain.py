"""The chain: each entry names the leaf hash of the one before, and the tree grows with it.

One hash serves both: a person follows `prev` by hand, a machine proves from the tree. Pure:
a writer links new entries to its tip, a reader verifies that stored ones do so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.entry import NO_PREV, encode_entry, entry_hash
from ledger.errors import LogMismatch
from ledger.tlog.merkle import Frontier


class Tip:
    """Where a log of `size` entries ends; a tip of size n expects index n.

    prev: hex leaf hash of the newest entry (64 zeros when empty). recorded_at: its time
    ("" when empty). frontier: the compact range that yields the root.
    """

    def __init__(self, frontier: Frontier, prev: str = NO_PREV, recorded_at: str = "") -> None:
        self.frontier, self.prev, self.recorded_at = frontier, prev, recorded_at
        self._root: bytes | None = None

    @property
    def size(self) -> int:
        return self.frontier.size

    @property
    def root(self) -> bytes:
        if self._root is None:
            self._root = self.frontier.root()
        return self._root

    def extend(self, entry_bytes: bytes, recorded_at: str) -> list[bytes]:
        """Move past `entry_bytes`; the hashes of the subtrees it completed, by height."""
        leaf = entry_hash(entry_bytes)
        self.prev, self.recorded_at, self._root = leaf.hex(), recorded_at, None
        return self.frontier.append(leaf)

    def extend_subtree(
        self, root: bytes, height: int, last: bytes, recorded_at: str
    ) -> list[bytes]:
        """Move past 2^height entries at once, whose last leaf hash is `last`; as `extend`."""
        self.prev, self.recorded_at, self._root = last.hex(), recorded_at, None
        return self.frontier.append(root, height)


@dataclass(slots=True)  # frozen would triple what making one costs
class Linked:
    """An entry ready to store. completed: hashes of the subtrees that end with it, by height."""

    index: int
    entry_bytes: bytes
    completed: Sequence[bytes]

    @property
    def leaf_hash(self) -> bytes:
        return self.completed[0]


@dataclass(slots=True)
class SealedEntry:
    """Where a posted statement stands. replayed: it stood there before this post."""

    index: int
    leaf_hash: bytes
    replayed: bool


def link(
    tip: Tip,
    platform: str,
    statement: bytes,
    recorded_at: str,
    totals: list[dict[str, Any]],
    goods: Sequence[dict[str, Any]] = (),
    signatures: Sequence[Mapping[str, str]] = (),
) -> Linked:
    """Seal a canonical statement onto `tip`, which moves on."""
    index = tip.size
    content = (statement, totals, goods, signatures)
    data = encode_entry(index, platform, tip.prev, recorded_at, *content)
    return Linked(index, data, tip.extend(data, recorded_at))


class Link(Protocol):
    """Where an entry says it stands: its own index, the hash and time it follows."""

    @property
    def index(self) -> int: ...
    @property
    def prev(self) -> str: ...
    @property
    def recorded_at(self) -> str: ...


def check_link(entry: Link, index: int, prev: str, recorded_at: str) -> None:
    """Check that `entry` stands at `index` behind what hashes to `prev` and was recorded then.

    Raises LogMismatch.
    """
    if entry.index != index:
        raise LogMismatch(index, "the entry's index", str(index), str(entry.index))
    if entry.prev != prev:
        raise LogMismatch(index, "prev, the leaf hash of the entry before", prev, entry.prev)
    if entry.recorded_at < recorded_at:
        raise LogMismatch(
            index, "recorded_at, never decreasing", f">= {recorded_at}", entry.recorded_at
        )


def verify(tip: Tip, entry: Link, entry_bytes: bytes) -> Sequence[bytes]:
    """Check that `entry`, decoded from `entry_bytes`, follows `tip`, which moves on.

    Returns the hashes of the subtrees it completed. Raises LogMismatch.
    """
    check_link(entry, tip.size, tip.prev, tip.recorded_at)
    return tip.extend(entry_bytes, entry.recorded_at)
