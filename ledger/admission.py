"""How much one process takes in at once. What is more is refused before it waits anywhere.

A refusal costs a fraction of what was asked, so a crowd gets quick answers (503, Retry-After)
while what was admitted is answered in bounded time and memory.
"""

from __future__ import annotations

from ledger.errors import Overloaded

CONNECTIONS_MAX = 1_000  # further ones are answered once, and closed
POSTS_MAX = 512  # waiting for the sequencer; some 50 ms of work
CALLS_MAX = 256  # of the Flask application, waiting for a thread
POSTS_WAIT = "as many posts wait as can be sealed soon; send the same post again in a moment"
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

    def check_post(self) -> None:
        """Raise Overloaded when no further post may wait for the sequencer."""
        if self.posts >= POSTS_MAX:
            raise Overloaded(POSTS_WAIT)

    def check_call(self) -> None:
        """Raise Overloaded when no further request may wait for the Flask application."""
        if self.calls >= CALLS_MAX:
            raise Overloaded("as many requests wait as can be answered soon; ask again")
        if self.unsent_bytes > UNSENT_BYTES_MAX:
            raise Overloaded("too much waits for clients that are slow to take it; ask again")


class Body:
    """The room that one body has taken so far; given back when the block ends."""

    __slots__ = ("_room", "_taken")

    def __init__(self, room: Room) -> None:
        self._room, self._taken = room, 0

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.body_bytes -= self._taken

    def take(self, count: int) -> None:
        """Take room for `count` bytes more. Raises Overloaded."""
        if self._room.body_bytes + count > BODY_BYTES_MAX:
            raise Overloaded("too many large requests at once; send the same again")
        self._room.body_bytes += count
        self._taken += count
