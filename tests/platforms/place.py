"""A ledger for platforms to post to, and what is posted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ledger.service import Ledger
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.note import SigningKey, parse_note, sign_note
from tests.liar import Told
from tests.support import ORIGIN, PLATFORM, Statement, fund

OTHER_KEY = SigningKey.of(ORIGIN, b"\x02" * 32)


class Place(NamedTuple):
    """A ledger that is served: genesis, the platform `kita` with an API key, the fund `air`."""

    database: Path
    url: str
    key: str
    vkey: str


def made(home: Path) -> tuple[Path, str, str]:
    """(database, API key, vkey) of a new ledger in `home`."""
    ledger = Ledger.create(home / "amanah.db", ORIGIN, "Tests")
    key, vkey = ledger.create_key(PLATFORM).key, str(ledger.vkeys[0])
    ledger.post(PLATFORM, [fund("air")])
    ledger.close()
    return home / "amanah.db", key, vkey


def posts(statements: list[Statement]) -> list[Statement]:
    return [{"statement": statement} for statement in statements]


def resigned(note: str, key: SigningKey, **fields: Any) -> str:
    """The checkpoint with other fields, signed by `key`."""
    checkpoint = parse_checkpoint(parse_note(note.encode()).text)
    return sign_note(checkpoint._replace(**fields).text(), key).decode()


def noting(change: Callable[[str], str]) -> Callable[[Told], Told]:
    """The answer to a post with another checkpoint."""
    return lambda told: told.saying(told.json | {"checkpoint": change(told.json["checkpoint"])})
