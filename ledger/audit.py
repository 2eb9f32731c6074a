"""Proving and verifying, over a reader that a database, a URL or a directory can satisfy.

`audit` trusts nothing but the policy: it hashes every entry, follows the chain, builds the
tree and compares its tiles, holds the root against the signed checkpoint, folds the books
from nothing and checks every audited rule again. `verify_receipt` does it for one entry,
offline. docs/format.md lists the audited rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.entry import Entry, decode_entry, entry_hash
from ledger.errors import FormatError, LogMismatch, ProofError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import NodeReader, prove_inclusion
from ledger.tlog.policy import Policy
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.walk.ahead import HERE, Ways
from ledger.walk.bundle import Reader
from ledger.walk.resume import Scratch
from ledger.walk.whole import Known, Progress, Walk

__all__ = ["Known", "Progress", "Reader", "Receipt", "Report", "Scratch", "Ways", "audit"]
__all__ += ["prove_receipt", "verify_receipt"]


@dataclass
class Report:
    """What an audit found. It is sound only when nothing was beyond its understanding.

    read_from: where it went on, when an earlier one that was interrupted had read the entries
    before.
    """

    checkpoint: Checkpoint
    witnesses: list[str]
    not_understood: list[tuple[int, str]] = field(default_factory=list)
    read_from: int = 0

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
    reader: Reader,
    policy: Policy,
    known: Sequence[Known] = (),
    progress: Progress | None = None,
    ways: Ways = HERE,
    scratch: Scratch | None = None,
) -> Report:
    """Verify a whole log from its first entry to its newest checkpoint.

    ways: in how many processes; the outcome is the same. scratch: where the walk is kept, so
    that a later one can go on when it is interrupted; then entries before are not read again.
    Raises LogMismatch at the first thing that is wrong; SignatureError, PolicyError or
    FormatError when the checkpoint cannot be trusted in the first place, NotFound when there
    is none.
    """
    note = reader.checkpoint()
    checkpoint = policy.check(note)
    log_keys = {str(key) for key in policy.logs if key.name == checkpoint.origin}
    with closing(scratch or Scratch()) as kept:
        seen = [Known(*head, "the checkpoint of an interrupted audit") for head in kept.heads]
        heads = [*known, *seen]
        for head in heads:
            _check_not_shorter(head, checkpoint)
        walk = Walk(reader, checkpoint, log_keys, heads, ways, kept)
        walk.read_all(progress or (lambda done, size: None))
        kept.finish()
        read_from = kept.saved.size if kept.saved else 0
    witnesses = sorted(policy.open(note).witnesses)
    return Report(checkpoint, witnesses, walk.not_understood, read_from)


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
