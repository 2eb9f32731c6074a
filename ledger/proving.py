"""What a platform does with a ledger: post, and believe nothing of the answer that is not proved.

After a post: the checkpoint is signed by the ledger's key and of one history with those before
it, and the very statement that was posted stands in it, at the index and with the leaf hash of
the answer. docs/client.md is the guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.batches import BATCH, Post, batches
from ledger.chain import SealedEntry
from ledger.client import HttpLedger
from ledger.entry import Entry, canonical, decode_entry, entry_hash
from ledger.errors import FormatError, LogMismatch, NotFound, ProofError, Refusal
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import prove_inclusion, verify_inclusion
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.tile import TILE_WIDTH, TileHashes, decode_bundle, tile_width
from ledger.trust import Trust

# Up to so many entries are asked for one by one; more of them by the files of the log, which
# hold 256 each.
FEW = 4


@dataclass(frozen=True)
class Proved:
    """An entry that is proved to be on the ledger.

    leaf_hash: 64 hex digits. entry: as sealed; its `statement` is the platform's own. receipt:
    the .tlog-proof, for the donor. replayed: it stood there before it was asked for.
    """

    index: int
    leaf_hash: str
    entry: Entry
    receipt: bytes
    replayed: bool = True


@dataclass(frozen=True)
class Reconciliation:
    """booked: the index of each ref that is on the ledger, proved. missing: the refs that the
    ledger does not know, in the order given."""

    booked: dict[str, int]
    missing: list[str]


class Client:
    """A ledger at `url` for `platform`, which posts with `api_key`. Threads may share one.

    vkey: the ledger's key, from whoever you trust. Without it the key that the ledger names the
    first time is taken on trust, and `memory` must be given. memory: a directory that remembers
    the newest checkpoint between runs, so that a ledger that loses or rewrites what it
    acknowledged is found out; without it that lasts as long as this object.

    What every call may raise beside what it says: LogMismatch when the ledger is proved wrong
    (its message says what was compared, both values, what it can mean, and what to do);
    Unreachable when it does not answer, or not as a ledger does; SetupError for the memory.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        platform: str,
        *,
        vkey: str = "",
        memory: str | Path | None = None,
    ) -> None:
        self._remote = HttpLedger(url, api_key, platform)
        self._trust = Trust(self._remote, vkey, None if memory is None else Path(memory))
        self.platform = platform

    # -- posting

    def post(
        self,
        statement: dict[str, Any],
        *,
        signatures: Sequence[Any] = (),
        disclosures: Sequence[Any] = (),
    ) -> Proved:
        """Post one statement, and prove that it is sealed.

        Safe to repeat, whatever happened: the same statement with the same `ref` gets its first
        entry. Raises Refusal when a rule forbids it (nothing was sealed; `code` says why; of
        the kind RefConflict when the ref names another statement), NotAuthenticated, TooLarge.
        After Unreachable, or a crash, it may be sealed or not: post the same again.
        """
        post: dict[str, Any] = {"statement": statement}
        if signatures:
            post["signatures"] = list(signatures)
        if disclosures:
            post["disclosures"] = list(disclosures)
        return self._post([post], is_batch=False)[0]

    def post_batch(self, posts: Sequence[Post]) -> list[Proved]:
        """Post a batch, which is sealed whole or not at all, and prove each entry.

        posts: as the API takes them, `{"statement": {...}}` with `signatures` and `disclosures`
        if there are any; at most 1,000 in 4 MiB, else TooLarge and nothing was sent. Raises as
        `post`.
        """
        return self._post(posts, is_batch=True)

    def post_in_batches(self, posts: Iterable[Post]) -> Iterator[list[Proved]]:
        """Post any number of posts, and answer batch by batch what was proved of each.

        Each batch is sealed whole or not at all; together they are not. When one is refused,
        those before it stay sealed and those after it are not sent; repeating it all is safe.
        """
        for batch in batches(posts):
            yield self._post(batch, is_batch=True)

    # -- looking

    def receipt(self, index: int) -> Proved:
        """The entry at `index` with its receipt, whoever posted it. Raises NotFound."""
        data = self._remote.receipt(index)
        with _as_mismatch(index, "receipt of the entry", "one that can be read"):
            proof = parse_proof(data)
        return _proved(index, proof, self._trust.accept(proof.checkpoint))

    def entry_of(self, ref: str) -> Proved | None:
        """The entry of a statement that this platform posted with `ref`, if there is one.

        None is the ledger's word alone: that something is not there cannot be proved so.
        """
        index = self._remote.index_of_ref(ref)
        if index is None:
            return None
        proved = self.receipt(index)
        self._check_ref(proved, ref)
        return proved

    def reconcile(self, refs: Iterable[str]) -> Reconciliation:
        """Which of these refs of this platform are on the ledger, and which are not.

        One request for each ref, and a few for the proofs: meant for a day's payments, to find
        those that never reached the ledger.
        """
        indexes = {ref: self._remote.index_of_ref(ref) for ref in refs}
        booked = {ref: index for ref, index in indexes.items() if index is not None}
        self._check_refs(booked)
        return Reconciliation(booked, [ref for ref, index in indexes.items() if index is None])

    def ledger(self) -> dict[str, Any]:
        """What the ledger says of itself: origin, keys, size, limits. Nothing of it is proved."""
        return self._remote.ledger()

    # -- proving

    def _post(self, posts: Sequence[Post], is_batch: bool) -> list[Proved]:
        before = self._trust.size()
        answer = self._remote.post_all(posts, is_batch)
        checkpoint = self._trust.accept(answer.checkpoint, at_least=before)
        proofs = self._proofs([e.index for e in answer.entries], answer.checkpoint, checkpoint)
        return [
            self._posted(post["statement"], sealed, proofs[sealed.index], checkpoint)
            for post, sealed in zip(posts, answer.entries, strict=True)
        ]

    def _posted(
        self, statement: Any, sealed: SealedEntry, proof: TlogProof, checkpoint: Checkpoint
    ) -> Proved:
        """The entry of a statement that was posted, if it is what the answer said."""
        proved = _proved(sealed.index, proof, checkpoint, sealed.replayed)
        index, entry = sealed.index, proved.entry
        _compare(index, "leaf hash of the entry", sealed.leaf_hash.hex(), proved.leaf_hash)
        _compare(index, "platform of the entry", self.platform, entry.platform)
        # As it went over the wire, where a tuple is an array like any other.
        posted = canonical(json.loads(json.dumps(statement))).decode()
        _compare(index, "statement of the entry", posted, canonical(entry.statement).decode())
        return proved

    def _proofs(
        self, indexes: Iterable[int], note: bytes, checkpoint: Checkpoint
    ) -> dict[int, TlogProof]:
        """Proofs of these entries under one checkpoint. Nothing of them is verified yet."""
        wanted = sorted(set(indexes))
        if wanted and wanted[-1] >= checkpoint.size:
            expected = f"more than {wanted[-1]} entries"
            _compare(wanted[-1], "size of the checkpoint", expected, str(checkpoint.size))
        proofs = {}
        nodes = TileHashes(self._remote.tile, checkpoint.size)
        bundles: dict[int, list[bytes]] = {}
        for index in wanted:
            with _as_mismatch(index, "entry and its proof", "what the ledger said it sealed"):
                if len(wanted) <= FEW:
                    entry = self._remote.entry_bytes(index)
                    hashes = self._remote.inclusion_proof(index, checkpoint.size)
                else:
                    number, position = divmod(index, TILE_WIDTH)
                    if number not in bundles:
                        bundles = {number: self._bundle(number, checkpoint.size)}
                    entry = bundles[number][position]
                    hashes = prove_inclusion(index, checkpoint.size, nodes.node)
            proofs[index] = TlogProof(entry, index, hashes, note)
        return proofs

    def _bundle(self, number: int, size: int) -> list[bytes]:
        width = tile_width(0, number, size)
        return decode_bundle(self._remote.bundle(number, width), width)

    def _check_refs(self, booked: Mapping[str, int]) -> None:
        """Prove that each ref stands at its index."""
        if not booked:
            return
        note = self._remote.checkpoint()
        checkpoint = self._trust.accept(note)
        in_order = sorted(booked.items(), key=lambda item: item[1])
        for start in range(0, len(in_order), BATCH):
            some = in_order[start : start + BATCH]
            # What is newer than the checkpoint that is published has a receipt all the same.
            covered = [index for _, index in some if index < checkpoint.size]
            proofs = self._proofs(covered, note, checkpoint)
            for ref, index in some:
                proof = proofs.get(index)
                proved = _proved(index, proof, checkpoint) if proof else self.receipt(index)
                self._check_ref(proved, ref)

    def _check_ref(self, proved: Proved, ref: str) -> None:
        entry = proved.entry
        found = f"{entry.statement.get('ref')} of {entry.platform}"
        _compare(proved.index, "ref of the entry", f"{ref} of {self.platform}", found)


_MEANING = (
    "this client was given the API key or the name of another platform, a proxy or cache mixed up "
    "answers, or there is an error in the ledger; or it says that it sealed what it did not seal"
)
_ADVICE = (
    "do not count this as booked. Ask again, and compare with what others are shown; if it stays, "
    "keep this report and the ledger's answers, and ask its operator to explain"
)


def _proved(index: int, proof: TlogProof, checkpoint: Checkpoint, replayed: bool = True) -> Proved:
    """The entry at `index`, which `proof` must show. checkpoint: the proof's, accepted before, so
    that its signature is not verified again for each entry of a batch."""
    with _as_mismatch(index, "entry and its proof", f"an entry under root {checkpoint.root.hex()}"):
        if proof.extra is None:
            raise FormatError("the receipt carries no entry")
        entry, leaf_hash = decode_entry(proof.extra), entry_hash(proof.extra)
        verify_inclusion(leaf_hash, index, checkpoint.size, proof.hashes, checkpoint.root)
    _compare(index, "index of the entry", str(index), str(entry.index))
    _compare(index, "index of its receipt", str(index), str(proof.index))
    return Proved(index, leaf_hash.hex(), entry, proof.format(), replayed)


def _compare(index: int, what: str, expected: str, found: str) -> None:
    """Raise LogMismatch unless both are the same."""
    if expected != found:
        raise LogMismatch(index, what, expected, found, _MEANING, _ADVICE)


@contextmanager
def _as_mismatch(index: int, what: str, expected: str) -> Iterator[None]:
    """What does not prove an entry that must be there is a LogMismatch."""
    try:
        yield
    except (FormatError, NotFound, ProofError, Refusal) as error:
        raise LogMismatch(index, what, expected, str(error), _MEANING, _ADVICE) from error
