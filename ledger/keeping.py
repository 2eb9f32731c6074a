"""Keeping a ledger: rebuilding what follows from its log, copying it, putting a copy back.

Whatever is made here is audited before anybody is told that it is there.
"""

from __future__ import annotations

from collections import defaultdict

from ledger.audit import Progress, Report, audit
from ledger.entry import decode_entry, entry_hash
from ledger.errors import FormatError, LogMismatch, NotFound, Refusal, SetupError
from ledger.store import rebuild as derived
from ledger.store.files import Paths, refuse_in_use
from ledger.store.sqlite import SqliteStore
from ledger.tlog.merkle import HASH_SIZE, Frontier
from ledger.tlog.note import VerifierKey
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile


def genesis_key(store: SqliteStore) -> VerifierKey:
    """The key that a ledger's first entry names. Raises LogMismatch."""
    try:
        return VerifierKey.parse(decode_entry(store.entry_bytes(0)).statement["vkeys"][0])
    except (NotFound, Refusal, FormatError, LookupError, TypeError, AttributeError) as error:
        wanted = "the genesis, which names the log's keys"
        raise LogMismatch(0, "first entry", wanted, str(error)) from error


# -- rebuild


def rebuild(paths: Paths, checking: Progress, making: Progress) -> Report:
    """Make everything anew that follows from the log, once the log itself is audited.

    Raises SetupError when something has the database open, LogMismatch and other errors of an
    audit when the log is not sound; then nothing is changed.
    """
    refuse_in_use(paths.database)
    store = SqliteStore(paths.database)
    try:
        with store.writing() as tx:
            note = store.checkpoint()
            report = audit(_Untiled(store), Policy.for_key(genesis_key(store)), (), checking)
            if not report.is_sound:
                index, what = report.not_understood[0]
                raise SetupError(f"entry {index} ({what}) is not understood; update amanah first")
            derived.rebuild(tx, report.checkpoint, note, making)
    except NotFound as error:
        raise LogMismatch(None, "signed checkpoint", "one", str(error)) from error
    finally:
        store.close()
    return report


class _Untiled:
    """An audit's reader that trusts entries alone: its tiles are made of them, as they come."""

    def __init__(self, store: SqliteStore) -> None:
        self.checkpoint, self.bundle = store.checkpoint, store.bundle
        self._entries = store.entries
        self._frontier = Frontier()
        self._levels: defaultdict[int, bytearray] = defaultdict(bytearray)

    def tile(self, tile: Tile) -> bytes:
        start = tile.index * TILE_WIDTH
        if tile.level == 0:
            leaves = [entry_hash(data) for data in self._entries(start, start + tile.width)]
            for leaf in leaves:
                completed = self._frontier.append(leaf)[::TILE_HEIGHT]
                for level, hash_ in enumerate(completed[1:], 1):
                    self._levels[level] += hash_
            return b"".join(leaves)
        end = start + tile.width
        return bytes(self._levels[tile.level][start * HASH_SIZE : end * HASH_SIZE])
