"""A ledger that is the same every time, and the requests whose real answers are the examples.

It is the worked example of `amanah demo`, so what the document shows can be tried there. Its key
and its clock are made up: anybody could sign for it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask

from ledger.app import create_app
from ledger.config import Config
from ledger.demo import PARTNER, PLATFORM, statements
from ledger.entry import FORMAT, SYSTEM_PLATFORM, entry_hash
from ledger.money import CURRENCIES
from ledger.post import read_submission
from ledger.sequencer import Pending, Sequencer
from ledger.service import Ledger
from ledger.signing import PartyKey
from ledger.store.files import Paths, write_private
from ledger.store.sqlite import SqliteStore
from ledger.tlog.note import SigningKey

ORIGIN = "demo.amanah.example/documentation"
SIGNER = SigningKey.of(ORIGIN, bytes(32))
RECIPIENT, AUDITOR = "posyandu-melati", "auditor-amanat"
BEGIN = datetime(2026, 1, 5, 2, tzinfo=UTC)
Json = dict[str, Any]

GIFT: Json = {
    "type": "donation",
    "ref": "hello-1",
    "fund": "gizi-anak",
    "amount": "50000",
    "currency": "IDR",
    "occurred_at": "2025-07-01T10:00:00+07:00",
}


class Ask(NamedTuple):
    """A request and the status it leads to. key: whose API key goes with it, if any."""

    path: str
    status: int = 200
    accept: str = "application/json"
    body: bytes | None = None
    key: str | None = None
    media_type: str = "application/json"
    clock_s: float = 0.0  # how far the ledger's clock is off


class Story:
    """The served ledger. statements: its own, in order, each with its platform. signed: the posts
    that follow, of parties that have keys.
    """

    def __init__(self, database: Path) -> None:
        self._time = BEGIN.timestamp()
        self._off_s = 0.0
        self.statements: list[tuple[str, Json]] = list(statements())
        self._create(database)
        self.app: Flask = create_app(Config.from_environment({"AMANAH_DATABASE": str(database)}))
        self._ledger: Ledger = self.app.extensions["amanah"]
        self._ledger.sequencer = Sequencer(self._ledger.store, SIGNER, self._now, self._steady)
        for platform in (PLATFORM, PARTNER):
            self._ledger.register_platform(platform)
        for platform, statement in self.statements:
            self._time += 60
            self._ledger.post(platform, [statement])
        self._show_evidence()
        self.signed: list[tuple[str, Json]] = []
        self._sign()
        reader = self._ledger.create_key(PLATFORM, scopes=())
        self._reader_id = reader.key_id
        self._keys = {
            "write": self._ledger.create_key(PLATFORM).key,
            "read": reader.key,
            "unknown": "amanah_nobody",
        }
        self._http = self.app.test_client()

    def _show_evidence(self) -> None:
        """Seal evidence for the newest entry, whose leaf hash nobody knew before."""
        target = self._ledger.store.size() - 1
        leaf = entry_hash(self._ledger.store.entry_bytes(target))
        photo = {"sha256": "5d" * 32, "media_type": "image/jpeg", "bytes": 91834}
        statement: Json = {"type": "evidence", "ref": "evidence-1", "target": target}
        statement |= {"target_leaf": leaf.hex(), "evidence": [photo]}
        self.statements.append((PLATFORM, statement))
        self._time += 60
        self._ledger.post(PLATFORM, [statement])

    def close(self) -> None:
        self._ledger.close()

    def all_statements(self) -> list[tuple[str, Json]]:
        return [*self.statements, *((by, post["statement"]) for by, post in self.signed)]

    def _sign(self) -> None:
        """Two parties get keys; one says that its milk came, the other that the log is right."""
        for party_id in (RECIPIENT, AUDITOR):
            [(index, party)] = [
                (index, statement)
                for index, (_, statement) in enumerate(self.statements, 3)
                if statement["ref"] == f"party.{party_id}"
            ]
            more = {"ref": f"{party['ref']}.key", "keys": [_key(party_id).vkey]}
            self._post_signed(PLATFORM, party | more | {"supersedes": index}, party_id)
        store = self._ledger.store
        milk = store.index_of_ref(PARTNER, "milk-00") or 0
        said: Json = {"by": RECIPIENT, "status": "received", "target": milk}
        said |= {"target_leaf": entry_hash(store.entry_bytes(milk)).hex()}
        said |= {"type": "acknowledgement", "ref": "got-milk-00"}
        said |= {"occurred_at": "2025-06-20T08:00:00+07:00"}
        self._post_signed(RECIPIENT, said, RECIPIENT)
        tip = store.tip()
        checkpoint = {"origin": ORIGIN, "size": tip.size, "root": tip.root.hex()}
        opinion: Json = {"type": "attestation", "ref": "opinion-2025", "opinion": "unqualified"}
        opinion |= {"by": AUDITOR, "checkpoint": checkpoint, "scope_funds": ["gizi-anak"]}
        self._post_signed(PLATFORM, opinion, AUDITOR)

    def _post_signed(self, platform: str, statement: Json, party_id: str) -> None:
        signature = _key(party_id).sign(statement, ORIGIN, platform)
        post: Json = {"statement": statement, "signatures": [signature]}
        self._time += 60
        self._ledger.post(platform, [post])
        self.signed.append((platform, post))

    def ask(self, asked: Ask) -> tuple[str, str]:
        """The media type and text of the answer, whose status must be the one that was promised."""
        headers = {"Accept": asked.accept, "X-Request-Id": "7c9e6679f3b1a04d"}
        if asked.key is not None:
            headers["Authorization"] = f"Bearer {self._keys[asked.key]}"
        self._off_s = asked.clock_s
        response = self._http.open(
            asked.path,
            method="GET" if asked.body is None else "POST",
            headers=headers,
            data=asked.body,
            content_type=None if asked.body is None else asked.media_type,
        )
        self._off_s = 0.0
        text = response.get_data(as_text=True)
        assert response.status_code == asked.status, (asked, text)
        return response.content_type, text.replace(self._reader_id, "0a1b2c3d4e5f")  # random ids

    def _now(self) -> float:
        return self._time + self._off_s

    def _steady(self) -> float:
        return self._time

    def _create(self, database: Path) -> None:
        """As Ledger.create does, with a key and a time that are known."""
        paths = Paths.of(database)
        store = SqliteStore.create(database)
        write_private(paths.log_key, f"{SIGNER}\n")
        write_private(paths.key_secret, f"{bytes(32).hex()}\n")
        genesis = {
            "type": "genesis",
            "ref": "genesis",
            "format": FORMAT,
            "origin": ORIGIN,
            "operator": "Amanah demonstration",
            "vkeys": [str(SIGNER.verifier)],
            "currencies": CURRENCIES,
        }
        submission = read_submission(json.dumps({"statement": genesis}).encode(), CURRENCIES, BEGIN)
        sequencer = Sequencer(store, SIGNER, self._now, self._steady)
        sequencer.append(Pending(SYSTEM_PLATFORM, submission))
        store.close()


def _key(party_id: str) -> PartyKey:
    return PartyKey.of(party_id, party_id.encode().ljust(32)[:32])


@contextmanager
def told() -> Iterator[Story]:
    """The story, in a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as directory:
        story = Story(Path(directory, "amanah.db"))
        try:
            yield story
        finally:
            story.close()


def body(*posted: Json) -> bytes:
    """The request body that posts one statement, or several as a batch."""
    posts = [{"statement": statement} for statement in posted]
    return json.dumps(posts[0] if len(posts) == 1 else {"entries": posts}).encode()
