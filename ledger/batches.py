"""How much one request may post, and how more than that is cut into several."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ledger.errors import TooLarge

BATCH_MAX = 1_000
BODY_BYTES_MAX = 4 * 1024 * 1024
# What `batches` puts into one: a batch holds the write lock, and others wait for it.
BATCH = 500
BATCH_BYTES = 2 * 1024 * 1024

Post = dict[str, Any]  # as the API takes it: {"statement": {...}} and what comes with it


def encode_posts(posts: Sequence[Post], is_batch: bool = True) -> bytes:
    """The request body of a batch, which is sealed whole or not at all, or of one post alone.

    Raises TooLarge when the ledger would not read it; nothing is cut silently.
    """
    if len(posts) > BATCH_MAX:
        raise TooLarge(
            f"{len(posts)} posts are more than one batch takes ({BATCH_MAX}); post them in several "
            "batches, each of which is sealed whole or not at all"
        )
    body = json.dumps({"entries": list(posts)} if is_batch else posts[0]).encode()
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(
            f"{len(posts)} posts of {len(body)} bytes are more than one request takes "
            f"({BODY_BYTES_MAX}); post them in several batches, each of which is sealed whole or "
            "not at all"
        )
    return body


def batches(posts: Iterable[Post]) -> Iterator[list[Post]]:
    """`posts` in their order, in batches that one request takes each."""
    batch: list[Post] = []
    room = BATCH_BYTES
    for post in posts:
        size = len(json.dumps(post))
        if batch and (len(batch) == BATCH or size > room):
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(post)
        room -= size
    if batch:
        yield batch
