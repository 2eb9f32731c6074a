"""The views of one ledger, as of its newest entry: what is stored, and a fold of the rest.

Sealing knows nothing of them. Whoever asks first lets the tables follow the log in bulk: entries
are folded with no lock held, and only what comes of a bulk is written under the write lock. What
is too little for a bulk is folded in memory, and kept there until there is more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ledger.store.sqlite import SqliteStore
from ledger.store.views import ViewTables
from ledger.views.fold import Fold

BULK = 1_024  # entries
# Stored for one question: a second's work. A log that nobody asked about may be far ahead.
BULKS_MAX = 64

Answer = TypeVar("Answer")


class Views:
    """The views of the ledger in `store`. Thread-safe."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._tail: Fold | None = None  # what was folded for the last question

    def ask(self, question: Callable[[Fold], Answer]) -> Answer:
        """Answer from the views as of one moment; what the store is asked within is of it too.

        They are those of the newest entry, unless there were more than BULKS_MAX bulks to store:
        `Fold.size` says. Raises Unavailable.
        """
        with self._lock:
            self._catch_up()
            with self._store.viewing() as tables:
                return question(self._folded(tables))

    def _catch_up(self) -> None:
        for _ in range(BULKS_MAX):
            with self._store.viewing() as tables:
                behind = tables.size() - tables.reach()
            if behind < BULK:
                return
            self.follow()

    def _folded(self, tables: ViewTables) -> Fold:
        reach = tables.reach()
        fold = self._tail
        if fold is None or fold.start != reach:
            fold = Fold(tables, reach)
        self._tail = None  # unless all goes well
        fold.base = tables  # on this thread's connection
        for entry in tables.entries(fold.size, reach + BULK):
            fold.add(entry)
        self._tail = fold
        return fold

    def follow(self) -> int:
        """Store the views of the next entries, BULK at most; how many entries these are."""
        with self._store.viewing() as tables:
            fold = tables.fold(tables.reach() + BULK)
        if fold.size > fold.start:
            with self._store.writing() as tx:
                # Another process may have been first.
                if tx.views().reach() == fold.start:
                    tx.views().save(fold)
                    tx.commit()
        return fold.size - fold.start
