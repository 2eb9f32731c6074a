"""What parties with keys can do: rotate them, approve, own, acknowledge, attest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import signatures
from ledger.audit import audit
from ledger.errors import Refusal
from ledger.service import Ledger
from ledger.signing import PartyKey, canonical, signed_text
from ledger.store.rebuild import Comparison
from ledger.tlog import ed25519
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.note import SigningKey, VerifierKey, parse_note
from ledger.tlog.policy import Policy
from tests.signers import Post, acknowledgement, attestation, key, keyed, signed
from tests.support import (
    PLATFORM,
    Statement,
    disbursement,
    donation,
    fund,
    goods,
    party,
    refund,
    report,
    returned,
    transfer,
    vectors,
)

OTHER = "lain"
EVIDENCE = [{"sha256": "ab" * 32, "media_type": "application/pdf", "bytes": 5}]


class Desk:
    """Posts one thing after the other, and audits in the end."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, post: Post | Statement, platform: str = PLATFORM) -> int:
        [sealed] = self.ledger.post(platform, [post]).entries
        return sealed.index

    def refused(self, post: Post | Statement, platform: str = PLATFORM) -> str:
        with pytest.raises(Refusal) as caught:
            self(post, platform)
        return caught.value.code

    def leaf(self, index: int) -> bytes:
        leaf = self.ledger.store.state().leaf_hash(index)
        assert leaf is not None
        return leaf


@pytest.fixture
def desk(ledger: Ledger) -> Iterator[Desk]:
    for platform in (PLATFORM, OTHER):
        ledger.register_platform(platform)
    yield Desk(ledger)
    assert audit(ledger.store, Policy.for_key(ledger.vkeys[0])).is_sound
    comparison = Comparison(ledger.store.paths.database)
    note = comparison.note()
    comparison.derive(parse_checkpoint(parse_note(note).text), note, lambda done, size: None)
    for table in ("parties", "key_owners", "acknowledged", "undone", "funds", "stocks"):
        assert comparison.table(table) is None
    comparison.close()


# -- the signed text


@pytest.mark.parametrize("case", vectors("statement-signatures.json"), ids=lambda c: c["case"])
def test_vectors(case: dict[str, str]) -> None:
    """Made once with another implementation of Ed25519; see tests/vectors/README.md."""
    statement = json.loads(case["statement"])
    text = signed_text(case["origin"], case["platform"], case["party"], canonical(statement))
    assert text == case["text"].encode()
    signer = PartyKey.of(case["party"], bytes.fromhex(case["seed"]))
    assert signer.vkey == case["vkey"]
    made = signer.sign(statement, case["origin"], case["platform"])
    assert made == {"party": case["party"], "sig": case["sig"]}
    meant = signatures.key_meant(made, [case["vkey"]])
    assert meant is not None
    assert signatures.has_signed(meant, made, text)
    assert not signatures.has_signed(meant, made, text + b" ")


def test_a_party_key_is_a_key_of_signed_notes() -> None:
    """So that other people's tools can use it."""
    ours = key("yayasan")
    theirs = SigningKey.parse(str(ours))
    assert str(theirs) == str(ours)
    assert str(theirs.verifier) == ours.vkey
    assert PartyKey.parse(str(ours)) == ours
    assert VerifierKey.parse(PartyKey.generate("desa").vkey).name == "desa"
    text = b"a\n"
    theirs.verifier.verify(text, SigningKey.parse(str(ours)).signature(text).signature)


@pytest.mark.parametrize("change", ["", "x", "PRIVATE+KEY+a+b", "+", "\n"])
def test_a_secret_key_has_one_spelling(change: str) -> None:
    text = str(key("yayasan"))
    with pytest.raises(ValueError, match="secret key of a party") as caught:
        PartyKey.parse(change if len(change) > 1 else text + change + " " * (not change))
    assert text.rpartition("+")[2] not in str(caught.value)
    assert text not in repr(key("yayasan"))


# -- parties


def test_keys_are_added_rotated_and_given_up(desk: Desk) -> None:
    first = desk(party("yayasan"))
    add = keyed("yayasan", 0, 1, ref="2", supersedes=first)
    assert desk.refused(signed(add, key("yayasan", 0))) == "signature_required"
    second = desk(signed(add, key("yayasan", 0), key("yayasan", 1)))
    rotate = keyed("yayasan", 1, 2, ref="3", supersedes=second)
    assert desk.refused(signed(rotate, key("yayasan", 2))) == "signature_required"
    # From now on, who posts it does not matter.
    post = signed(rotate, key("yayasan", 0), key("yayasan", 2), platform=OTHER)
    third = desk(post, OTHER)
    assert desk.refused(signed(donation("air"), key("yayasan", 0))) == "unknown_reference"
    drop = party("yayasan", ref="4", supersedes=third)
    assert desk.refused(signed(drop, key("yayasan", 0))) == "signature_invalid"
    fourth = desk(signed(drop, key("yayasan", 1)))
    # Without keys, it is with its first registrar again.
    back = party("yayasan", ref="5", supersedes=fourth)
    assert desk.refused(back, OTHER) == "forbidden"
    fifth = desk(back)
    # A key that was its own once may come back, with proof; nobody else ever has it.
    old = key("yayasan", 0)
    thief = PartyKey.of("palsu", old._seed)
    assert desk.refused(signed(party("palsu", keys=[thief.vkey]), thief)) == "key_taken"
    desk(signed(keyed("yayasan", 0, ref="6", supersedes=fifth), old))


def test_a_platform_registers_itself_with_its_key(desk: Desk) -> None:
    itself = keyed("juru", signed_only=True)
    assert desk.refused(itself, "juru") == "signature_required"
    desk(signed(itself, "juru", platform="juru"), "juru")
    assert desk.refused(party("teman"), "juru") == "signature_required"
    desk(signed(party("teman"), "juru", platform="juru"), "juru")


def test_a_key_that_comes_twice_in_one_batch_is_the_first_ones(desk: Desk) -> None:
    twin = PartyKey.of("dua", key("satu")._seed)
    posts = [signed(keyed("satu"), "satu"), signed(party("dua", keys=[twin.vkey]), twin)]
    with pytest.raises(Refusal, match="belongs to the party 'satu'"):
        desk.ledger.post(PLATFORM, posts)
    desk.ledger.post(PLATFORM, posts[:1])


def test_a_replay_needs_no_signature(desk: Desk) -> None:
    post = signed(keyed("yayasan"), "yayasan")
    index = desk(post)
    assert desk(post) == index
    assert desk(post["statement"]) == index


# -- funds


def test_a_fund_is_its_owners(desk: Desk) -> None:
    desk(signed(keyed("yayasan"), "yayasan"))
    first = desk(fund("air", owner="yayasan"))
    # A title is the registrar's to change, or the owner's by whatever platform.
    second = desk(fund("air", owner="yayasan", ref="2", title="Air bersih", supersedes=first))
    post = fund("air", owner="yayasan", ref="3", supersedes=second)
    assert desk.refused(post, OTHER) == "forbidden"
    third = desk(signed(post, "yayasan", platform=OTHER), OTHER)
    opened = fund("air", owner="yayasan", ref="4", platforms=[OTHER, PLATFORM], supersedes=third)
    assert desk.refused(opened) == "signature_required"
    fourth = desk(signed(opened, "yayasan"))
    # Platforms in another order are the same platforms.
    same = opened | {"ref": "5", "platforms": [PLATFORM, OTHER], "supersedes": fourth}
    desk(same)


POLICY = {
    "approvals": {"from_amount": "500", "needed": 2, "approvers": ["satu", "dua", "tiga"]},
    "evidence_from_amount": "700",
}


@pytest.fixture
def approved(desk: Desk) -> Desk:
    """A desk with the funds air, which needs approvals, and desa; 3,000 are in air."""
    for name in ("satu", "dua", "tiga", "desa"):
        desk(signed(keyed(name), name))
    desk(fund("air", policy=POLICY))
    desk(fund("desa", owner="desa"))
    desk(donation("air", "gift", amount="1000"))
    desk(donation("air", "gift-2", amount="2000"))
    return desk


def test_money_moves_with_enough_approvals(approved: Desk) -> None:
    desk = approved
    desk(disbursement("air", "small", amount="499.99"))
    big = disbursement("air", "big", amount="500")
    assert desk.refused(signed(big, "satu")) == "approval_required"
    desk(signed(big, "satu", "tiga"))
    share = transfer("air", "desa", "share", amount="700")
    assert desk.refused(share) == "approval_required"
    assert desk.refused(signed(share, "satu", "dua")) == "evidence_required"
    desk(signed(share | {"evidence": EVIDENCE}, "satu", "dua"))


def test_what_a_donor_gave_goes_back_unasked_and_no_more(approved: Desk) -> None:
    desk = approved
    desk(refund(desk.ledger.store.index_of_ref(PLATFORM, "gift-2") or 0, "back", amount="2000"))
    desk(signed(disbursement("air", "spent", amount="600"), "satu", "dua"))
    desk(donation("air", "gift-3", amount="1000"))
    gift = desk.ledger.store.index_of_ref(PLATFORM, "gift") or 0
    # 400 of it are unspent; beyond that, 499.99 of others' money pass, and 500 do not.
    assert desk.refused(refund(gift, "more", amount="900")) == "approval_required"
    desk(refund(gift, "most", amount="899.99"))


def test_a_policy_changes_by_its_own_approvals(approved: Desk) -> None:
    desk = approved
    at = desk.ledger.store.fund("air").index
    assert desk.refused(fund("air", ref="2", supersedes=at)) == "approval_required"
    desk(fund("air", ref="2", title="Air bersih", policy=POLICY, supersedes=at))
    at = desk.ledger.store.fund("air").index
    spelled = POLICY | {"evidence_from_amount": "700.00"}  # is the same amount
    desk(fund("air", ref="3", policy=spelled, supersedes=at))
    at = desk.ledger.store.fund("air").index
    desk(signed(fund("air", ref="4", supersedes=at), "dua", "tiga"))
    desk(disbursement("air", "big", amount="2500"))


# -- acknowledgements


@pytest.fixture
def shared(desk: Desk) -> tuple[Desk, int]:
    """A transfer of 300 from air to desa, which belongs to a party with keys."""
    for name in ("desa", "kota"):
        desk(signed(keyed(name), name))
    desk(fund("air"))
    desk(fund("desa", owner="desa"))
    desk(donation("air", "gift"))
    return desk, desk(transfer("air", "desa", amount="300"))


def said(desk: Desk, target: int, ref: str, status: str, by: str = "desa", **more: str) -> Post:
    leaf = desk.leaf(target)
    return signed(acknowledgement(target, leaf, by, ref, status=status, **more), by)


def test_the_newest_acknowledgement_counts(shared: tuple[Desk, int]) -> None:
    desk, share = shared
    desk(returned(share, "back-0", amount="10"))
    desk(said(desk, share, "1", "partial", amount="299.99"))
    assert desk.refused(returned(share, "back-1", amount="10")) == "signature_required"
    desk(signed(returned(share, "back-1", amount="10"), "desa"))
    desk(said(desk, share, "2", "disputed"))
    desk(returned(share, "back-2", amount="10"))
    desk(said(desk, share, "3", "received"))
    assert desk.refused(returned(share, "back-3", amount="10")) == "signature_required"
    kept = desk.ledger.store.state().movement(share)
    assert kept is not None
    assert (kept.is_received, kept.undone) == (True, 3_000)


def test_a_fund_that_changed_hands(shared: tuple[Desk, int]) -> None:
    desk, share = shared
    at = desk.ledger.store.fund("desa").index
    desk(signed(fund("desa", owner="kota", ref="2", supersedes=at), "desa"))
    assert desk.refused(said(desk, share, "1", "received")) == "forbidden"
    desk(said(desk, share, "1", "received", by="kota"))
    assert desk.refused(signed(returned(share, amount="10"), "desa")) == "signature_required"
    desk(signed(returned(share, amount="10"), "kota"))


def test_any_platform_may_bring_it(shared: tuple[Desk, int]) -> None:
    desk, share = shared
    statement = acknowledgement(share, desk.leaf(share), "desa")
    desk(signed(statement, "desa", platform=OTHER), OTHER)


def test_an_acknowledgement_of_what_is_sealed_beside_it(shared: tuple[Desk, int]) -> None:
    """Nobody can know that leaf hash before."""
    desk, _ = shared
    target = desk.ledger.store.size()
    posts = [
        disbursement("air", "paid", amount="1", recipient={"party": "desa"}),
        signed(acknowledgement(target, bytes(32), "desa"), "desa"),
    ]
    with pytest.raises(Refusal, match="not the leaf hash"):
        desk.ledger.post(PLATFORM, posts)


def test_goods_are_acknowledged_by_who_got_them(desk: Desk) -> None:
    desk(signed(keyed("klinik"), "klinik"))
    desk(fund("air"))
    desk(goods("goods_in", "air", "in", "5"))
    group = {"group": "ibu", "count": 3, "area": "Bima"}
    to_group = desk(goods("goods_out", "air", "out-1", "1", recipient=group))
    to_party = desk(goods("goods_out", "air", "out-2", "2", recipient={"party": "klinik"}))
    assert desk.refused(said(desk, to_group, "1", "received", by="klinik")) == "wrong_target"
    # Half of the rice is no amount of money.
    half = said(desk, to_party, "1", "partial", by="klinik", amount="1")
    assert desk.refused(half) == "exceeds_original"
    assert desk.refused(returned(to_party, amount="1")) == "wrong_target"
    desk(said(desk, to_party, "1", "partial", by="klinik"))


def test_a_report_by_a_party_that_signs_all(desk: Desk) -> None:
    desk(signed(keyed("klinik", signed_only=True), "klinik"))
    desk(fund("air"))
    statement = report(by="klinik", fund="air")
    assert desk.refused(statement) == "signature_required"
    desk(signed(statement, "klinik"))


# -- attestations


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300])
def test_any_earlier_size_can_be_attested(desk: Desk, size: int) -> None:
    desk(signed(keyed("auditor"), "auditor"))
    desk(fund("air"))
    have = desk.ledger.store.size()
    desk.ledger.post(PLATFORM, [donation("air", f"gift-{n}") for n in range(have, 300)])
    root = desk.ledger.store.state().root_at(size)
    assert root is not None
    note = parse_checkpoint(parse_note(desk.ledger.store.checkpoint()).text)
    assert size < 300 or note.root == root
    statement = attestation(size, root, "auditor", scope_funds=["air"], evidence=EVIDENCE)
    desk(signed(statement, "auditor"))


def test_a_log_of_many_attestations(desk: Desk, tmp_path: Path) -> None:
    """Roots within what is being made anew, and behind it."""
    desk(signed(keyed("auditor"), "auditor"))
    desk(fund("air"))
    for number in range(6):
        desk.ledger.post(PLATFORM, [donation("air", f"{number}-{n}") for n in range(200)])
        size = desk.ledger.store.size()
        root = desk.ledger.store.state().root_at(size)
        assert root is not None
        desk(signed(attestation(size, root, "auditor", f"a{number}"), "auditor"))


# -- what is remembered


def test_what_the_door_verified_is_not_verified_under_the_lock(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes] = []
    real = ed25519.verify

    def verify(public: bytes, signature: bytes, text: bytes) -> None:
        verified.append(text)
        real(public, signature, text)

    monkeypatch.setattr(ed25519, "verify", verify)
    desk(signed(keyed("pernah"), "pernah"))
    desk(signed(donation_of(desk), "pernah"))
    assert len(verified) == 2
    assert desk.refused(signed(donation("air", "x"), key("pernah", 1))) == "signature_invalid"


def donation_of(desk: Desk) -> Statement:
    desk(fund("air"))
    return donation("air", "once")
