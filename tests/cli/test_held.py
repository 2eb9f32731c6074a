"""verify --checkpoint: what a donor or a newspaper holds, against the log of today."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.tlog.note import SigningKey
from ledger.tlog.proof import parse_proof
from tests.command_line import Amanah, Site, lines
from tests.simulator import Log
from tests.support import ORIGIN, PLATFORM, donation


@pytest.fixture
def grown(amanah: Amanah) -> Amanah:
    gifts = lines(*(donation(ref=f"gift-{n}") for n in range(30)))
    assert amanah("post", "--platform", PLATFORM, stdin=gifts).code == 0
    assert amanah("export", amanah.database.with_name("out")).code == 0
    return amanah


def log_of(amanah: Amanah) -> Log:
    from ledger.service import Ledger

    ledger = Ledger.open(amanah.database)
    log = Log.of(ledger)
    ledger.close()
    return log


@pytest.fixture
def held(grown: Amanah, tmp_path: Path) -> Path:
    return tmp_path / "held"


def targets(amanah: Amanah) -> tuple[Path, Path]:
    return amanah.database, amanah.database.with_name("out")


@pytest.mark.parametrize("size", [1, 2, 16, 32, 33])
def test_a_checkpoint_that_was_handed_out_is_extended(grown: Amanah, held: Path, size: int) -> None:
    held.write_bytes(log_of(grown).roll_back(size).note)
    for target in targets(grown):
        assert grown("verify", target, "--checkpoint", held).code == 0


def test_a_receipt_is_as_good_as_its_checkpoint(site: Site, receipt: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(receipt)
    note = tmp_path / "checkpoint"
    note.write_bytes(parse_proof(receipt).checkpoint)
    both = ("--checkpoint", path, "--checkpoint", note)
    assert site.amanah.really("verify", site.server.url, *both).code == 0


@pytest.mark.parametrize("size", [2, 16, 33])
def test_a_checkpoint_of_another_history_proves_it_wrong(
    grown: Amanah, held: Path, size: int
) -> None:
    held.write_bytes(log_of(grown).roll_back(size).edit(1, platform="x").seal().note)
    for target in targets(grown):
        verdict = grown("verify", target, "--checkpoint", held, "--json")
        assert verdict.code == 1
        assert verdict.json["index"] == size - 1
        assert verdict.json["compared"] == f"root at size {size}, against the checkpoint in {held}"


def test_a_checkpoint_that_is_longer_shows_what_was_cut_off(grown: Amanah, held: Path) -> None:
    held.write_bytes(log_of(grown).append(PLATFORM, donation(ref="new")).refold().seal().note)
    for target in targets(grown):
        told = grown("verify", target, "--checkpoint", held)
        assert (told.code, told.out) == (1, "")
        assert f"index 33: size, against the checkpoint in {held}" in told.err
        assert "expected: at least 34" in told.err


def test_of_several_the_worst_decides(grown: Amanah, held: Path, tmp_path: Path) -> None:
    held.write_bytes(log_of(grown).note)
    forged = tmp_path / "forged"
    forged.write_bytes(log_of(grown).roll_back(9).edit(1, platform="x").seal().note)
    for files in ((held, forged), (forged, held)):
        options = [option for file in files for option in ("--checkpoint", file)]
        verdict = grown("verify", grown.database, *options, "--json")
        assert (verdict.code, verdict.json["index"]) == (1, 8)


def stranger(name: str) -> SigningKey:
    return SigningKey.of(name, b"\x01" * 32)


NO_EVIDENCE = {
    "another key": (lambda log: log.publish(stranger(ORIGIN)).note, "signature_invalid"),
    "another origin": (lambda log: log.publish(stranger("x.example")).note, "signature_invalid"),
    "a changed size": (lambda log: log.note.replace(b"\n33\n", b"\n32\n"), "signature_invalid"),
    "no signature": (lambda log: log.note.partition("—".encode())[0], "malformed"),
    "a photograph": (lambda log: b"\x89PNG\r\n\x1a\n\0", "malformed"),
    "half a receipt": (lambda log: b"c2sp.org/tlog-proof@v1\nindex 0\n", "malformed"),
    "nothing": (lambda log: b"", "malformed"),
}


@pytest.mark.parametrize(("make", "code"), NO_EVIDENCE.values(), ids=NO_EVIDENCE)
def test_what_the_log_did_not_sign_is_no_evidence(
    grown: Amanah, held: Path, make, code: str
) -> None:
    held.write_bytes(make(log_of(grown)))
    told = grown.really("verify", grown.database, "--checkpoint", held)
    assert (told.code, told.out) == (1, "")
    assert f"amanah: {code}: " in told.err
    assert f"{held}, given with --checkpoint: " in told.err
    verdict = grown("verify", grown.database, "--checkpoint", held, "--json")
    assert (verdict.json["verdict"], verdict.json["code"]) == ("wrong", code)
    assert str(held) in verdict.json["detail"]


def test_a_checkpoint_file_that_is_not_there(grown: Amanah) -> None:
    assert grown("verify", grown.database, "--checkpoint", "no-such-file").code == 2


def test_a_checkpoint_of_another_log_of_the_same_policy(grown: Amanah, held: Path) -> None:
    other = stranger("x.example")
    held.write_bytes(Log([b"entry"], other).note)
    policy = held.with_name("policy")
    key = log_of(grown).signer.verifier
    policy.write_text(f"log {key}\nlog {other.verifier}\nquorum none\n")
    told = grown("verify", grown.database, "--policy", policy, "--checkpoint", held)
    assert told.code == 1
    assert f"it is a checkpoint of x.example, not of {ORIGIN}" in told.err
