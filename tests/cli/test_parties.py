"""Keys of parties on the command line: made, shown, signed with, and no secret told."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ledger.entry import entry_hash
from ledger.service import Ledger
from ledger.tlog.note import VerifierKey
from tests.command_line import Amanah
from tests.signers import acknowledgement
from tests.support import ORIGIN, PLATFORM, disbursement, donation, fund, party

SIGN = ("party", "sign", "--origin", ORIGIN)


@pytest.fixture
def amanah(tmp_path: Path) -> Amanah:
    amanah = Amanah(tmp_path)
    assert amanah("init", "--origin", ORIGIN, "--operator", "Tests").code == 0
    return amanah


def made(amanah: Amanah, party_id: str) -> tuple[Path, str]:
    """The file and the public key of a new key."""
    path = amanah.database.parent / f"{party_id}.key"
    outcome = amanah("party", "keygen", party_id, path)
    assert outcome.code == 0, outcome.err
    return path, outcome.out.removesuffix("\n")


def test_a_key_is_made_and_shown(amanah: Amanah) -> None:
    path, vkey = made(amanah, "yayasan")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert VerifierKey.parse(vkey).name == "yayasan"
    assert amanah("party", "show", path).out == f"{vkey}\n"
    again = amanah("party", "keygen", "yayasan", path)
    assert again.code == 2
    assert amanah("party", "show", path).out == f"{vkey}\n"


@pytest.mark.parametrize("party_id", ["", "Yayasan", "a b", "-a", "x" * 64, "a+b", "a\n"])
def test_a_key_is_of_a_party(amanah: Amanah, party_id: str) -> None:
    path = amanah.database.parent / "a.key"
    assert amanah("party", "keygen", "--", party_id, path).code == 2
    assert not path.exists()


@pytest.mark.parametrize("command", ["show", "sign"])
def test_a_file_that_holds_no_key(amanah: Amanah, command: str) -> None:
    path, _ = made(amanah, "yayasan")
    secret = path.read_text()
    path.write_text(f"{secret[:-9]}\n")
    arguments = (
        ("show", path) if command == "show" else (*SIGN[1:], "--platform", "x", "--key", path)
    )
    outcome = amanah("party", *arguments, stdin=json.dumps(donation()))
    assert (outcome.code, outcome.out) == (2, "")
    assert secret.split("+", 4)[4][:20] not in outcome.err


def test_from_a_key_to_an_acknowledgement(amanah: Amanah) -> None:
    """What one signs, another posts; and approvers sign one after the other."""
    path, vkey = made(amanah, "klinik")
    other, other_vkey = made(amanah, "yayasan")
    statements = [party("klinik", keys=[vkey]), party("yayasan", keys=[other_vkey])]
    for statement, key in zip(statements, (path, other), strict=True):
        options = ("--platform", PLATFORM, "--key", key)
        post = amanah(*SIGN, *options, stdin=json.dumps(statement)).out
        assert amanah("post", "--platform", PLATFORM, stdin=post).code == 0
    approvals = {"from_amount": "1", "needed": 2, "approvers": ["klinik", "yayasan"]}
    purse = fund("air", policy={"approvals": approvals})
    out = disbursement(recipient={"party": "klinik"})
    lines = "".join(json.dumps(s) + "\n" for s in (purse, donation(), out))
    assert "approval_required" in amanah("post", "--platform", PLATFORM, stdin=lines).err
    for key in (path, other, other):
        lines = amanah(*SIGN, "--platform", PLATFORM, "--key", key, stdin=lines).out
    outcome = amanah("post", "--platform", PLATFORM, stdin=lines)
    assert outcome.code == 0, outcome.err
    index, leaf = outcome.out.splitlines()[-1].split()
    said = acknowledgement(int(index), bytes.fromhex(leaf), "klinik")
    wrong = amanah(*SIGN, "--platform", PLATFORM, "--key", other, stdin=json.dumps(said)).out
    assert "signature_required" in amanah("post", "--platform", PLATFORM, stdin=wrong).err
    right = amanah(*SIGN, "--platform", PLATFORM, "--key", path, stdin=json.dumps(said)).out
    assert amanah("post", "--platform", PLATFORM, stdin=right).code == 0
    verified = amanah("verify", amanah.database)
    assert verified.code == 0, verified.err
    for form in ("csv", "jsonl", "hledger", "iati", "360giving"):
        exported = amanah("export", form)
        assert (exported.code, exported.out != "") == (0, True), exported.err


def test_a_platform_that_registers_itself_with_a_key(amanah: Amanah) -> None:
    path, vkey = made(amanah, "juru")
    statement = party("juru", keys=[vkey], signed_only=True)
    post = amanah(*SIGN, "--platform", "juru", "--key", path, stdin=json.dumps(statement)).out
    assert amanah("post", "--platform", "juru", stdin=post).code == 0
    ledger = Ledger.open(amanah.database)
    assert ledger.store.size() == 2
    assert entry_hash(ledger.store.entry_bytes(1))
    ledger.close()
