"""A log that can lie: an `audit.Reader` over the entries of a real ledger, attacked in one line.

Two kinds of liar. Who breaks into a store changes what is served (`edit`, `drop`, `swap`,
`insert`, `flip`, `cut`) and leaves the rest as it was. The operator, who holds the key, makes
everything fit afterwards: `seal` links the chain again, builds the tree and signs it, and
`refold` adds the books up again, so that only what somebody remembers can tell.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.audit import Known
from ledger.books import Books
from ledger.entry import FORMAT, NO_PREV, SYSTEM_PLATFORM, canonical, entry_hash
from ledger.errors import NotFound
from ledger.goods import divided
from ledger.scratch import LeafFile
from ledger.service import Ledger
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import ed25519_message
from ledger.tlog.note import ED25519_COSIGNATURE, Signature, SigningKey, VerifierKey, sign_note
from ledger.tlog.policy import Policy
from ledger.tlog.tile import (
    TILE_WIDTH,
    FullTile,
    Tile,
    bundle_path,
    encode_bundle,
    tile_width,
    tiles_of,
)
from tests.tlog.trees import Tree

Document = dict[str, Any]
TIME = "2026-01-05T02:00:00.000Z"


class Log:
    """A log as it is served. entries: the bytes in its bundles, in order."""

    def __init__(self, entries: Iterable[bytes], signer: SigningKey) -> None:
        self.entries = list(entries)
        self.signer = signer
        self.altered: dict[str, bytes] = {}  # path -> what is served there instead
        self.publish()

    @classmethod
    def of(cls, ledger: Ledger) -> Log:
        """The honest log of a ledger, read from its store."""
        store = ledger.store
        return cls(store.entries(0, store.size()), ledger.sequencer._signer)

    # -- audit.Reader

    def checkpoint(self) -> bytes:
        return self.altered.get("checkpoint", self.note)

    def tile(self, tile: Tile) -> bytes:
        if tile.path() in self.altered:
            return self.altered[tile.path()]
        if tile.width > tile_width(tile.level, tile.index, len(self.tree.leaves)):
            raise NotFound(f"{tile.path()} does not exist")
        return self.tree.tile(tile)

    def bundle(self, index: int, width: int) -> bytes:
        path = bundle_path(index, width)
        if path in self.altered:
            return self.altered[path]
        entries = self.entries[index * TILE_WIDTH : index * TILE_WIDTH + width]
        if len(entries) < width:
            raise NotFound(f"{path} does not exist")
        return encode_bundle(entries)

    # -- what is known of it

    @property
    def size(self) -> int:
        """How many entries the checkpoint covers."""
        return len(self.tree.leaves)

    @property
    def policy(self) -> Policy:
        return Policy.for_key(self.signer.verifier)

    def known(self, source: str = "a friend") -> Known:
        """What somebody remembers who saw this log as it is now."""
        return Known(self.size, self.tree.frontier.root(), source)

    def document(self, index: int) -> Document:
        """An entry, decoded."""
        document: Document = json.loads(self.entries[index])
        return document

    def find(self, ref: str) -> int:
        """The index of the entry with this ref."""
        refs = [json.loads(entry)["statement"]["ref"] for entry in self.entries]
        return refs.index(ref)

    def files(self) -> dict[str, bytes]:
        """Everything an auditor reads, by its path."""
        files = {"checkpoint": self.checkpoint()}
        for tile in tiles_of(self.size):
            files[tile.path()] = self.tile(tile)
            if tile.level == 0:
                files[bundle_path(tile.index, tile.width)] = self.bundle(tile.index, tile.width)
        return files

    def copy(self) -> Log:
        """A log of its own that serves the same."""
        twin = copy(self)
        twin.entries, twin.altered = list(self.entries), dict(self.altered)
        return twin

    # -- breaking in: everything not named stays as it was

    def flip(self, path: str, bit: int) -> Log:
        """Serve one bit of a file the other way round."""
        return self.serve(path, flipped(self.files()[path], bit))

    def serve(self, path: str, data: bytes) -> Log:
        """Serve `data` at `path`."""
        self.altered[path] = data
        return self

    def edit(self, index: int, /, **fields: Any) -> Log:
        """Replace fields of an entry; None takes one away."""
        document = self.document(index) | fields
        kept = {name: value for name, value in document.items() if value is not None}
        self.entries[index] = canonical(kept)
        return self

    def edit_statement(self, index: int, /, **fields: Any) -> Log:
        """Replace fields of the statement of an entry; None takes one away."""
        statement = self.document(index)["statement"] | fields
        kept = {name: value for name, value in statement.items() if value is not None}
        return self.edit(index, statement=kept)

    def drop(self, index: int) -> Log:
        del self.entries[index]
        return self

    def swap(self, one: int, other: int) -> Log:
        entries = self.entries
        entries[one], entries[other] = entries[other], entries[one]
        return self

    def insert(self, index: int, platform: str, statement: Mapping[str, Any], **fields: Any) -> Log:
        """Put a statement in as an entry that links to the one before it."""
        prev = entry_hash(self.entries[index - 1]).hex() if index else NO_PREV
        time = self.document(index - 1)["recorded_at"] if index else TIME
        document = {"index": index, "platform": platform, "prev": prev, "recorded_at": time}
        self.entries.insert(index, canonical(document | {"statement": statement} | fields))
        return self

    def append(self, platform: str, statement: Mapping[str, Any], **fields: Any) -> Log:
        return self.insert(len(self.entries), platform, statement, **fields)

    def cut(self, size: int) -> Log:
        """Lose every entry and hash from `size` on, but not the checkpoint."""
        note = self.note
        return self.roll_back(size).serve("checkpoint", note)

    # -- the operator, who can sign whatever fits together

    def at(self, size: int) -> Log:
        """A copy, as it was when there were `size` entries."""
        return self.copy().roll_back(size)

    def roll_back(self, size: int) -> Log:
        """Serve what was true when there were `size` entries."""
        del self.entries[size:]
        return self.publish()

    def refold(self) -> Log:
        """Add the books up again from the first entry, as an honest writer would."""
        leaves = LeafFile()
        books = Books(leaves, {})
        for index in range(len(self.entries)):
            document = self.document(index)
            statement = document["statement"]
            sums = books.post(index, document["platform"], statement)
            totals, goods = divided(statement["type"], sums)
            self.edit(index, totals=totals or None, goods=goods or None)
            leaves.add(entry_hash(self.entries[index]))
        return self

    def seal(self, signer: SigningKey | None = None) -> Log:
        """Number and link the entries again, build their tree and sign it."""
        prev = NO_PREV
        for index in range(len(self.entries)):
            self.edit(index, index=index, prev=prev)
            prev = entry_hash(self.entries[index]).hex()
        return self.publish(signer)

    def publish(self, signer: SigningKey | None = None) -> Log:
        """Build the tree over the entries as they are, and sign it."""
        self.signer = signer or self.signer
        self.altered = {}
        self.tree = Tree(map(entry_hash, self.entries))
        checkpoint = Checkpoint(self.signer.name, self.size, self.tree.frontier.root())
        self.note = sign_note(checkpoint.text(), self.signer)
        return self

    def fork(self, index: int, **fields: Any) -> Log:
        """Another history from `index` on, where that statement says something else."""
        return self.copy().edit_statement(index, **fields).refold().seal()

    def _middle(self, tile: Tile) -> bytes | None:
        return FullTile.of(tile, self.tile(tile)).middle if tile.width == TILE_WIDTH else None

    def write_to(self, database: Path) -> None:
        """Put this log in the place of the one in a ledger's database, head and all."""
        with sqlite3.connect(database) as connection:
            for table in ("entries", "tiles"):
                connection.execute(f"DELETE FROM {table}")
            entries = [(i, data, entry_hash(data)) for i, data in enumerate(self.entries)]
            connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", entries)
            tiles = [
                (*tile[:2], self.tile(tile), self._middle(tile))
                for tile in tiles_of(self.size)
                if tile.level > 0 or tile.width == TILE_WIDTH
            ]
            connection.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", tiles)
            frontier, last = self.tree.frontier, self.document(-1)
            head = (self.size, frontier.root(), b"".join(frontier.hashes), self.checkpoint())
            connection.execute(
                "UPDATE head SET size = ?, root = ?, frontier = ?, checkpoint = ?, "
                "prev = ?, recorded_at = ?",
                (*head, entry_hash(self.entries[-1]).hex(), last["recorded_at"]),
            )
        connection.close()


def new_log(origin: str) -> Log:
    """A log that holds its genesis alone, made without a store."""
    signer = SigningKey.of(origin, b"\x07" * 32)
    return Log([], signer).append(SYSTEM_PLATFORM, genesis(signer.verifier)).publish()


def genesis(vkey: VerifierKey) -> Document:
    """The statement a log of this key begins with."""
    statement: Document = {"type": "genesis", "ref": "genesis", "format": FORMAT}
    statement |= {"origin": vkey.name, "operator": "Tests", "vkeys": [str(vkey)]}
    return statement | {"currencies": {"IDR": 2, "JPY": 0, "KWD": 3}}


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit the other way round; bit 0 is the lowest of the first byte."""
    place, mask = bit // 8, 1 << bit % 8
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


class Witness:
    """Somebody who cosigns checkpoints."""

    def __init__(self, name: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)[:32])
        public = self._private.public_key().public_bytes_raw()
        self.key = VerifierKey.of(f"{name}.example", ED25519_COSIGNATURE, public)

    def cosign(self, log: Log) -> None:
        """Add a cosignature to the log's checkpoint."""
        text = log.checkpoint().rpartition(b"\n\n")[0] + b"\n"
        signed = bytes(7) + b"\5" + self._private.sign(ed25519_message(5, text))
        line = Signature(self.key.name, self.key.key_id, signed).line()
        log.serve("checkpoint", log.checkpoint() + line)
