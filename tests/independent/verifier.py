"""Verify a ledger of format amanah/1 from outside: python verifier.py BASE_URL --vkey VKEY.

Reads /checkpoint, the tiles and the entry bundles (C2SP tlog-tiles), checks the signature, every
hash, every entry's bytes and rules, and adds every total up again. Exit 0: sound; 1: wrong or not
understood; 3: unreachable. A log can only be caught cutting its own tail by someone who kept an
older checkpoint: give it with --known.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import http.client
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if __package__:
    from . import fold, signing
else:  # run as a script
    import fold  # type: ignore[import-not-found,no-redef]
    import signing  # type: ignore[import-not-found,no-redef]

Read = Callable[[str], bytes]  # raises FileNotFoundError for what is not there
TILE_WIDTH = 256
ENTRY_BYTES_MAX, STATEMENT_BYTES_MAX, DEPTH_MAX = 48_000, 16 * 1024, 16
REQUIRED = {"index", "platform", "prev", "recorded_at", "statement"}
ALLOWED = REQUIRED | {"signatures", "totals", "goods"}


class Fault(Exception):
    """Something is wrong: at which entry (None: the checkpoint), what was compared, both values."""

    def __init__(self, index: int | None, what: str, wanted: object, found: object) -> None:
        super().__init__(f"entry {index}: {what}: wanted {wanted}, found {found}")
        self.index, self.what, self.wanted, self.found = index, what, str(wanted), str(found)


@dataclass
class Report:
    """The outcome; `not_understood` lists (index, what) and keeps a log from being sound."""

    origin: str = ""
    size: int = 0
    root: str = ""
    not_understood: list[tuple[int, str]] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def sound(self) -> bool:
        return self.fault is None and not self.not_understood

    def __str__(self) -> str:
        if self.fault:
            where = "checkpoint" if self.fault.index is None else f"entry {self.fault.index}"
            return (
                f"WRONG at {where}: {self.fault.what}\n"
                f"  wanted: {self.fault.wanted}\n  found:  {self.fault.found}"
            )
        head = f"{self.origin}, size {self.size}, root {self.root}"
        lines = [f"  entry {index}: {what}" for index, what in self.not_understood]
        return "\n".join([f"{'NOT UNDERSTOOD' if lines else 'SOUND'}: {head}", *lines])


# --- signed note and checkpoint


def strict_base64(word: str) -> bytes:
    """The bytes of standard base64 in its one spelling; raises ValueError."""
    raw = base64.b64decode(word, validate=True)
    if base64.b64encode(raw).decode() != word:
        raise ValueError(f"not canonical base64: {word!r}")
    return raw


@dataclass(frozen=True)
class Verifier:
    """An Ed25519 verifier key of the C2SP signed-note text."""

    name: str
    key_id: bytes
    key: bytes

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Raises ValueError for anything but a sound key of type 0x01."""
        name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        raw = strict_base64(material)
        if not name or fold.FORBIDDEN.search(name) or re.search(r"\s", name):
            raise ValueError(f"no key name: {name!r}")
        if raw[:1] != b"\x01" or not fold.good_ed25519_key(raw[1:]):
            raise ValueError("not an Ed25519 key of type 0x01, canonical and not of small order")
        if key_id != sha256(name.encode() + b"\n" + raw).digest()[:4].hex():
            raise ValueError(f"the key ID {key_id!r} does not belong to this name and key")
        return cls(name, bytes.fromhex(key_id), raw[1:])

    def signed(self, signature: bytes, message: bytes) -> bool:
        # OpenSSL encodes [S]B - [h]A and compares it with R byte for byte, and refuses S >= L.
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def open_checkpoint(raw: bytes, key: Verifier) -> tuple[int, bytes]:
    """Size and root of a checkpoint that `key` signed; raises Fault."""

    def wrong(what: str, wanted: object, found: object) -> NoReturn:
        raise Fault(None, what, wanted, found)

    try:
        note = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong("encoding of the checkpoint", "UTF-8", error)
    body, gap, signatures = note.rpartition("\n\n")
    if not gap or re.search(r"[\x00-\x09\x0b-\x1f]", note) or signatures[-1:] != "\n":
        wrong("form of the checkpoint", "a signed note", repr(note[:200]))
    body += "\n"
    lines, ours = signatures[:-1].split("\n"), []
    for line in lines:
        match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})", line)
        try:
            signature = strict_base64(match[2]) if match else b""
        except ValueError:
            signature = b""
        if match is None or len(signature) < 5 or len(lines) > 100:
            wrong("signature lines", "at most 100 of `— name base64`", repr(line))
        if (match[1], signature[:4]) == (key.name, key.key_id):
            ours.append(signature[4:])
    if not ours:
        wrong("signatures", f"one by {key.name} {key.key_id.hex()}", lines)
    for signature in ours:
        if not key.signed(signature, body.encode()):
            wrong("Ed25519 signature of the checkpoint", "a valid one", signature.hex())
    origin, size, root, *extensions = body[:-1].split("\n") + [""] * (3 - body.count("\n"))
    if origin != key.name:
        wrong("origin", key.name, origin)
    try:
        root_hash = strict_base64(root)
    except ValueError:
        root_hash = b""
    sized = re.fullmatch(r"0|[1-9][0-9]{0,18}", size, re.ASCII)
    if not sized or len(root_hash) != 32 or not all(extensions):
        wrong("checkpoint text", "origin, size, root of 32 bytes", repr(body))
    return int(size), root_hash


# --- tree


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def tree_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1 over leaf hashes (or over the roots of full subtrees)."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_root(hashes[:split]) + tree_root(hashes[split:])).digest()


def tile_path(level: int | str, n: int, count: int) -> str:
    """The path of tile `n` on a level of `count` hashes."""
    digits = f"{n:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    width = min(TILE_WIDTH, count - n * TILE_WIDTH)
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"/tile/{level}/{'/'.join(['x' + p for p in parts[:-1]] + parts[-1:])}{partial}"


# --- entries


def strict_json(raw: bytes) -> fold.Json:
    """The object in `raw`; raises ValueError when it is not the canonical JSON of this format."""

    def pairs(items: list[tuple[str, Any]]) -> fold.Json:
        if len(dict(items)) < len(items):
            raise ValueError(f"duplicate keys: {[name for name, _ in items]}")
        return dict(items)

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"not an integer: {word}")

    def walk(value: Any, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise ValueError(f"nesting over {DEPTH_MAX}")
        if isinstance(value, str):
            if fold.FORBIDDEN.search(value):
                raise ValueError(f"forbidden character in {value!r}")
        elif isinstance(value, dict | list):
            for name in value if isinstance(value, dict) else ():
                if not name.isascii():
                    raise ValueError(f"key is not ASCII: {name!r}")
                walk(name, depth)
            for inner in value.values() if isinstance(value, dict) else value:
                walk(inner, depth + 1)
            if not value:
                empties.append(value)
        elif value is None or not 0 <= value <= 2**53 - 1:
            raise ValueError(f"not a value of this format: {value}")

    empties: list[object] = []
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=pairs,
            parse_float=refuse,
            parse_constant=refuse,
        )
    except RecursionError:
        raise ValueError(f"nesting over {DEPTH_MAX}") from None
    walk(value, 1)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if fold.canonical(value) != raw:
        raise ValueError(f"the canonical encoding is {fold.canonical(value)[:400]!r}")
    # Empty arrays and objects are only allowed as `policy` and `spans`.
    totals = value["totals"] if isinstance(value.get("totals"), list) else []
    statement = value.get("statement")
    allowed = [t.get("spans") for t in totals if isinstance(t, dict)]
    allowed += [statement.get("policy")] if isinstance(statement, dict) else []
    if len(empties) > sum(item in ({}, []) for item in allowed):
        raise ValueError("an empty array or object")
    return value


class _Audit:
    def __init__(self, read: Read, vkey: str, known: bytes | None) -> None:
        self.read, self.vkey, self.known = read, vkey, known
        self.key = Verifier.parse(vkey)
        self.books: signing.SignedFold | None = signing.SignedFold(parties=set())
        self.report = Report(origin=self.key.name)
        self.recorded_at = ""
        self.leaves: list[bytes] = []

    def fetch(self, path: str, index: int | None) -> bytes:
        try:
            return self.read(path)
        except FileNotFoundError as error:
            raise Fault(index, f"GET {path}", "the bytes the checkpoint calls for", error) from None

    def run(self) -> None:
        size, root = open_checkpoint(self.fetch("/checkpoint", None), self.key)
        self.report.size, self.report.root = size, root.hex()
        if size == 0:
            raise Fault(0, "entry 0", "the genesis statement", "an empty log")
        for n in range(-(-size // TILE_WIDTH)):
            self.bundle(n, size)
        self.upper_tiles(size)
        found = tree_root(self.leaves)
        if found != root:
            raise Fault(None, f"root of {size} leaves", f"{root.hex()} (checkpoint)", found.hex())
        if self.known is not None:
            self.extends(*open_checkpoint(self.known, self.key))

    def extends(self, size: int, root: bytes) -> None:
        if size > self.report.size:
            raise Fault(self.report.size, "size", f"at least {size} (known)", self.report.size)
        found = tree_root(self.leaves[:size])
        if found != root:
            raise Fault(None, f"root at {size}", f"{root.hex()} (known)", found.hex())

    def bundle(self, n: int, size: int) -> None:
        """Entries one by one: each leaf against its tile, then its bytes, links and rules."""
        first = n * TILE_WIDTH
        width = min(TILE_WIDTH, size - first)
        bundle = self.fetch(tile_path("entries", n, size), first)
        tile = self.fetch(tile_path(0, n, size), first)
        at = 0
        for index in range(first, first + width):
            end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
            if len(bundle) < max(end, at + 2):
                raise Fault(index, "length of the entry bundle", f"over {end - 1}", len(bundle))
            leaf = leaf_hash(bundle[at + 2 : end])
            in_tile = tile[(index - first) * 32 : (index - first + 1) * 32]
            if leaf != in_tile:
                raise Fault(index, "leaf hash", f"{in_tile.hex()} (tile)", f"{leaf.hex()} (entry)")
            self.entry(index, bundle[at + 2 : end])
            self.leaves.append(leaf)
            if self.books is not None:
                self.books.leaves.append(leaf.hex())
            at = end
        last = first + width - 1
        if (at, width * 32) != (len(bundle), len(tile)):
            found = f"{len(bundle)}, {len(tile)}"
            raise Fault(last, "lengths of bundle and tile", f"{at}, {width * 32}", found)

    def upper_tiles(self, size: int) -> None:
        level, hashes = 0, self.leaves
        while len(hashes) >= TILE_WIDTH:
            level += 1
            full = len(hashes) // TILE_WIDTH * TILE_WIDTH
            starts = range(0, full, TILE_WIDTH)
            hashes = [tree_root(hashes[i : i + TILE_WIDTH]) for i in starts]
            for n in range(-(-len(hashes) // TILE_WIDTH)):
                wanted = b"".join(hashes[n * TILE_WIDTH : (n + 1) * TILE_WIDTH])
                path = tile_path(level, n, len(hashes))
                first = n * TILE_WIDTH ** (level + 1)
                found = self.fetch(path, first)
                for i in range(0, max(len(wanted), len(found)), 32):
                    if wanted[i : i + 32] != found[i : i + 32]:
                        index = first + i // 32 * TILE_WIDTH**level
                        pair = wanted[i : i + 32].hex(), found[i : i + 32].hex()
                        raise Fault(index, f"hash {i // 32} of {path}", *pair)

    def entry(self, index: int, raw: bytes) -> None:
        try:
            entry = strict_json(raw)
        except ValueError as error:  # also UnicodeError
            raise Fault(index, "bytes of the entry", "canonical JSON", error) from None
        for what, wanted, found in self.shape(index, raw, entry):
            if wanted != found:
                raise Fault(index, what, wanted, found)
        self.recorded_at = entry["recorded_at"]
        statement, platform = entry["statement"], entry["platform"]
        if index == 0:
            self.genesis(statement)
        try:
            totals = self.admit(index, platform, statement, entry)
        except fold.Refused as refusal:
            raise Fault(index, refusal.code, refusal.wanted, refusal.found) from None
        if totals is not None:
            is_goods = statement["type"] in fold.GOODS
            for name, lines in (("totals", not is_goods), ("goods", is_goods)):
                wanted = fold.canonical(totals) if totals and lines else b"none"
                found = fold.canonical(entry[name]) if name in entry else b"none"
                if wanted != found:
                    raise Fault(index, name, wanted.decode(), found.decode())

    def shape(
        self, index: int, raw: bytes, entry: fold.Json
    ) -> Iterator[tuple[str, object, object]]:
        """What every entry has to be, as (what, wanted, found)."""
        names = set(entry)
        yield "required fields", sorted(REQUIRED), sorted(REQUIRED & names)
        yield "fields beyond the format", [], sorted(names - ALLOWED)
        yield "bytes over the limit", 0, max(0, len(raw) - ENTRY_BYTES_MAX)
        yield "index", index, entry["index"] if type(entry["index"]) is int else "no integer"
        yield "prev", self.leaves[-1].hex() if self.leaves else "0" * 64, entry["prev"]
        time = str(entry["recorded_at"])
        yield (
            "recorded_at in UTC with milliseconds",
            True,
            fold.real_instant(time) and len(time) == 24,
        )
        yield "recorded_at, the later of two", max(time, self.recorded_at), time
        yield "type of statement", dict, type(entry["statement"])
        over = len(fold.canonical(entry["statement"])) - STATEMENT_BYTES_MAX
        yield "statement bytes over the limit", 0, max(0, over)
        reference = entry["statement"].get("ref")
        fits = isinstance(reference, str) and re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", reference)
        yield "ref has its pattern", True, bool(fits)
        yield "platform is a text", str, type(entry["platform"])

    def genesis(self, statement: fold.Json) -> None:
        if statement.get("type") != "genesis":
            raise Fault(0, "type of entry 0", "genesis", statement.get("type"))
        if statement.get("origin") != self.key.name:
            raise Fault(0, "origin", self.key.name, statement.get("origin"))
        if self.vkey not in statement.get("vkeys", []):
            raise Fault(0, "vkeys", f"a list with {self.vkey}", statement.get("vkeys"))

    def admit(
        self, index: int, platform: str, statement: fold.Json, entry: fold.Json
    ) -> list[fold.Json] | None:
        """The totals this fold gives; None where it cannot say."""
        if self.books is None:
            return None
        try:
            signatures = entry.get("signatures", ())
            totals: list[fold.Json] = self.books.admit(platform, statement, signatures)
            return totals
        except fold.Refused as refusal:
            if refusal.code == "not_supported":
                self.books.pass_over(platform, statement)
                self.report.not_understood.append((index, f"{refusal.found} statement"))
            elif self.report.not_understood:
                # The refusal may follow from what was not understood: say so, add up no more.
                what = f"{refusal}; nothing after this was added up"
                self.report.not_understood.append((index, what))
                self.books = None
            else:
                raise
        return None


def verify(read: Read, vkey: str, known: bytes | None = None) -> Report:
    """Check the whole log behind `read` (a path like "/checkpoint" to its bytes).

    `known` is an older checkpoint of the same log that this one has to extend. Raises ValueError
    when `vkey` is no sound Ed25519 verifier key, and whatever `read` raises other than
    FileNotFoundError, which counts as a fault of the log.
    """
    audit = _Audit(read, vkey, known)
    try:
        audit.run()
    except Fault as fault:
        audit.report.fault = fault
    return audit.report


def http_reader(base_url: str) -> Read:
    def read(path: str) -> bytes:
        headers = {"Accept-Encoding": "gzip, identity"}
        request = urllib.request.Request(base_url.rstrip("/") + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                body: bytes = answer.read()
                zipped = answer.headers.get("Content-Encoding") == "gzip"
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(f"404 for {path}") from None
            raise
        return gzip.decompress(body) if zipped else body

    return read


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a donation ledger from outside.")
    parser.add_argument("base_url")
    parser.add_argument("--vkey", required=True, help="the log's key, from somewhere you trust")
    parser.add_argument("--known", type=Path, help="a checkpoint of this log kept from before")
    options = parser.parse_args(argv)
    try:
        known = options.known.read_bytes() if options.known else None
        report = verify(http_reader(options.base_url), options.vkey, known)
    except ValueError as error:
        parser.error(str(error))
    except (OSError, http.client.HTTPException) as error:
        print(f"unreachable: {error}", file=sys.stderr)
        return 3
    print(report)
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
