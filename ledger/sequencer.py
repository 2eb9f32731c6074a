"""The only writer: assigns indexes, seals, signs, and answers when it is on disk.

Requests that wait while one transaction runs ride on the next one together (group commit):
whoever gets the lock first commits for everybody queued. Only references, books and sealing
happen inside; what the door could do it has done (post.py).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ledger.books import Books
from ledger.books.layer import Posted
from ledger.chain import Linked, SealedEntry, Tip, link
from ledger.entry import canonical, decode_entry, entry_hash
from ledger.errors import (
    BesideStatement,
    ClockError,
    Fault,
    FormatError,
    LedgerError,
    RefConflict,
    Refusal,
    RolledBack,
    Unavailable,
)
from ledger.goods import divided
from ledger.post import Post, Submission
from ledger.store.files import HighWater
from ledger.store.sqlite import SqliteStore
from ledger.store.transaction import Head, NewEntry, Transaction
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import root_at
from ledger.tlog.note import SigningKey, sign_note
from ledger.tlog.tile import TileHashes

INDEX_EVERY = 1_024  # entries
CLOCK_BEHIND_MAX_S = 5.0
CLOCK_JUMP_MAX_S = 60.0
# Counts while the machine sleeps, so waking up is no jump. Not everywhere there.
_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Sealed(NamedTuple):
    """A submission that is on disk, and the signed checkpoint that covers it."""

    entries: list[SealedEntry]
    checkpoint: bytes

    @property
    def all_replayed(self) -> bool:
        return all(entry.replayed for entry in self.entries)


# Where a post already stands, or the totals or goods it is to be sealed with.
Place = SealedEntry | list[dict[str, Any]]


class Pending:
    """A submission of `platform` on its way, and in the end what became of it."""

    def __init__(self, platform: str, submission: Submission) -> None:
        self.platform = platform
        self.submission = submission
        self.sealed: Sealed | None = None
        self.error: LedgerError | None = None
        self.is_done = False

    def result(self) -> Sealed:
        """Where it was sealed, once it is done. Raises what kept it from being sealed."""
        if self.error is not None:
            raise self.error
        assert self.sealed is not None, "a submission is sealed or refused"
        return self.sealed


class _Group:
    """What one transaction is about to write: the books so far and the entries to be sealed."""

    def __init__(self, tx: Transaction, tip: Tip) -> None:
        self.tx, self.tip = tx, tip
        self.books = Books(tx, tx.currencies)
        # (platform, ref) -> the entry, of refs that stand in the log and of those sealed here
        self.before: dict[tuple[str, str], int] = {}
        self.refs: dict[tuple[str, str], Linked] = {}
        self.sealed: list[NewEntry] = []

    def look_up_refs(self, pending: Iterable[Pending]) -> None:
        """Ask once for all refs, since each question costs more than its answer."""
        refs: dict[str, list[str]] = {}
        for one in pending:
            refs.setdefault(one.platform, []).extend(one.submission.refs())
        for platform, theirs in refs.items():
            found = self.tx.indexes_of_refs(platform, theirs)
            self.before.update(((platform, ref), index) for ref, index in found.items())


class Sequencer:
    """Appends to one ledger. Any number of threads and processes may each have one."""

    def __init__(
        self,
        store: SqliteStore,
        signer: SigningKey,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: time.clock_gettime(_STEADY_CLOCK),
    ) -> None:
        self._store, self._signer = store, signer
        self._clock, self._steady = clock, steady
        self._offset = clock() - steady()
        self._high_water = HighWater(store.paths.high_water)
        self._queue: deque[Pending] = deque()
        self._commit_lock = threading.Lock()

    def append(self, pending: Pending) -> Sealed:
        """Seal one submission, with all that wait beside it; returns when it is on disk.

        Raises Refusal (nothing was appended), or ClockError, RolledBack or Unavailable, after
        which the same submission may be sent again: what was sealed after all is replayed.
        """
        self._queue.append(pending)
        with self._commit_lock:
            if not pending.is_done:
                self.seal([self._queue.popleft() for _ in range(len(self._queue))])
        return pending.result()

    def seal(self, group: Sequence[Pending]) -> None:
        """Seal a group of submissions in one transaction; each then knows its own result."""
        try:
            self._commit(group)
        except BaseException as error:
            # Whatever it was, nobody may be told that it is sealed.
            reason = (
                error
                if isinstance(error, LedgerError)
                else Unavailable("sealing stopped unexpectedly; send the same post again")
            )
            for pending in group:
                pending.sealed, pending.error = None, reason
            if reason is not error:
                raise
        finally:
            for pending in group:
                pending.is_done = True

    def look_over(self, pending: Pending) -> None:
        """Verify what signatures there are before the lock is taken, by what stands there now.

        Nothing is refused here: the lock's holder asks again, and finds these verdicts at hand.
        """
        signed = [post for post in pending.submission.posts if post.signatures]
        if not signed:
            return
        books = Books(state := self._store.state(), state.currencies)
        for post in signed:
            with suppress(Refusal):
                books.check_signatures(Posted(0, pending.platform, post.statement, post.signatures))

    def try_alone(self, pending: Pending) -> None:
        """Raise what the books would refuse of a submission of one post, as of now."""
        [post], platform = pending.submission.posts, pending.platform
        if self._store.index_of_ref(platform, post.statement["ref"]) is not None:
            return  # it is there already, this or another: the lock's holder says which
        books = Books(state := self._store.state(), state.currencies)
        try:
            books.post(state.head().tip.size, platform, post.statement, post.signatures)
        except Refusal as refusal:
            raise _in_post(refusal) from None

    def is_busy(self) -> bool:
        """Whether `seal` would begin by waiting, for another process to have sealed."""
        return self._store.is_busy()

    def check(self) -> None:
        """Raise what would keep the next submission from being sealed."""
        with self._store.writing() as tx:
            tip = tx.head().tip
            self._now(tip)
            self._check_high_water(tx, tip)

    def _commit(self, pending: Sequence[Pending]) -> None:
        with self._store.writing() as tx:
            tip, note, indexed = tx.head()
            recorded_at = self._now(tip)
            self._check_high_water(tx, tip)
            group = _Group(tx, tip)
            group.look_up_refs(pending)
            for one in pending:
                try:
                    self._admit(group, one, recorded_at)
                except (Refusal, FormatError) as error:
                    one.error = error
            if group.sealed:
                note = self._seal(group, indexed)
            tx.commit()
            # From here on it is on disk. Still under the lock, or a later mark of another
            # process could be overwritten with this one.
            self._high_water.write(tip.size, tip.root)
        for one in pending:
            if one.sealed is not None:
                one.sealed = one.sealed._replace(checkpoint=note)

    def _seal(self, group: _Group, indexed: int) -> bytes:
        """Write everything the group seals; the signed checkpoint that covers it."""
        tip = group.tip
        checkpoint = Checkpoint(self._signer.name, tip.size, tip.root)
        note = sign_note(checkpoint.text(), self._signer)
        group.tx.append(Head(tip, note, indexed), group.sealed)
        group.tx.save_books(group.books)
        # Terms are only for filters, so they follow in bulk; readers look at the rest one by one.
        if tip.size - indexed >= INDEX_EVERY:
            group.tx.index_terms()
        return note

    # -- admission

    def _admit(self, group: _Group, pending: Pending, recorded_at: str) -> None:
        """Admit and link a whole submission, or raise Refusal and leave `group` as it was."""
        submission, platform = pending.submission, pending.platform
        # One statement changes nothing when it is refused; of several the first might have.
        is_alone = len(submission.posts) == 1 and submission.refusal is None
        books = group.books if is_alone else Books(group.books, group.books.currencies)
        places: list[Place] = []
        size = group.tip.size
        seen: set[str] = set()
        for number, post in enumerate(submission.posts):
            try:
                _check_once(post.statement["ref"], seen)
                place: Place | None = self._replay(group, platform, post)
                if place is None:
                    place = books.post(size, platform, post.statement, post.signatures)
                    size += 1
            except Refusal as refusal:
                raise submission.located(_in_post(refusal), number) from None
            places.append(place)
        if submission.refusal is not None:
            raise submission.refusal
        if not is_alone:
            group.books.absorb(books)
        entries = [
            self._link(group, platform, post, place, recorded_at)
            for post, place in zip(submission.posts, places, strict=True)
        ]
        pending.sealed = Sealed(entries, b"")

    def _replay(self, group: _Group, platform: str, post: Post) -> SealedEntry | None:
        """Where the statement stands already."""
        ref = post.statement["ref"]
        if (linked := group.refs.get((platform, ref))) is not None:
            data: bytes | None = linked.entry_bytes
        elif (index := group.before.get((platform, ref))) is not None:
            data = group.tx.entry_bytes(index)
        else:
            return None
        assert data is not None, "what refs name is there"
        try:
            first = decode_entry(data)
        except Refusal as refusal:
            # Not the poster's fault, who may have sent the very statement that once stood there.
            raise FormatError(f"a stored entry of {platform!r} is damaged: {refusal}") from refusal
        if canonical(first.statement) != post.canonical:
            raise RefConflict(ref, first.index)
        return SealedEntry(first.index, entry_hash(data), replayed=True)

    def _link(
        self,
        group: _Group,
        platform: str,
        post: Post,
        place: Place,
        recorded_at: str,
    ) -> SealedEntry:
        if isinstance(place, SealedEntry):
            return place
        totals, goods = divided(post.statement["type"], place)
        content = (totals, goods, post.signatures)
        linked = link(group.tip, platform, post.canonical, recorded_at, *content)
        group.sealed.append(NewEntry(linked, platform, post.statement, post.disclosures))
        group.refs[platform, post.statement["ref"]] = linked
        return SealedEntry(linked.index, linked.leaf_hash, replayed=False)

    # -- guards

    def _now(self, tip: Tip) -> str:
        """The time to seal with. Raises ClockError when the wall clock cannot be trusted."""
        wall, steady = self._clock(), self._steady()
        jump = wall - steady - self._offset
        if abs(jump) > CLOCK_JUMP_MAX_S:
            raise ClockError(
                f"the wall clock jumped by {jump:.0f} s against the steady clock; set the clock "
                "right, then restart the service"
            )
        now = _format_time(wall)
        if tip.recorded_at > now:
            behind = datetime.fromisoformat(tip.recorded_at).timestamp() - wall
            if behind > CLOCK_BEHIND_MAX_S:
                raise ClockError(
                    f"the wall clock is {behind:.0f} s behind the last entry "
                    f"({tip.recorded_at}); set the clock right"
                )
            now = tip.recorded_at
        self._offset = wall - steady
        return now

    def _check_high_water(self, tx: Transaction, tip: Tip) -> None:
        """Never seal on a tip that does not extend what was handed out."""
        mark = self._high_water.read()
        if mark is None or mark == (tip.size, tip.root):
            return
        size, root = mark
        if size > tip.size:
            what = f"the database holds {tip.size} entries, but {size} were handed out"
        else:
            found = root_at(size, TileHashes(tx.tile, tip.size).node)
            if found == root:
                return
            what = f"at size {size} the database has root {found.hex()}, handed out: {root.hex()}"
        raise RolledBack(
            f"sealing has stopped: {what}. Either an older copy of the database was restored or "
            "it was altered. Put the newest database back and restart; if it is lost for good, "
            "this ledger has ended: start a new one, with a new origin, by `amanah init`"
        )


def _format_time(wall: float) -> str:
    text = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
    return f"{text[:-6]}Z"  # written as +00:00 otherwise


def _in_post(refusal: Refusal) -> Refusal:
    """`refusal`, whose pointers begin at the statement, with pointers from the post."""
    return refusal if isinstance(refusal, BesideStatement) else refusal.under("/statement")


def _check_once(ref: str, seen: set[str]) -> None:
    """Refuse the second post of a batch that carries a ref of an earlier one."""
    if ref in seen:
        detail = f"the ref {ref!r} stands twice in this batch"
        raise Refusal("duplicate_ref", detail, [Fault("/ref", detail)])
    seen.add(ref)
