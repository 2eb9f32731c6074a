"""receipt get and receipt verify: a good one, and every forgery there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.tlog.note import SigningKey
from ledger.tlog.proof import TlogProof, parse_proof
from tests.command_line import Site
from tests.simulator import Log, Witness
from tests.support import ORIGIN, PLATFORM, donation


def test_a_receipt_is_the_same_from_a_file_and_from_a_url(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "gift.tlog-proof"
    size = site.amanah("verify", site.server.url, "--json").json["size"]
    for index in (0, 3, size - 1):
        got = site.amanah.really("receipt", "get", site.server.url, index, "-o", path)
        assert (got.code, got.out, got.err) == (0, "", "")
        on_disk = site.amanah("receipt", "get", site.amanah.database, index)
        assert path.read_bytes() == on_disk.out.encode()
        assert site.amanah("receipt", "verify", path, "--vkey", site.vkey).code == 0


def test_a_good_receipt_says_what_it_proves(site: Site, receipt: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(receipt)
    told = site.amanah.really("receipt", "verify", path, "--vkey", site.vkey)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(
        f"VERIFIED: a donation of 1000 IDR to the fund air, posted by {PLATFORM} and recorded at "
    )
    assert f"is entry 3 of {ORIGIN}, under its signed checkpoint of " in told.out
    from_stdin = site.amanah(
        "receipt", "verify", "-", "--vkey", site.vkey, "--json", stdin=receipt.decode()
    )
    document = from_stdin.json
    fields = {"verdict", "origin", "index", "size", "root", "witnesses", "entry"}
    assert document.keys() == fields
    assert (document["verdict"], document["index"]) == ("verified", 3)
    assert document["entry"]["statement"] == donation(ref="gift-0")


def test_a_receipt_for_an_entry_that_is_not_there(site: Site) -> None:
    for source in (site.server.url, site.amanah.database):
        outcome = site.amanah("receipt", "get", source, 10**6)
        assert (outcome.code, outcome.out) == (1, "")
        assert "not_found: there is no entry 1000000 yet; the ledger holds " in outcome.err
        assert site.amanah("receipt", "get", source, -1).code == 2


def test_a_receipt_that_cannot_be_got_leaves_no_file(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "gift.tlog-proof"
    assert site.amanah("receipt", "get", site.server.url, 10**6, "-o", path).code == 1
    assert not path.exists()


def forged(receipt: bytes, **fields: Any) -> bytes:
    proof = parse_proof(receipt)
    return TlogProof(**{**vars(proof), **fields}).format()


def entry_of(receipt: bytes) -> bytes:
    return parse_proof(receipt).extra or b""


def hashes_of(receipt: bytes) -> list[bytes]:
    return parse_proof(receipt).hashes


FORGERIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another index": (lambda r: forged(r, index=2), "the entry says index 3, the proof is of 2"),
    "another entry": (
        lambda r: forged(r, extra=entry_of(r).replace(b'"amount":"1000"', b'"amount":"1001"')),
        "proof_invalid",
    ),
    "another time": (
        lambda r: forged(r, extra=entry_of(r).replace(b'"recorded_at":"20', b'"recorded_at":"19')),
        "proof_invalid",
    ),
    "index and entry alike": (
        lambda r: forged(r, index=2, extra=entry_of(r).replace(b'"index":3', b'"index":2')),
        "proof_invalid",
    ),
    "an index beyond the tree": (
        lambda r: forged(
            r, index=99_999, extra=entry_of(r).replace(b'"index":3', b'"index":99999')
        ),
        "is outside a tree of",
    ),
    "an entry with a space": (
        lambda r: forged(r, extra=entry_of(r).replace(b":", b": ", 1)),
        "malformed",
    ),
    "no entry": (lambda r: forged(r, extra=None), "its `extra` line is missing"),
    "an entry that is none": (lambda r: forged(r, extra=b"hello"), "malformed"),
    "one hash less": (lambda r: forged(r, hashes=hashes_of(r)[:-1]), "too short"),
    "one hash more": (lambda r: forged(r, hashes=[*hashes_of(r), bytes(32)]), "too long"),
    "no hashes": (lambda r: forged(r, hashes=[]), "too short"),
    "hashes in another order": (lambda r: forged(r, hashes=hashes_of(r)[::-1]), "leads to root"),
    "no signature": (lambda r: r.rpartition("— ".encode())[0], "malformed"),
    "a signature by nobody": (
        lambda r: r.replace(f"— {ORIGIN} ".encode(), b"\xe2\x80\x94 nobody.example "),
        "has no signature by a key that the policy lists",
    ),
    "another size": (
        lambda r: forged(
            r,
            checkpoint=parse_proof(r).checkpoint.replace(
                f"{ORIGIN}\n".encode(), f"{ORIGIN}\n1".encode(), 1
            ),
        ),
        "signature_invalid",
    ),
    "cut in the middle": (lambda r: r[: len(r) // 2], "malformed"),
    "a space at the end": (lambda r: r + b" ", "malformed"),
    "a blank line before it": (lambda r: b"\n" + r, "malformed"),
    "CRLF": (lambda r: r.replace(b"\n", b"\r\n"), "malformed"),
    "empty": (lambda r: b"", "malformed"),
    "not a receipt": (lambda r: b"\x89PNG\r\n\x1a\n\0", "malformed"),
}


@pytest.mark.parametrize(("forge", "message"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_receipt_is_refused(
    site: Site, receipt: bytes, tmp_path: Path, forge: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(forge(receipt))
    assert path.read_bytes() != receipt
    told = site.amanah("receipt", "verify", path, "--vkey", site.vkey)
    assert (told.code, told.out) == (1, "")
    assert message in told.err
    assert "\n  can mean: " in told.err
    assert "\n  do next:  " in told.err
    document = site.amanah("receipt", "verify", path, "--vkey", site.vkey, "--json")
    assert document.code == 1
    assert document.json["verdict"] == "wrong"
    assert {"code", "detail", "meaning", "advice"} <= document.json.keys()


def test_any_changed_byte_of_a_receipt_is_refused(
    site: Site, receipt: bytes, tmp_path: Path
) -> None:
    """Real files, each with one byte made another: none of them verifies."""
    path = tmp_path / "gift.tlog-proof"
    for place in range(0, len(receipt), 7):
        path.write_bytes(receipt[:place] + bytes([receipt[place] ^ 1]) + receipt[place + 1 :])
        assert site.amanah("receipt", "verify", path, "--vkey", site.vkey).code == 1, place


def test_a_receipt_of_another_ledger_or_under_another_key(
    site: Site, receipt: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(receipt)
    for name in (ORIGIN, "other.example"):
        stranger = SigningKey.of(name, b"\x01" * 32).verifier
        outcome = site.amanah("receipt", "verify", path, "--vkey", stranger)
        assert (outcome.code, outcome.out) == (1, "")
        assert "signature_invalid" in outcome.err


def test_a_receipt_vouches_for_nothing_by_itself(
    site: Site, receipt: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(receipt)
    outcome = site.amanah("receipt", "verify", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert "a receipt cannot vouch for itself" in outcome.err


def test_a_receipt_under_a_policy(site: Site, receipt: bytes, tmp_path: Path) -> None:
    path, policy = tmp_path / "gift.tlog-proof", tmp_path / "policy"
    path.write_bytes(receipt)
    command = ("receipt", "verify", path, "--policy", policy)
    gov = Witness("gov")
    policy.write_text(f"log {site.vkey}\nwitness gov {gov.key}\nquorum gov\n")
    missing = site.amanah.really(*command)
    assert (missing.code, missing.out) == (4, "")
    assert "not enough for the quorum gov" in missing.err
    assert site.amanah(*command, "--json").json["verdict"] == "not_witnessed"
    log = Log([], SigningKey.of(ORIGIN, bytes(32)))
    gov.cosign(log.serve("checkpoint", parse_proof(receipt).checkpoint))
    path.write_bytes(forged(receipt, checkpoint=log.checkpoint()))
    met = site.amanah(*command, "--json")
    assert met.code == 0
    assert met.json["witnesses"] == ["gov"]
