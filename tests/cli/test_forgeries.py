"""Receipts as somebody could forge them, and the reason for which each is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.note import SigningKey, parse_note, sign_note
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.spelling import encode_base64
from tests.command_line import Site
from tests.support import ORIGIN

Forge = Callable[[bytes], bytes]


def forged(receipt: bytes, **fields: Any) -> bytes:
    """The receipt with other fields of `TlogProof`."""
    return TlogProof(**{**vars(parse_proof(receipt)), **fields}).format()


def entry_of(receipt: bytes) -> bytes:
    return parse_proof(receipt).extra or b""


def hashes_of(receipt: bytes) -> list[bytes]:
    return parse_proof(receipt).hashes


def entry(old: bytes, new: bytes) -> Forge:
    """Write something else into the entry."""

    def forge(receipt: bytes) -> bytes:
        assert old in entry_of(receipt)
        return forged(receipt, extra=entry_of(receipt).replace(old, new, 1))

    return forge


def text(old: str, new: str) -> Forge:
    """Write something else into the file, as often as it stands there."""

    def forge(receipt: bytes) -> bytes:
        assert old.encode() in receipt
        return receipt.replace(old.encode(), new.encode())

    return forge


def line(number: int, change: Callable[[str], str]) -> Forge:
    """Change a line of the file, from 0: the header, extra, index, then the hashes."""

    def forge(receipt: bytes) -> bytes:
        lines = receipt.decode().split("\n")
        lines[number] = change(lines[number])
        return "\n".join(lines).encode()

    return forge


def note(change: Callable[[bytes], bytes]) -> Forge:
    """Change the signed checkpoint."""

    def forge(receipt: bytes) -> bytes:
        checkpoint = parse_proof(receipt).checkpoint
        return receipt.removesuffix(checkpoint) + change(checkpoint)

    return forge


def signed_again(origin: str, seed: bytes = b"\x01" * 32, **fields: Any) -> Forge:
    """Put a checkpoint by another key in the place of the log's."""

    def sign(checkpoint: bytes) -> bytes:
        said = parse_checkpoint(parse_note(checkpoint).text)
        text = Checkpoint(origin, said.size, said.root)._replace(**fields).text()
        return sign_note(text, SigningKey.of(origin, seed))

    return note(sign)


def signature(change: Callable[[bytes], bytes]) -> Forge:
    """Change the bytes of the signature, which follow the four of the key ID."""

    def forge(checkpoint: bytes) -> bytes:
        parsed = parse_note(checkpoint)
        old = parsed.signatures[0]
        return parsed._replace(signatures=[old._replace(signature=change(old.signature))]).format()

    return note(forge)


def flip(data: bytes, place: int = 0) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def with_dashes(prefix: str) -> Forge:
    return text("— ", prefix)


ELSEWHERE = "inclusion proof of index 3 in size "
WRONG_SIGNATURE = f"the signature of '{ORIGIN}' (key ID "
NO_KEY = "has no signature by a key that the policy lists for it"

FORGERIES: dict[str, tuple[Forge, str]] = {
    # the entry
    "another amount": (entry(b'"amount":"1000"', b'"amount":"9000"'), ELSEWHERE),
    "another fund": (entry(b'"fund":"air"', b'"fund":"aid"'), ELSEWHERE),
    "another platform": (entry(b'"platform":"kita"', b'"platform":"kami"'), ELSEWHERE),
    "another time": (entry(b'"recorded_at":"20', b'"recorded_at":"19'), ELSEWHERE),
    "another entry before": (
        lambda r: forged(r, extra=re.sub(rb'"prev":"\w+', b'"prev":"' + b"0" * 64, entry_of(r))),
        ELSEWHERE,
    ),
    "another balance": (entry(b'"balance":"', b'"balance":"9'), ELSEWHERE),
    "one field more": (entry(b'"type":"donation"', b'"type":"donation","x":1'), ELSEWHERE),
    "index and entry alike": (
        lambda r: forged(r, index=2, extra=entry_of(r).replace(b'"index":3', b'"index":2')),
        "inclusion proof of index 2 in size ",
    ),
    "a space in it": (entry(b":", b": "), "the entry is not in canonical form"),
    "its keys in another order": (
        entry(b'{"index":3,"platform":"kita"', b'{"platform":"kita","index":3'),
        "the entry is not in canonical form",
    ),
    "a key twice": (entry(b'"index":3', b'"index":3,"index":3'), "stands twice in one object"),
    "a number as amount": (entry(b'"1000"', b"1000.5"), "1000.5 is not a whole number"),
    "null": (entry(b'"amount":"1000"', b'"amount":null'), "null is not allowed"),
    "a hidden character": (
        entry(b'"ref":"gift-0"', '"ref":"gift\u202e-0"'.encode()),
        "the character U+202E is not allowed",
    ),
    "no UTF-8": (entry(b'"ref":"gift-0"', b'"ref":"gift-\xff"'), "not UTF-8"),
    "a byte order mark": (lambda r: forged(r, extra=b"\xef\xbb\xbf" + entry_of(r)), "not JSON"),
    "something behind it": (
        lambda r: forged(r, extra=entry_of(r) + b"{}"),
        "something follows the JSON document",
    ),
    "a field less": (
        entry(b'"recorded_at"', b'"recorded_on"'),
        "an entry has the fields index, platform, prev, recorded_at, statement",
    ),
    "an index in words": (entry(b'"index":3', b'"index":"3"'), "the index is not an integer"),
    "a prev in capitals": (entry(b'"prev":"', b'"prev":"A'), "prev is not 64 lower-case hex"),
    "a time that is none": (entry(b'"recorded_at":"20', b'"recorded_at":"2'), "not a real time"),
    "a statement that is none": (
        lambda r: forged(r, extra=entry_of(r).partition(b'{"amount')[0] + b"5}"),
        "the statement is not an object",
    ),
    "an entry that is too long": (lambda r: forged(r, extra=bytes(48_001)), "at most 48000"),
    "an entry that is none": (lambda r: forged(r, extra=b"hello"), "not JSON"),
    "no entry": (lambda r: forged(r, extra=None), "its `extra` line is missing"),
    # the proof
    "another index": (lambda r: forged(r, index=2), "the entry says index 3, the proof is of 2"),
    "an index beyond the tree": (
        lambda r: forged(r, index=99_999, extra=entry_of(r).replace(b":3,", b":99999,", 1)),
        "index 99999 is outside a tree of",
    ),
    "one hash less": (lambda r: forged(r, hashes=hashes_of(r)[:-1]), "too short for size"),
    "one hash more": (lambda r: forged(r, hashes=[*hashes_of(r), bytes(32)]), "is too long"),
    "no hashes": (lambda r: forged(r, hashes=[]), "of 0 hashes is too short"),
    "hashes in another order": (lambda r: forged(r, hashes=hashes_of(r)[::-1]), ELSEWHERE),
    "another hash": (lambda r: forged(r, hashes=[bytes(32), *hashes_of(r)[1:]]), ELSEWHERE),
    "the same hash twice": (
        lambda r: forged(r, hashes=[hashes_of(r)[0], *hashes_of(r)[:-1]]),
        ELSEWHERE,
    ),
    "a short hash": (line(3, lambda hash_: encode_base64(bytes(31))), "31 bytes, not 32"),
    "a hash in hex": (line(3, lambda hash_: "00" * 32), "48 bytes, not 32"),
    "a hash spelled otherwise": (line(3, lambda hash_: hash_.rstrip("=")), "base64"),
    "64 hashes": (line(3, lambda hash_: "\n".join([hash_] * 64)), "more than 63"),
    # the file
    "an index with a zero before it": (line(2, lambda index: "index 03"), "tlog-proof index"),
    "an index below zero": (line(2, lambda index: "index -3"), "tlog-proof index"),
    "no index": (line(2, lambda index: "index"), "has no index line where one is due"),
    "two entries": (line(1, lambda extra: f"{extra}\n{extra}"), "has no index line"),
    "an entry spelled otherwise": (line(1, lambda extra: extra + "="), "tlog-proof extra"),
    "another version": (text("@v1", "@v2"), "begins with 'c2sp.org/tlog-proof@v2'"),
    "a blank line before it": (lambda r: b"\n" + r, "begins with ''"),
    "CRLF": (text("\n", "\r\n"), "no blank line before its checkpoint"),
    "a space at the end": (lambda r: r + b" ", "not in a newline"),
    "cut in the middle": (lambda r: r[: r.index(b"\n\n")], "no blank line before its checkpoint"),
    "empty": (lambda r: b"", "no blank line before its checkpoint"),
    "not a receipt": (lambda r: b"\x89PNG\r\n\x1a\n\0", "no blank line before its checkpoint"),
    # the checkpoint
    "another size": (note(lambda n: n.replace(b"\n", b"\n1", 1)), WRONG_SIGNATURE),
    "another root": (signed_again(ORIGIN, root=bytes(32)), NO_KEY),
    "a line more": (note(lambda n: n.replace(b"\n\n", b"\nmore\n\n")), WRONG_SIGNATURE),
    "another signature": (signature(flip), WRONG_SIGNATURE),
    "half a signature": (signature(lambda s: s[:32]), WRONG_SIGNATURE),
    "a signature by nobody": (text(f"— {ORIGIN} ", "— nobody.example "), NO_KEY),
    "a signature by another key of that name": (signed_again(ORIGIN), NO_KEY),
    "another log and its key": (signed_again("x.example"), "checkpoint of 'x.example' has no"),
    "no signature": (lambda r: r.rpartition("— ".encode())[0], "0 signature lines, not 1 to 100"),
    "a plain dash before it": (with_dashes("- "), "does not begin with an em dash"),
    "a size with a zero before it": (
        note(lambda n: n.replace(b"\n", b"\n0", 1)),
        "checkpoint size",
    ),
    "two checkpoints": (note(lambda n: n + b"\n" + n), "checkpoint has an empty line, line 4"),
}


def test_there_are_many_of_them() -> None:
    assert len(FORGERIES) >= 30


@pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_receipt_is_refused_for_its_own_reason(
    site: Site, receipt: bytes, tmp_path: Path, forge: Forge, reason: str
) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(forge(receipt))
    assert path.read_bytes() != receipt
    told = site.amanah("receipt", "verify", path, "--vkey", site.vkey)
    assert (told.code, told.out) == (1, "")
    assert reason in told.err
    assert "\n  can mean: " in told.err
    assert "\n  do next:  " in told.err
    document = site.amanah("receipt", "verify", path, "--vkey", site.vkey, "--json")
    assert document.code == 1
    assert document.json["verdict"] == "wrong"
    assert {"code", "detail", "meaning", "advice"} <= document.json.keys()


def log_key(site: Site) -> SigningKey:
    """The log's own key, as a thief of it would have it."""
    return SigningKey.parse(Path(f"{site.amanah.database}.log-key").read_text().removesuffix("\n"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"size": 3}, "index 3 is outside a tree of 3"),
        ({"size": 4}, "inclusion proof of "),
        ({"root": bytes(32)}, ELSEWHERE),
    ],
    ids=["an older checkpoint", "one of another size", "one of another root"],
)
def test_a_checkpoint_of_the_log_s_own_key_that_does_not_cover_the_entry(
    site: Site, receipt: bytes, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "gift.tlog-proof"
    key = log_key(site)

    def sign(checkpoint: bytes) -> bytes:
        said = parse_checkpoint(parse_note(checkpoint).text)
        return sign_note(said._replace(**fields).text(), key)

    path.write_bytes(note(sign)(receipt))
    told = site.amanah("receipt", "verify", path, "--vkey", site.vkey)
    assert (told.code, told.out) == (1, "")
    assert f"amanah: proof_invalid: {reason}" in told.err


def test_a_true_entry_under_the_proof_of_another(
    site: Site, receipt: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "gift.tlog-proof"
    other = site.amanah("receipt", "get", site.server.url, 2).out.encode()
    path.write_bytes(forged(receipt, extra=entry_of(other)))
    told = site.amanah("receipt", "verify", path, "--vkey", site.vkey)
    assert "the entry says index 2, the proof is of 3" in told.err
    path.write_bytes(forged(other, hashes=hashes_of(receipt)))
    told = site.amanah("receipt", "verify", path, "--vkey", site.vkey)
    assert "inclusion proof of index 2 in size " in told.err
