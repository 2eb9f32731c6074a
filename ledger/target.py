"""What the posting commands post to: a ledger on this machine or behind a URL, alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ledger.chain import SealedEntry


def post_of(statement: dict[str, Any]) -> dict[str, Any]:
    """The post of a bare statement; one that is a post already, with its signatures, as it is."""
    return statement if "statement" in statement else {"statement": statement}


class Target(Protocol):
    """A ledger as `platform` posts to it."""

    platform: str

    def registered(self, kind: str, item_id: str) -> bool:
        """Whether the party, programme or fund (`kind`) of this id is there."""
        ...

    def post(self, statements: Sequence[dict[str, Any]]) -> list[SealedEntry]:
        """Seal all of them or none, as one batch; each bare or as a post. Raises Refusal."""
        ...
