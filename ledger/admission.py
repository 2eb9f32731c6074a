"""How much one process takes in at once. What is more is refused before it waits anywhere.

A refusal costs a fraction of what was asked, so a crowd gets quick answers (503, Retry-After)
while what was admitted is answered in bounded time and memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import Overloaded

CONNECTIONS_MAX = 1_000  # further ones are answered once, and closed
POSTS_MAX = 512  # waiting for the sequencer; some 50 ms of work
CALLS_MAX = 256  # of the Flask application, waiting for a thread
BODY_BYTES_MAX = 32 * 2**20  # of all bodies, from their first byte to the answer
UNSENT_BYTES_MAX = 64 * 2**20  # of answers that clients are slow to take


class Room:
    """What one process holds at this moment. On its event loop only."""

    def __init__(self) -> None:
        self.connections = self.posts = self.calls = 0
        self.body_bytes = self.unsent_bytes = 0

    @property
    def is_crowded(self) -> bool:
        """Whether a connection that was just made is one too many."""
        return self.connections > CONNECTIONS_MAX

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Room for one body, which is given back when the block ends."""
        body = Body(self)
        try:
            yield body
        finally:
            self.body_bytes -= body.taken

    @contextmanager
    def post(self) -> Iterator[None]:
        """Room for one post that waits for the sequencer. Raises Overloaded."""
        if self.posts >= POSTS_MAX:
            raise Overloaded(f"{POSTS_MAX} posts wait already; send the same post again")
        self.posts += 1
        try:
            yield
        finally:
            self.posts -= 1

    @contextmanager
    def call(self) -> Iterator[None]:
        """Room for one call of the Flask application. Raises Overloaded."""
        if self.calls >= CALLS_MAX:
            raise Overloaded(f"{CALLS_MAX} requests wait already; ask again")
        if self.unsent_bytes > UNSENT_BYTES_MAX:
            raise Overloaded("too much waits for clients that are slow to take it; ask again")
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1


class Body:
    """The room that one body has taken so far."""

    def __init__(self, room: Room) -> None:
        self._room, self.taken = room, 0

    def take(self, count: int) -> None:
        """Take room for `count` bytes more. Raises Overloaded."""
        if self._room.body_bytes + count > BODY_BYTES_MAX:
            raise Overloaded("too many large requests at once; send the same again")
        self._room.body_bytes += count
        self.taken += count
