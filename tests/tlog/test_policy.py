"""Policies: what they list, when they are met, and what they make of a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import FormatError, PolicyError, SignatureError
from ledger.tlog.cosignature import ed25519_message
from ledger.tlog.head import Checkpoint
from ledger.tlog.note import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    Signature,
    SigningKey,
    VerifierKey,
    sign_note,
)
from ledger.tlog.policy import Policy
from tests.support import vectors

POLICIES = vectors("tlog-policy.json")
LOG = SigningKey.of("ledger.example/amanah", bytes(32))
OTHER_LOG = SigningKey.of("other.example", bytes(range(32)))
CHECKPOINT = Checkpoint(LOG.name, 7, bytes(32))
SIGNED = sign_note(CHECKPOINT.text(), LOG)


class Witness:
    """A cosigner of these tests."""

    def __init__(self, number: int) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public = self.private.public_key().public_bytes_raw()
        self.key = VerifierKey.of(f"w{number}.example", ED25519_COSIGNATURE, public)

    def line(self, checkpoint: Checkpoint = CHECKPOINT) -> bytes:
        signed = self.private.sign(ed25519_message(5, checkpoint.text()))
        return Signature(self.key.name, self.key.key_id, bytes(7) + b"\5" + signed).line()


GOV, NGO, CORP, STRANGER = (Witness(number) for number in range(1, 5))
POLICY_TEXT = f"""\
log {LOG.verifier} https://ledger.example/
log {OTHER_LOG.verifier}
witness gov {GOV.key} https://gov.example/
witness ngo {NGO.key}
witness corp {CORP.key}
group sectors 2 gov ngo corp
quorum sectors
"""
POLICY = Policy.parse(POLICY_TEXT)


def named(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", POLICIES["valid"], ids=named)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["str", "bytes"])
def test_policies(case: dict[str, Any], as_bytes: bool) -> None:
    text = case["policy"]
    policy = Policy.parse(text.encode() if as_bytes else text)
    for names in case["meets"]:
        assert policy.met_by(set(names)), names
    for names in case["fails"]:
        assert not policy.met_by(set(names)), names


@pytest.mark.parametrize("case", POLICIES["invalid"], ids=named)
def test_invalid_policies_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        Policy.parse(case["policy"])


MORE_INVALID = {
    "empty file": "",
    "blank line": "\n",
    "log key as cosigner": f"log {GOV.key}\nquorum none\n",
    "log without key": "log\nquorum none\n",
    "log with too much": f"log {LOG.verifier} a b\nquorum none\n",
    "witness without key": "witness gov\nquorum none\n",
    "witness with too much": f"witness gov {GOV.key} a b\nquorum none\n",
    "quorum without name": "quorum\n",
    "quorum with two names": "quorum none none\n",
    "the quorum none twice": "quorum none\nquorum none\n",
    "group without members or threshold": f"witness gov {GOV.key}\ngroup g\nquorum none\n",
    "group named none": f"witness gov {GOV.key}\ngroup none any gov\nquorum none\n",
    "group named as a witness": f"witness gov {GOV.key}\ngroup gov any gov\nquorum gov\n",
    "group in itself": f"witness gov {GOV.key}\ngroup g any g gov\nquorum g\n",
    "huge threshold": f"witness gov {GOV.key}\ngroup g {'9' * 5000} gov\nquorum g\n",
    "threshold in other digits": f"witness gov {GOV.key}\ngroup g \u0661 gov\nquorum g\n",
    "member of two groups": f"witness gov {GOV.key}\ngroup g any gov\ngroup h any gov\nquorum h\n",
    "log defined by a no-break space": f"log\u00a0{LOG.verifier}\nquorum none\n",
    "delete": "quorum none\x7f\n",
    "a space for the last newline": "quorum none ",
    "lone surrogate": "# \ud800\nquorum none\n",
}


@pytest.mark.parametrize("text", MORE_INVALID.values(), ids=MORE_INVALID)
def test_more_invalid_policies_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Policy.parse(text)


def test_an_mldsa44_log_key_is_refused_in_words() -> None:
    key = VerifierKey.of(LOG.name, MLDSA44_COSIGNATURE, bytes(1312))
    with pytest.raises(FormatError, match=r"line 1: .* type 6; a log's key must be Ed25519"):
        Policy.parse(f"log {key}\nquorum none\n")


def test_an_error_names_its_line() -> None:
    with pytest.raises(FormatError, match="line 4: 'wittness'"):
        Policy.parse(f"# a comment\n\nlog {LOG.verifier}\nwittness a b\nquorum none\n")


def test_what_a_policy_lists() -> None:
    policy = Policy.parse(POLICY_TEXT)
    assert policy.logs == (LOG.verifier, OTHER_LOG.verifier)
    assert policy.witnesses == {"gov": GOV.key, "ngo": NGO.key, "corp": CORP.key}
    assert policy.witness_urls == {"gov": "https://gov.example/"}
    assert policy.quorum == "sectors"


@pytest.mark.parametrize("needed", ["1", "2", "3", "4", "all", "any"])
def test_a_group_asks_for_as_many_as_it_has_and_no_more(needed: str) -> None:
    text = POLICY_TEXT.replace("sectors 2", f"sectors {needed}")
    if needed == "4":
        with pytest.raises(FormatError, match="policy line 6: the threshold '4'"):
            Policy.parse(text)
        return
    (group,) = Policy.parse(text).groups
    count = {"all": 3, "any": 1}.get(needed) or int(needed)
    assert group.needed == count
    names = ["gov", "ngo", "corp"]
    assert Policy.parse(text).met_by(names[:count])
    assert not Policy.parse(text).met_by(names[: count - 1])


def test_a_groups_name_does_not_stand_for_its_witnesses() -> None:
    assert not POLICY.met_by({"sectors"})
    assert not POLICY.met_by({"sectors", "gov"})


def test_names_are_octets() -> None:
    policy = Policy.parse(b"witness \xff %b\nquorum \xff\n" % str(GOV.key).encode())
    assert policy.met_by({"\udcff"})
    assert not policy.met_by({"\xff"})


def test_a_no_break_space_is_part_of_a_name() -> None:
    policy = Policy.parse(f"witness a\u00a0b {GOV.key}\nquorum a\u00a0b\n")
    assert policy.met_by({"a\u00a0b"})


def test_32_logs_witnesses_and_groups() -> None:
    lines = [f"log {SigningKey.of('a', bytes([n]) * 32).verifier}" for n in range(32)]
    lines += [f"witness w{n} {Witness(n).key}" for n in range(32)]
    # Each group holds the one before it: only the first witness can carry all the way up.
    lines += ["group g0 any w0"] + [f"group g{n} all g{n - 1} w{n}" for n in range(1, 32)]
    policy = Policy.parse("\n".join([*lines, "quorum g31", ""]))
    everyone = {f"w{n}" for n in range(32)}
    assert policy.met_by(everyone)
    assert not any(policy.met_by(everyone - {name}) for name in everyone)


# --- checkpoints under a policy ------------------------------------------------------------


def test_enough_cosignatures_meet_the_policy() -> None:
    assert POLICY.check(SIGNED + GOV.line() + CORP.line()) == CHECKPOINT


def test_who_cosigned_is_told_below_the_quorum_too() -> None:
    opened = POLICY.open(SIGNED + NGO.line() + STRANGER.line())
    assert opened.checkpoint == CHECKPOINT
    assert opened.witnesses == {"ngo"}
    with pytest.raises(PolicyError, match=r"cosigned by ngo.*sectors"):
        POLICY.check(SIGNED + NGO.line() + STRANGER.line())


def test_a_cosignature_repeated_counts_once() -> None:
    with pytest.raises(PolicyError):
        POLICY.check(SIGNED + NGO.line() + NGO.line())


def test_a_wrong_cosignature_by_a_known_witness_refuses_the_checkpoint() -> None:
    elsewhere = CHECKPOINT._replace(size=8)
    with pytest.raises(SignatureError, match="w3"):
        POLICY.check(SIGNED + GOV.line() + NGO.line() + CORP.line(elsewhere))


def test_a_wrong_cosignature_by_a_stranger_is_passed_over() -> None:
    elsewhere = CHECKPOINT._replace(size=8)
    assert POLICY.check(SIGNED + GOV.line() + NGO.line() + STRANGER.line(elsewhere)) == CHECKPOINT


def test_cosignatures_without_the_logs_signature_are_not_enough() -> None:
    note = CHECKPOINT.text() + b"\n" + GOV.line() + NGO.line() + CORP.line()
    with pytest.raises(SignatureError, match="no signature by a key"):
        POLICY.check(note)


def test_one_log_cannot_speak_for_another() -> None:
    note = sign_note(CHECKPOINT.text(), OTHER_LOG) + GOV.line() + NGO.line()
    with pytest.raises(SignatureError, match="no signature by a key"):
        POLICY.check(note)


def test_a_witness_key_in_the_log_name_is_not_the_log() -> None:
    cosigner = VerifierKey.of(LOG.name, ED25519_COSIGNATURE, GOV.key.public)
    policy = Policy.parse(f"log {LOG.verifier}\nwitness w {cosigner}\nquorum none\n")
    signed = GOV.private.sign(ed25519_message(5, CHECKPOINT.text()))
    line = Signature(LOG.name, cosigner.key_id, bytes(7) + b"\5" + signed).line()
    with pytest.raises(SignatureError, match="no signature by a key"):
        policy.check(CHECKPOINT.text() + b"\n" + line)
    assert policy.open(SIGNED + line).witnesses == {"w"}


def test_a_policy_without_logs_opens_nothing() -> None:
    with pytest.raises(SignatureError, match="no log"):
        Policy.parse("quorum none\n").check(SIGNED)


def test_a_key_alone_is_a_policy() -> None:
    policy = Policy.for_key(LOG.verifier)
    assert policy.check(SIGNED) == CHECKPOINT
    assert policy.met_by(set())
    with pytest.raises(SignatureError):
        Policy.for_key(OTHER_LOG.verifier).check(SIGNED)
    with pytest.raises(FormatError, match="type 1"):
        Policy.for_key(GOV.key)


def test_signed_text_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(FormatError):
        Policy.for_key(LOG.verifier).check(sign_note("hello\n", LOG))
