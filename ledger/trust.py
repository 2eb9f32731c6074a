"""What a client of a ledger believes of its checkpoints: those of one key, and of one history.

Every checkpoint that comes back must be signed by the key, and be of the same history as the
newest one before it. So a ledger that is rolled back or rewritten is found out by whoever posts
to it, at the next post. Nothing here reads the entries: that is what an audit is for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock

from ledger.audit import Known
from ledger.client import HttpLedger
from ledger.errors import (
    FormatError,
    LogMismatch,
    NotFound,
    ProofError,
    SetupError,
    SignatureError,
    Unreachable,
)
from ledger.remember import Memory
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import verify_consistency
from ledger.tlog.note import VerifierKey, parse_note
from ledger.tlog.policy import Policy

_LOG = logging.getLogger("amanah")


class Trust:
    """What is known of the ledger `remote`, by any number of threads.

    vkey: the ledger's key; empty for trust on first use, which needs a memory. memory: the
    directory that remembers between runs; None for as long as the process lives. Processes may
    share one: the worst that a race makes of it is an older checkpoint, which still holds.
    Raises FormatError for a vkey that is none, and SetupError.
    """

    def __init__(self, remote: HttpLedger, vkey: str = "", memory: Path | None = None) -> None:
        if not vkey and memory is None:
            raise SetupError(
                "give `vkey`, the ledger's key, from whoever you trust; or `memory`, a directory "
                "in which the key that the ledger names the first time is remembered"
            )
        self._remote = remote
        self._policy = Policy.for_key(VerifierKey.parse(vkey)) if vkey else None
        self._memory = None if memory is None else Memory(memory)
        self._newest: Known | None = None  # of this process
        self._lock = Lock()

    @property
    def policy(self) -> Policy:
        """The key or keys that are trusted. Raises as reading does, when it is asked for."""
        with self._lock:
            return self._trusted()

    def size(self) -> int:
        """How many entries the newest checkpoint covers; 0 before the first."""
        with self._lock:
            known = self._newest or self._known()
            return known.size if known else 0

    def accept(self, note: bytes, at_least: int = 0) -> Checkpoint:
        """Believe a checkpoint, and remember it when it is the newest.

        at_least: the size it must have, from before it was asked for. Raises LogMismatch for
        what is proved wrong, Unreachable for what is no answer.
        """
        # Under the lock as a whole: of two that come at once, one must be held against the other.
        with self._lock:
            checkpoint = self._opened(note)
            known = self._known()
            if checkpoint.size < at_least:
                raise _shorter(at_least, "what was seen before this request", checkpoint.size)
            if known is not None:
                self._check_one_history(known, checkpoint)
            if known is None or checkpoint.size > known.size:
                self._remember(checkpoint, note)
            return checkpoint

    def _trusted(self) -> Policy:
        if self._policy is None:
            assert self._memory is not None, "without a key there is a memory"
            named = self._named_key()
            remembered = self._memory.keys_of(named.name)
            if not remembered:
                _LOG.warning("the key that %s names is taken on trust: %s", self._remote.url, named)
            self._policy = Policy(logs=tuple(remembered) or (named,))
        return self._policy

    def _named_key(self) -> VerifierKey:
        try:
            return VerifierKey.parse(self._remote.ledger()["vkeys"][0])
        except (FormatError, NotFound) as error:
            raise Unreachable(f"{self._remote.url} names no key of a ledger: {error}") from error

    def _opened(self, note: bytes) -> Checkpoint:
        policy = self._trusted()
        try:
            return policy.open(note).checkpoint
        except FormatError as error:
            raise Unreachable(f"{self._remote.url} answered no checkpoint: {error}") from error
        except SignatureError as error:
            raise LogMismatch(
                None,
                f"signature of the checkpoint that {self._remote.url} answered",
                f"one by {' or '.join(map(str, policy.logs))}",
                str(error),
                meaning="the key given to this client is not this ledger's, or the ledger has "
                "another one now; or somebody answers in its place, or altered what it signed",
                advice="ask whoever you trust for the ledger's key again, by another way; if it "
                "is the right one, keep this answer, and believe nothing that comes from there",
            ) from error

    def _known(self) -> Known | None:
        if self._memory is None:
            return self._newest
        keys = self._trusted().logs
        heads = [head for key in keys if (head := self._memory.recall(key)) is not None]
        return max(heads, key=lambda head: head.size, default=None)

    def _remember(self, checkpoint: Checkpoint, note: bytes) -> None:
        source = "the checkpoint of an earlier answer"
        self._newest = Known(checkpoint.size, checkpoint.root, source)
        if self._memory is not None:
            for key in parse_note(note).verified_by(self._trusted().logs):
                self._memory.save(key, note)

    def _check_one_history(self, known: Known, checkpoint: Checkpoint) -> None:
        here = Known(checkpoint.size, checkpoint.root, "the checkpoint of this answer")
        old, new = sorted((known, here), key=lambda head: head.size)
        if old.size == 0:
            return  # everything extends the empty log
        try:
            proof = [] if old.size == new.size else self._consistency(old, new)
            verify_consistency(old.size, new.size, proof, old.root, new.root)
        except ProofError as error:
            raise LogMismatch(
                None,
                f"{new.source}, of size {new.size}, against {old.source}, of size {old.size}",
                f"one history, which has root {old.root.hex()} at size {old.size}",
                str(error),
                meaning="the answer was damaged on its way; or an old backup was restored and the "
                "ledger went on from there, or its history was rewritten and signed again",
                advice="keep both checkpoints and compare them with what others are shown "
                "(`amanah compare`); when they do not fit, publish them: they prove it",
            ) from error

    def _consistency(self, old: Known, new: Known) -> list[bytes]:
        try:
            return self._remote.consistency_proof(old.size, new.size)
        except NotFound as error:
            raise _shorter(new.size, new.source, str(error)) from error


def _shorter(expected: int, source: str, found: object) -> LogMismatch:
    return LogMismatch(
        None,
        f"size of the log, against {source}",
        f"at least {expected}",
        str(found),
        meaning="a cache or a replica that lags behind answered, or an old backup was restored; "
        "or the newest entries were removed",
        advice="ask again in a minute; if it stays, keep the larger checkpoint: it proves what "
        "was removed",
    )
