"""receipt get and receipt verify. What is forged: test_forgeries.py."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import prove_receipt
from ledger.tlog.note import SigningKey
from ledger.tlog.proof import parse_proof
from tests.cli.test_forgeries import forged
from tests.command_line import Amanah, Site
from tests.simulator import Log, Witness, new_log
from tests.support import (
    ORIGIN,
    PLATFORM,
    TIME,
    disbursement,
    donation,
    party,
    refund,
    returned,
    transfer,
)


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
    entry = json.loads(parse_proof(receipt).extra or b"")
    size = int(parse_proof(receipt).checkpoint.splitlines()[1])
    assert told.out == (
        f"VERIFIED: a donor gave 1000 IDR to the fund air on {TIME}, says {PLATFORM}; sealed on "
        f"{entry['recorded_at']} as entry 3 of {ORIGIN}, and checked against its signed "
        f"checkpoint of {size} entries.\n"
    )
    from_stdin = site.amanah(
        "receipt", "verify", "-", "--vkey", site.vkey, "--json", stdin=receipt.decode()
    )
    document = from_stdin.json
    fields = {"verdict", "origin", "index", "size", "root", "witnesses", "entry"}
    assert document.keys() == fields | {"leaf_hash", "proof", "checkpoint"}
    assert (document["verdict"], document["index"]) == ("verified", 3)
    assert document["entry"]["statement"] == donation(ref="gift-0")
    assert document["checkpoint"].encode() == parse_proof(receipt).checkpoint
    details = site.amanah("receipt", "verify", path, "--vkey", site.vkey, "--verbose").out
    hashes = (document["root"], document["leaf_hash"], document["entry"]["prev"])
    assert all(hash_ in details for hash_ in hashes)
    assert f"{len(document['proof'])} hashes, from the leaf hash to the root" in details


def sealed(statement: Any) -> tuple[str, bytes]:
    """The receipt of a statement in a log of its own, and the log's vkey."""
    log = new_log(ORIGIN).append(PLATFORM, statement).seal()
    proof = prove_receipt(log.entries[1], 1, log.note, 2, log.tree.node)
    return str(log.signer.verifier), proof.format()


STORIES: dict[str, tuple[Any, str]] = {
    "an individual": (
        donation(donor={"kind": "individual"}),
        f"an individual gave 1000 IDR to the fund air on {TIME}, says",
    ),
    "an organisation": (
        donation(donor={"kind": "organisation", "party": "bank-a"}),
        "the organisation bank-a gave 1000 IDR to the fund air",
    ),
    "a pool": (donation(donor={"kind": "pooled"}), "several donors together gave 1000 IDR"),
    "a disbursement": (disbursement(), f"the fund air paid 1000 IDR to {PLATFORM} on {TIME}"),
    "a group": (
        disbursement(recipient={"group": "pupils", "count": 40, "area": "Kupang"}),
        "the fund air paid 1000 IDR to a group of 40 (pupils, Kupang)",
    ),
    "a transfer": (
        transfer("air", "gizi"),
        f"the fund air passed 1000 IDR on to the fund gizi on {TIME}",
    ),
    "a refund": (refund(3), "1000 of the donation in entry 3 was given back, says"),
    "a return": (returned(7), "1000 of what entry 7 paid out came back, says"),
    "a party": (party("x"), "a statement of the type party is made, says"),
    "something new": ({"type": "lottery"}, "a statement of the type lottery is made, says"),
    "no type": ({"amount": [1]}, "a statement of the type None is made, says"),
    "nonsense": (
        {"type": "donation", "donor": "me", "amount": ["x"], "currency": 5},
        "a donor gave ['x'] 5 to the fund None, says",
    ),
    "nonsense paid": ({"type": "disbursement", "recipient": 5}, "the fund None paid  to None"),
}


@pytest.mark.parametrize(("statement", "words"), STORIES.values(), ids=STORIES)
def test_what_a_receipt_tells(empty: Amanah, statement: Any, words: str) -> None:
    """A statement that breaks the rules too: that it is sealed is true all the same."""
    vkey, receipt = sealed(statement)
    for options in ((), ("--verbose",), ("--json",)):
        command = ("receipt", "verify", "-", "--vkey", vkey, *options)
        told = empty(*command, stdin=receipt.decode())
        assert (told.code, told.err) == (0, "")
        assert words in told.out or options == ("--json",)


def test_a_receipt_is_verified_before_it_is_written(amanah: Amanah, tmp_path: Path) -> None:
    """A source that does not fit together gives no file, and nothing on stdout."""
    path = tmp_path / "gift.tlog-proof"
    stranger = SigningKey.of(ORIGIN, b"\x01" * 32).verifier
    other_key = amanah("receipt", "get", amanah.database, 2, "-o", path, "--vkey", stranger)
    assert other_key.code == 1
    assert "amanah: signature_invalid: " in other_key.err
    with sqlite3.connect(amanah.database) as connection:
        edit = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), 'IDR', 'USD') AS BLOB)"
        connection.execute(f'{edit} WHERE "index" = 2')
    connection.close()
    for output in (path, "-"):
        edited = amanah("receipt", "get", amanah.database, 2, "-o", output)
        assert (edited.code, edited.out) == (1, "")
        assert "amanah: proof_invalid: inclusion proof of index 2 in size 3 leads to" in edited.err
        assert "do next:  get the receipt again" in edited.err
    assert not path.exists()


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
