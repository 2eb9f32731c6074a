"""Judges a ledger with the package aics-tlog and nothing of ours, as go/main.go does.

    log URL VKEY [OLDER...]   proofs URL VKEY [OLDER...]   receipt FILE VKEY

It runs in an environment of its own (tests/foreign/set_up). It prints a line and exits with 0
when all is sound, else with 1.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from aics_tlog import (
    HttpTileReader,
    VerifiedTileReader,
    VKey,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    leaf_hash,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
    verify_leaf_inclusion,
)
from aics_tlog.tiles import parse_entry_bundle, tile_width_at

DIRECT = build_opener(ProxyHandler({}))  # made once: it reads all certificates of the machine


class Unsound(Exception):
    """What was found wrong."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Unsound(what)


def opened(note: bytes, vkey: VKey) -> tuple[int, bytes]:
    """The size and root that a checkpoint signs."""
    parsed = parse_note(note)
    result = verify_checkpoint(parsed, vkey, expected_origin=vkey.name)
    demand(result.ok, f"the checkpoint: {result.error}")
    checkpoint = parse_checkpoint(parsed.text)
    return checkpoint.size, checkpoint.root


def reader_of(url: str) -> HttpTileReader:
    return HttpTileReader(url, proxies={})


def entries_of(tiles: VerifiedTileReader, size: int) -> list[bytes]:
    """All entries, held against the tree by the bundle."""
    entries: list[bytes] = []
    for bundle in range((size + 255) // 256):
        width = tile_width_at(size, 0, bundle)
        entries += parse_entry_bundle(tiles.read_entry_bundle(bundle, width))
    return entries


def judge_log(url: str, vkey: VKey, *older: str) -> str:
    reader = reader_of(url)
    size, root = opened(reader.read_checkpoint(), vkey)
    audit_tiles(reader, size, root)
    tiles = VerifiedTileReader(reader, size, root)
    entries = entries_of(tiles, size)
    before = bytes(32)  # what the first entry names
    for index, entry in enumerate(entries):
        before = follow(entry, index, before)
    for index in (0, size // 3, size // 2, size - 1):
        proof = inclusion_proof_from_tiles(tiles, index, size)
        holds = verify_leaf_inclusion(entries[index], index, size, proof, root)
        demand(holds, f"entry {index} is not in the tree")
    for path in older:
        old_size, old_root = opened(Path(path).read_bytes(), vkey)
        demand(old_size <= size, f"the log had {old_size} entries and has {size}")
        proof = consistency_proof_from_tiles(tiles, old_size, size)
        demand(verify_consistency(old_size, size, old_root, root, proof), "another history")
    return f"SOUND {size} {root.hex()}"


def follow(entry: bytes, index: int, before: bytes) -> bytes:
    """The hash of an entry, which must name its index and the hash before it."""
    named = json.loads(entry)
    demand(named["index"] == index, f"entry {index} says that it is entry {named['index']}")
    demand(named["prev"] == before.hex(), f"entry {index} does not follow the one before")
    leaf: bytes = leaf_hash(entry)
    return leaf


def judge_proofs(url: str, vkey: VKey, *older: str) -> str:
    reader = reader_of(url)
    size, root = opened(reader.read_checkpoint(), vkey)
    for path in older:
        old_size, old_root = opened(Path(path).read_bytes(), vkey)
        proof = api_proof(f"{url}/v1/proofs/consistency?from={old_size}&to={size}")
        demand(verify_consistency(old_size, size, old_root, root, proof), "another history")
    for index, entry in enumerate(entries_of(VerifiedTileReader(reader, size, root), size)):
        proof = api_proof(f"{url}/v1/proofs/inclusion?index={index}&size={size}")
        holds = verify_leaf_inclusion(entry, index, size, proof, root)
        demand(holds, f"entry {index} is not in the tree")
    return f"SOUND {size} {root.hex()}"


def api_proof(url: str) -> list[bytes]:
    with DIRECT.open(url) as answer:
        document: dict[str, Any] = json.load(answer)
    return [bytes.fromhex(hash_) for hash_ in document["proof"]]


def judge_receipt(path: str, vkey: VKey) -> str:
    head, _, checkpoint = Path(path).read_bytes().partition(b"\n\n")
    first, extra, index_line, *hashes = head.decode().split("\n")
    demand(first == "c2sp.org/tlog-proof@v1", "this is no tlog-proof")
    demand(extra.startswith("extra ") and index_line.startswith("index "), "no entry, or no index")
    entry = b64decode(extra.removeprefix("extra "), validate=True)
    index = int(index_line.removeprefix("index "))
    size, root = opened(checkpoint, vkey)
    proof = [b64decode(line, validate=True) for line in hashes]
    demand(verify_inclusion(leaf_hash(entry), index, size, proof, root), "not in the tree")
    demand(json.loads(entry)["index"] == index, "the entry is of another index")
    return f"SOUND entry {index} of {size}"


JUDGES: dict[str, Callable[..., str]] = {
    "log": judge_log,
    "proofs": judge_proofs,
    "receipt": judge_receipt,
}


def main(command: str, where: str, vkey: str, *older: str) -> str:
    return JUDGES[command](where, parse_vkey(vkey), *older)


if __name__ == "__main__":
    try:
        print(main(*sys.argv[1:]))
    except (Unsound, ValueError, OSError) as error:
        # What aics-tlog raises is a ValueError or an OSError.
        sys.exit(f"judge_aics: {error}")
