"""The verifier on a log built here from the format, and on copies somebody tampered with."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .fold import GOODS, Fold, canonical
from .generator import CURRENCIES, generate
from .verifier import Report, Verifier, leaf_hash, main, tile_path, tree_root, verify

ORIGIN = "ledger.example/amanah"
KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
PUBLIC = b"\x01" + KEY.public_key().public_bytes_raw()
KEY_ID = sha256(ORIGIN.encode() + b"\n" + PUBLIC).digest()[:4]
VKEY = f"{ORIGIN}+{KEY_ID.hex()}+{base64.b64encode(PUBLIC).decode()}"
Files = dict[str, bytes]
Entry = dict[str, Any]


# --- a log, built from the format


def checkpoint(size: int, root: bytes) -> bytes:
    body = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = base64.b64encode(KEY_ID + KEY.sign(body.encode())).decode()
    return f"{body}\n— {ORIGIN} {signature}\n".encode()


def publish(entries: list[bytes]) -> Files:
    """Every file of a log with these entries, checkpoint and all."""
    files: Files = {}
    size = len(entries)
    for n, first in enumerate(range(0, size, 256)):
        frames = [len(e).to_bytes(2, "big") + e for e in entries[first : first + 256]]
        files[tile_path("entries", n, size)] = b"".join(frames)
    hashes, level = [leaf_hash(entry) for entry in entries], 0
    files["/checkpoint"] = checkpoint(size, tree_root(hashes))
    while hashes:
        for n, first in enumerate(range(0, len(hashes), 256)):
            tile = b"".join(hashes[first : first + 256])
            files[tile_path(level, n, len(hashes))] = tile
        full = len(hashes) // 256 * 256
        hashes = [tree_root(hashes[i : i + 256]) for i in range(0, full, 256)]
        level += 1
    return files


@cache
def sealed(n: int) -> tuple[Entry, ...]:
    """Genesis and the acceptable statements among `n` generated ones."""
    genesis: Entry = {"type": "genesis", "ref": "genesis", "format": "amanah/1", "origin": ORIGIN}
    genesis |= {"operator": "test", "vkeys": [VKEY], "currencies": CURRENCIES}
    fold, entries = Fold(parties=set()), []
    for platform, statement in [("ledger", genesis), *generate(11, n)]:
        index = fold.size
        totals = fold.post(platform, statement)
        if isinstance(totals, str):
            continue
        time = f"2026-11-24T{index // 3600:02d}:{index // 60 % 60:02d}:{index % 60:02d}.123Z"
        entry: Entry = {
            "index": index,
            "platform": platform,
            "recorded_at": time,
            "statement": statement,
        }
        name = "goods" if statement["type"] in GOODS else "totals"
        entries.append(entry | ({name: totals} if totals else {}))
    return tuple(entries)


def linked(entries: list[Entry]) -> list[bytes]:
    """Entry bytes, each with the hash of the one before, as a lying operator would redo them."""
    chain, prev = [], "0" * 64
    for entry in entries:
        chain.append(canonical({**entry, "prev": prev}))
        prev = leaf_hash(chain[-1]).hex()
    return chain


def fresh(n: int) -> list[Entry]:
    return [json.loads(canonical(entry)) for entry in sealed(n)]


def check(files: Files, known: bytes | None = None) -> Report:
    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    return verify(read, VKEY, known)


def found(files: Files, known: bytes | None = None) -> tuple[int | None, str]:
    """Where and in what the verifier finds the fault."""
    report = check(files, known)
    assert report.fault is not None, report
    assert not report.sound
    assert report.fault.wanted != report.fault.found
    return report.fault.index, report.fault.what


SMALL, LARGE = 90, 900


@cache
def files(n: int) -> Files:
    return publish(linked(fresh(n)))


def first_of(kind: str, n: int = SMALL) -> int:
    types = [entry["statement"]["type"] for entry in sealed(n)]
    return types.index(kind)


def flipped(raw: bytes, bit: int) -> bytes:
    return raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]


# --- sound logs


@pytest.mark.parametrize("size", [1, 2, 40, 255, 256, 257, 512, 600])
def test_a_log_as_the_format_says_is_sound(size: int) -> None:
    report = check(publish(linked(fresh(LARGE)[:size])))
    assert report.sound, report
    assert report.size == size
    assert str(report).startswith("SOUND")


def test_paths_are_those_of_the_tiles_text() -> None:
    assert tile_path(0, 1234067, 1234068 * 256) == "/tile/0/x001/x234/067"
    assert tile_path(0, 273, 70_000) == "/tile/0/273.p/112"
    assert tile_path("entries", 0, 256) == "/tile/entries/000"
    assert "/tile/1/000.p/1" in publish(linked(fresh(LARGE)[:256]))


def test_over_http_and_with_an_older_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, raw in files(LARGE).items():
        file = tmp_path / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)
    known = tmp_path / "known"
    known.write_bytes(files(SMALL)["/checkpoint"])

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        assert main([url, "--vkey", VKEY, "--known", str(known)]) == 0
        script = [sys.executable, str(Path(__file__).with_name("verifier.py"))]
        assert subprocess.run([*script, url, "--vkey", VKEY], check=False).returncode == 0
        (tmp_path / "tile/1/000.p/2").unlink()
        assert main([url, "--vkey", VKEY]) == 1
        assert "GET /tile/1/000.p/2" in capsys.readouterr().out
    finally:
        server.shutdown()
        server.server_close()
    assert main([url, "--vkey", VKEY]) == 3


# --- one bit


def test_any_bit_of_the_checkpoint() -> None:
    good = files(SMALL)
    for bit in range(len(good["/checkpoint"]) * 8):
        changed = flipped(good["/checkpoint"], bit)
        assert found(good | {"/checkpoint": changed})[0] is None, bit


def test_bits_of_a_bundle_are_found_at_their_entry() -> None:
    good = files(SMALL)
    entries = linked(fresh(SMALL))
    path = tile_path("entries", 0, len(entries))
    assert path in good
    owners = [i for i, entry in enumerate(entries) for _ in range((len(entry) + 2) * 8)]
    headers = [i for i in range(len(owners)) if i < 16 or owners[i] != owners[i - 16]][::5]
    bits = random.Random(3).sample(range(len(owners)), 120) + headers
    for bit in bits:
        assert found(good | {path: flipped(good[path], bit)})[0] == owners[bit], bit


@pytest.mark.parametrize("level", [0, 1])
def test_bits_of_a_tile_are_found_at_their_entry(level: int) -> None:
    good = files(LARGE)
    width = len(good["/tile/1/000.p/2"]) if level else len(good["/tile/0/001"])
    path, first = ("/tile/1/000.p/2", 0) if level else ("/tile/0/001", 256)
    for bit in random.Random(4).sample(range(width * 8), 20):
        index, _ = found(good | {path: flipped(good[path], bit)})
        assert index == first + bit // 256 * 256**level


# --- whoever holds the key can sign anything: the entries themselves have to hold


def swap(entries: list[Entry], i: int) -> None:
    entries[i], entries[i + 1] = entries[i + 1], entries[i]


def twice(entries: list[Entry], i: int) -> None:
    entries[i]["statement"]["ref"] = entries[i - 1]["statement"]["ref"]
    entries[i]["platform"] = entries[i - 1]["platform"]


def set_in(*names: Any) -> Callable[[list[Entry], int], None]:
    """Set the value under `names` (all but the last of them) to the last."""

    def change(entries: list[Entry], i: int) -> None:
        place: Any = entries[i]
        for name in names[:-2]:
            place = place[name]
        place[names[-2]] = names[-1]

    return change


REDONE: list[tuple[str, str, Callable[[list[Entry], int], None], str]] = [
    ("balance", "donation", set_in("totals", 0, "balance", "1.00"), "totals"),
    ("n", "disbursement", set_in("totals", 0, "n", 99), "totals"),
    ("spans", "donation", set_in("totals", 0, "spans", []), "totals"),
    ("no totals", "donation", lambda e, i: e[i].pop("totals"), "totals"),
    ("totals of nothing", "party", set_in("totals", [{"n": 1}]), "totals"),
    ("amount", "donation", set_in("statement", "amount", "7"), "totals"),
    ("amount spelled", "donation", set_in("statement", "amount", "07"), "invalid_amount"),
    ("unknown field", "donation", set_in("statement", "note", "x"), "invalid"),
    ("entries swapped", "donation", swap, "index"),
    ("ref used before", "donation", twice, "ref_conflict"),
    ("ref pattern", "donation", set_in("statement", "ref", "a b"), "ref has its pattern"),
    ("platform", "donation", set_in("platform", "nobody"), "unknown_reference"),
    ("platform ledger", "donation", set_in("platform", "ledger"), "unknown_reference"),
    ("fund", "donation", set_in("statement", "fund", "nowhere"), "unknown_reference"),
    ("target", "refund", set_in("statement", "target", 2), "wrong_target"),
    ("top-level field", "party", set_in("note", "x"), "fields beyond the format"),
    ("time goes back", "fund", set_in("recorded_at", "2026-11-24T00:00:00.000Z"), "recorded_at, "),
    ("time shape", "fund", set_in("recorded_at", "2026-11-24T00:59:00Z"), "recorded_at in"),
    ("too long", "party", set_in("statement", "name", "x" * 17_000), "statement bytes"),
    ("second genesis", "party", set_in("statement", "type", "genesis"), "invalid"),
    ("other origin", "genesis", set_in("statement", "origin", "other.example/x"), "origin"),
    ("other key", "genesis", set_in("statement", "vkeys", ["x"]), "vkeys"),
]


@pytest.mark.parametrize(("name", "kind", "change", "what"), REDONE, ids=[r[0] for r in REDONE])
def test_a_log_redone_and_signed_again(
    name: str, kind: str, change: Callable[[list[Entry], int], None], what: str
) -> None:
    entries = fresh(SMALL)
    index = first_of(kind)
    change(entries, index)
    report = found(publish(linked(entries)))
    assert report[0] == index
    assert report[1].startswith(what), report


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "space": lambda raw: raw.replace(b":", b": ", 1),
    "float": lambda raw: raw.replace(b'"index":', b'"index":0.5,"x":', 1),
    "null": lambda raw: raw.replace(b'"statement":{', b'"statement":{"area":null,', 1),
    "duplicate key": lambda raw: raw.replace(b"{", b'{"index":0,', 1),
    "key order": lambda raw: json.dumps(
        dict(reversed(json.loads(raw).items())), separators=(",", ":")
    ).encode(),
    "escape": lambda raw: raw.replace(b'"type"', b'"\\u0074ype"', 1),
    "trailing newline": lambda raw: raw + b"\n",
    "not UTF-8": lambda raw: raw.replace(b'"type"', b'"\xfftype"', 1),
    "control": lambda raw: raw.replace(b'"name":"', b'"name":"\xc2\x85', 1),
    "lone surrogate": lambda raw: raw.replace(b'"name":"', b'"name":"\\ud800', 1),
    "empty object": lambda raw: raw.replace(b'"statement":{', b'"statement":{"goal":{},', 1),
    "nesting": lambda raw: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "large integer": lambda raw: raw.replace(b'"index":', b'"a":9007199254740992,"index":', 1),
}


@pytest.mark.parametrize("change", BYTES.values(), ids=BYTES)
def test_entry_bytes_that_are_not_of_the_format(change: Callable[[bytes], bytes]) -> None:
    entries = linked(fresh(SMALL))
    index = first_of("party")
    entries[index] = change(entries[index])[:65_535]
    assert found(publish(entries)) == (index, "bytes of the entry")


def test_a_broken_link_is_found_after_it() -> None:
    entries = linked(fresh(SMALL))
    entries[7] = entries[7].replace(b".123Z", b".124Z")
    assert found(publish(entries)) == (8, "prev")


def test_an_entry_over_the_limit() -> None:
    entries = fresh(SMALL)
    entries[5]["totals"] = ["x" * 48_000]
    assert found(publish(linked(entries))) == (5, "bytes over the limit")


# --- the end of the log


def test_a_tail_that_was_dropped() -> None:
    good, entries = files(SMALL), linked(fresh(SMALL))
    size, cut = len(entries), len(entries) - 5
    short = publish(entries[:cut])
    bundle, tile = tile_path("entries", 0, size), tile_path(0, 0, size)
    assert found(good | {bundle: short[tile_path("entries", 0, cut)]})[0] == cut
    assert found(good | {tile: short[tile_path(0, 0, cut)]})[0] == cut
    assert found(short | {"/checkpoint": good["/checkpoint"]})[0] == 0  # no such partial tile
    assert check(short).sound  # who never saw more cannot know
    assert found(short, known=good["/checkpoint"]) == (cut, "size")


def test_a_fork_is_found_against_an_older_checkpoint() -> None:
    entries = fresh(SMALL)
    entries[-1]["recorded_at"] = entries[-1]["recorded_at"].replace(".123Z", ".999Z")
    other = publish(linked(entries))
    assert check(other).sound
    assert found(files(LARGE), known=other["/checkpoint"])[1] == f"root at {len(entries)}"


def test_a_root_of_other_leaves() -> None:
    good = files(SMALL)
    size = len(fresh(SMALL))
    lie = checkpoint(size, b"\x01" * 32)
    assert found(good | {"/checkpoint": lie}) == (None, f"root of {size} leaves")


@pytest.mark.parametrize("path", sorted(files(LARGE)))
def test_a_missing_file_is_a_fault(path: str) -> None:
    assert found({p: raw for p, raw in files(LARGE).items() if p != path})[1] == f"GET {path}"


# --- what this verifier does not understand is never sound


@pytest.mark.parametrize("kind", ["currency", "key", "brand_new"])
def test_an_unknown_type_is_not_understood(kind: str) -> None:
    entries = fresh(SMALL)
    platform = "ledger" if kind == "key" else "openhand"
    time = entries[-1]["recorded_at"]
    statement = {"type": kind, "ref": "other"}
    new = {"index": len(entries), "platform": platform, "recorded_at": time}
    report = check(publish(linked([*entries, new | {"statement": statement}])))
    assert report.fault is None
    assert not report.sound
    assert report.not_understood == [(len(entries), f"{kind} statement")]


def test_signatures_without_their_form_are_a_fault() -> None:
    entries = fresh(SMALL)
    party = first_of("party")
    shapes: list[Any] = [[{"party": "openhand", "sig": "AAAA"}], "x", [{"party": "openhand"}]]
    for wrong in shapes:
        entries[party]["signatures"] = wrong
        report = check(publish(linked(entries)))
        assert report.fault is not None
        assert (report.fault.index, report.fault.what) == (party, "invalid")


# --- keys


def vkey(key: bytes, kind: bytes = b"\x01", name: str = ORIGIN) -> str:
    key_id = sha256(name.encode() + b"\n" + kind + key).digest()[:4].hex()
    return f"{name}+{key_id}+{base64.b64encode(kind + key).decode()}"


def test_keys_that_are_refused() -> None:
    key = PUBLIC[1:]
    assert Verifier.parse(vkey(key)).key == key
    bad = [VKEY + "\n", " " + VKEY, VKEY.replace(KEY_ID.hex(), "00000000"), VKEY[:-1], ""]
    bad += [vkey(key, b"\x04"), vkey(key[:-1]), vkey(key, name="a b"), vkey(key, name="")]
    bad += [vkey((1).to_bytes(32, "little")), vkey((2**255 - 18).to_bytes(32, "little"))]
    bad += [vkey((2**255 - 20).to_bytes(32, "little")), vkey(bytes(32)), vkey(b"\xff" * 32)]
    for spelling in bad:
        with pytest.raises(ValueError, match=r"."):
            Verifier.parse(spelling)


def test_a_signature_is_taken_in_one_spelling_only() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    raw = files(SMALL)["/checkpoint"].decode()
    body, line = raw.split("\n\n")
    signature = base64.b64decode(line.split(" ")[2])
    s = int.from_bytes(signature[36:], "little") + order
    longer = base64.b64encode(signature[:36] + s.to_bytes(32, "little")).decode()
    changed = f"{body}\n\n— {ORIGIN} {longer}\n".encode()
    assert found(files(SMALL) | {"/checkpoint": changed})[1].startswith("Ed25519 signature")
