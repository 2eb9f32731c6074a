"""One peer, run by an interpreter that has it installed: `peer.py NAME FOLDER`.

Reads orders from stdin and answers each with one JSON value: `append BATCH FILE` with seconds
(FILE: a JSON array of entries), `prove COUNT` with seconds, `root` with the hex of the root.
It imports nothing of the ledger, and the ledger nothing of it. The peers are imported by name:
they are not installed where types are checked.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any


class Pymerkle:
    """SqliteTree as it comes: one transaction a call, SQLite's default journal, which flushes."""

    def __init__(self, folder: Path) -> None:
        self._tree: Any = import_module("pymerkle").SqliteTree(str(folder / "pymerkle.db"))

    def append(self, entries: Sequence[bytes]) -> None:
        if len(entries) == 1:
            self._tree.append_entry(entries[0])
        else:
            self._tree.append_entries(entries)

    def size(self) -> int:
        return int(self._tree.get_size())

    def prove(self, index: int, size: int) -> None:
        self._tree.prove_inclusion(index + 1, size)

    def root(self) -> str:
        root: bytes = self._tree.get_root()
        return root.hex()


class AicsTlog:
    """Tiles in a directory, flushed as by default, and a signed checkpoint after each append."""

    ORIGIN = "ledger.example/peer"

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._tlog: Any = import_module("aics_tlog")
        self._store = self._tlog.DirectoryTileStore(str(folder / "aics-tlog"))
        self._writer = self._tlog.IncrementalTileWriter(self._store)
        self._key = Ed25519PrivateKey.generate()

    def append(self, entries: Sequence[bytes]) -> None:
        self._writer.append(entries)
        head = self._tlog.Checkpoint(self.ORIGIN, self._writer.size, self._writer.root())
        note = self._tlog.sign_checkpoint(head, self._key, self.ORIGIN)
        self._store.write_checkpoint(note.to_bytes())

    def size(self) -> int:
        return int(self._writer.size)

    def prove(self, index: int, size: int) -> None:
        self._tlog.inclusion_proof_from_tiles(self._store, index, size)

    def root(self) -> str:
        root: bytes = self._writer.root()
        return root.hex()


def append_seconds(peer: Any, batch: int, file: Path) -> float:
    entries = [text.encode() for text in json.loads(file.read_bytes())]
    batches = [entries[i : i + batch] for i in range(0, len(entries), batch)]
    start = time.perf_counter()
    for one in batches:
        peer.append(one)
    return time.perf_counter() - start


def prove_seconds(peer: Any, count: int) -> float:
    size = peer.size()
    start = time.perf_counter()
    for i in range(count):
        peer.prove(i * 7919 % size, size)
    return time.perf_counter() - start


def main() -> None:
    name, folder = sys.argv[1:]
    peer: Any = {"pymerkle": Pymerkle, "aics-tlog": AicsTlog}[name](Path(folder))
    for line in sys.stdin:
        order, *arguments = line.split(maxsplit=2)
        answer: float | str
        if order == "append":
            answer = append_seconds(peer, int(arguments[0]), Path(arguments[1].rstrip("\n")))
        elif order == "prove":
            answer = prove_seconds(peer, int(arguments[0]))
        else:
            answer = peer.root()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
