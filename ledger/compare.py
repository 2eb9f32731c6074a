"""Whether several people are shown one log: checkpoints held against each other.

A log that shows different histories to different people has signed both. That is proved by
two of its checkpoints and the tiles of the larger one, and by nothing anybody says of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ledger.audit import Reader
from ledger.errors import (
    FormatError,
    LogMismatch,
    NotFound,
    ProofError,
    SetupError,
    SignatureError,
    SplitView,
    Unreachable,
)
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import EMPTY_ROOT, prove_consistency, root_at, verify_consistency
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TileHashes


class View(NamedTuple):
    """What somebody is shown. name: who, or where. reader: None for a checkpoint alone."""

    name: str
    note: bytes
    checkpoint: Checkpoint
    reader: Reader | None


def view_of(name: str, note: bytes, reader: Reader | None, policy: Policy) -> View:
    """A view whose checkpoint a log of `policy` signed. Raises FormatError, SignatureError.

    Nobody needs to have cosigned it: a log that shows two histories is proved a liar by its
    own key alone.
    """
    try:
        return View(name, note, policy.open(note).checkpoint, reader)
    except (FormatError, SignatureError) as error:
        raise type(error)(f"{name}: {error}") from error


def compare(views: Sequence[View]) -> list[View]:
    """Check that each view's log is a beginning of the next larger one's; them, by size.

    Raises SplitView when two are proved not to be, LogMismatch when tiles do not lead to their
    own checkpoint, Unreachable when nobody holds the tiles that would tell, SetupError for
    views of different logs.
    """
    ordered = sorted(views, key=lambda view: view.checkpoint.size)
    for view in ordered:
        if view.checkpoint.origin != ordered[0].checkpoint.origin:
            raise SetupError(
                f"these are two ledgers: {ordered[0].name} is {ordered[0].checkpoint.origin}, "
                f"{view.name} is {view.checkpoint.origin}"
            )
    # From the largest down: by then whoever lends tiles to a smaller one was found to extend it.
    for larger, smaller in pairwise(reversed(ordered)):
        _check_pair(smaller, larger, ordered)
    return ordered


def _check_pair(smaller: View, larger: View, all_: Sequence[View]) -> None:
    old, new = smaller.checkpoint, larger.checkpoint
    if old.size == new.size:
        root = new.root
    elif old.size == 0:
        root = EMPTY_ROOT
    else:
        root = _root_inside(old.size, larger, _holder(larger, all_))
    if root != old.root:
        raise SplitView((smaller.name, smaller.note), (larger.name, larger.note))


def _holder(larger: View, all_: Sequence[View]) -> View:
    """Whose tiles reach as far as `larger`: its own when it has any, else somebody else's."""
    size = larger.checkpoint.size
    for view in (larger, *all_):
        if view.reader is not None and view.checkpoint.size >= size:
            return view
    raise Unreachable(
        f"nothing here holds the tiles of the {size} entries that {larger.name} covers, so it "
        "cannot be held against the others; if a ledger among them stays behind it, the ledger "
        "is hiding entries"
    )


def _root_inside(size: int, larger: View, holder: View) -> bytes:
    """The root of the first `size` entries within the log that `larger` covers.

    The tiles are not believed: what they say must lead to the root that `larger` signed.
    """
    assert holder.reader is not None, "whoever holds tiles can be read"
    new = larger.checkpoint
    node = TileHashes(holder.reader.tile, holder.checkpoint.size).node
    try:
        root = root_at(size, node)
        proof = prove_consistency(size, new.size, node)
        verify_consistency(size, new.size, proof, root, new.root)
    except (NotFound, FormatError, ProofError) as error:
        what = f"tiles of {holder.name}, against the checkpoint of {larger.name}"
        raise LogMismatch(None, what, f"root {new.root.hex()}", str(error)) from error
    return root
