"""Who signs for others, or gets round their signature: refused at the door, and found by an audit
when it stands in the log all the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ledger.audit import audit
from ledger.errors import LogMismatch, Refusal
from ledger.service import Ledger
from tests.command_line import Amanah, found
from tests.signers import Post, acknowledgement, attestation, key, keyed, signed
from tests.simulator import Log
from tests.support import (
    ORIGIN,
    PLATFORM,
    Statement,
    disbursement,
    donation,
    fund,
    party,
    refund,
    returned,
    transfer,
)

OTHER = "lain"
AUDITOR, OWNER, VILLAGE, CLINIC = "auditor", "yayasan", "desa", "klinik"
STRICT, POSTER = "ketat", "juru"  # who signs all it is named in; who posts and approves
EVIDENCE = [{"sha256": "ab" * 32, "media_type": "application/pdf", "bytes": 5}]
APPROVALS = {"from_amount": "500", "needed": 2, "approvers": [OWNER, AUDITOR, CLINIC, POSTER]}
POLICY = {"approvals": APPROVALS, "evidence_from_amount": "700", "cost_cap_bp": 1000}
FUND = {"owner": OWNER, "policy": POLICY, "platforms": [PLATFORM, POSTER]}


class World:
    """A ledger in which parties have keys, funds have policies, and money has moved."""

    def __init__(self, database: Path) -> None:
        self.ledger = Ledger.create(database, ORIGIN, "Tests")
        self.at: dict[str, int] = {}
        for platform in (PLATFORM, OTHER):
            self.ledger.register_platform(platform)
        for name in (AUDITOR, OWNER, VILLAGE, CLINIC, POSTER):
            self.post(signed(keyed(name), name))
        self.post(signed(keyed(STRICT, signed_only=True), STRICT))
        self.post(party("tanpa"))
        self.post(fund("air", **FUND))
        self.post(fund("desa", owner=VILLAGE, policy={"cost_cap_bp": 1000}))
        self.post(fund("tutup", owner=OWNER, status="closed"))
        self.post(fund("bebas", owner="tanpa"))
        self.post(donation("air", "gift", amount="10000"))
        self.post(donation("air", "gift-2", amount="10000"))
        self.post(disbursement("air", "paid", amount="100", recipient={"party": CLINIC}))
        group = {"group": "ibu", "count": 3, "area": "Bima"}
        self.post(disbursement("air", "paid-group", amount="100", recipient=group))
        self.post(transfer("air", "desa", "share", amount="300"))
        self.post(signed(self.acknowledgement("share", VILLAGE), VILLAGE))

    def post(self, post: Post | Statement, platform: str = PLATFORM) -> int:
        """Seal it; its index, which is known by the ref from then on."""
        [sealed] = self.ledger.post(platform, [post]).entries
        statement = post.get("statement", post)
        self.at[statement["ref"]] = sealed.index
        return sealed.index

    def leaf(self, ref: str) -> bytes:
        leaf = self.ledger.store.state().leaf_hash(self.at[ref])
        assert leaf is not None
        return leaf

    def root(self, size: int) -> bytes:
        root = self.ledger.store.state().root_at(size)
        assert root is not None
        return root

    def acknowledgement(self, target: str, by: str, ref: str = "", **more: Any) -> Statement:
        ref = ref or f"ack-{target}"
        return acknowledgement(self.at[target], self.leaf(target), by, ref, **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Not to be written to."""
    world = World(tmp_path_factory.mktemp("world") / "amanah.db")
    yield world
    world.ledger.close()


class Attack(NamedTuple):
    code: str
    pointer: str
    post: Callable[[World], Post | Statement]
    platform: str = PLATFORM


def again(world: World, ref: str, **more: Any) -> Statement:
    """The statement that replaces the party or fund of `ref`."""
    index = world.at[ref]
    statement: Statement = json.loads(world.ledger.store.entry_bytes(index))["statement"]
    return statement | {"ref": f"{ref}.2", "supersedes": index} | more


def rotated(world: World, *numbers: int, **more: Any) -> Statement:
    vkeys = [key(OWNER, number).vkey for number in numbers]
    return again(world, f"party.{OWNER}", keys=vkeys, **more)


def moved(world: World, *by: str, amount: str = "600", **more: Any) -> Post:
    """A disbursement that needs approvals."""
    return signed(disbursement("air", "big", amount=amount, **more), *by)


def tampered(post: Post, **changes: Any) -> Post:
    """What was signed, saying something else."""
    return {"statement": post["statement"] | changes, "signatures": post["signatures"]}


def renamed(post: Post, party_id: str) -> Post:
    """What one party signed, said to be by another one."""
    [signature] = post["signatures"]
    return post | {"signatures": [signature | {"party": party_id}]}


def loosened(world: World, *by: str) -> Post:
    policy = POLICY | {"approvals": APPROVALS | {"needed": 1}}
    return signed(again(world, "fund.air", policy=policy), *by)


ATTACKS: dict[str, Attack] = {
    # -- signatures that are not what they are said to be
    "a signature for another platform": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: signed(donation("air", "new"), OWNER, platform=OTHER),
    ),
    "a signature for another ledger": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: signed(donation("air", "new"), OWNER, origin="elsewhere.example"),
    ),
    "a signature of another party": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: renamed(signed(donation("air", "new"), OWNER), AUDITOR),
    ),
    "a signature of another statement": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: tampered(signed(donation("air", "new"), OWNER), amount="1001"),
    ),
    "a second signature that is wrong": Attack(
        "signature_invalid",
        "/signatures/1",
        lambda w: signed(donation("air", "new"), OWNER, key(AUDITOR, 1)),
    ),
    "a signature of nobody": Attack(
        "unknown_reference",
        "/signatures/0/party",
        lambda w: signed(donation("air", "new"), "nobody"),
    ),
    "a signature by a key that is yet to come": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: signed(donation("air", "new"), key(OWNER, 1)),
    ),
    # -- ids and keys
    "a squatted id, by another platform": Attack(
        "forbidden", "/statement/id", lambda w: again(w, "party.tanpa"), OTHER
    ),
    "a party with keys, by its registrar": Attack(
        "signature_required", "/signatures", lambda w: again(w, f"party.{OWNER}", name="Mine")
    ),
    "a swapped key": Attack(
        "signature_required", "/signatures", lambda w: signed(rotated(w, 1), key(OWNER, 1))
    ),
    "a key taken away": Attack(
        "signature_required",
        "/signatures",
        lambda w: {k: v for k, v in again(w, f"party.{OWNER}").items() if k != "keys"},
    ),
    "a key that nobody holds": Attack(
        "signature_required", "/signatures", lambda w: signed(rotated(w, 0, 1), OWNER)
    ),
    "a party whose key signs nothing": Attack(
        "signature_required", "/signatures", lambda w: keyed("baru")
    ),
    "the same key in two parties": Attack(
        "key_taken",
        "/statement/keys/0",
        lambda w: signed(party("palsu", keys=[twin("palsu").vkey]), twin("palsu")),
    ),
    # -- in the name of a party that signs all it is named in
    "owner of a fund": Attack(
        "signature_required", "/signatures", lambda w: fund("curian", owner=STRICT)
    ),
    "platform of a fund": Attack(
        "signature_required", "/signatures", lambda w: fund("curian", platforms=[PLATFORM, STRICT])
    ),
    "approver of a fund": Attack(
        "signature_required",
        "/signatures",
        lambda w: fund("curian", policy={"approvals": APPROVALS | {"approvers": [STRICT, OWNER]}}),
    ),
    "posting platform": Attack(
        "signature_required", "/signatures", lambda w: party("teman"), STRICT
    ),
    "an owner of later": Attack(
        "signature_required", "/signatures", lambda w: again(w, "fund.bebas", owner=STRICT)
    ),
    # -- approvals
    "no approval": Attack(
        "approval_required", "/signatures", lambda w: disbursement("air", "big", amount="500")
    ),
    "one approval of two": Attack("approval_required", "/signatures", lambda w: moved(w, OWNER)),
    "the poster as approver": Attack(
        "approval_required",
        "/signatures",
        lambda w: signed(disbursement("air", "big", amount="600"), OWNER, POSTER, platform=POSTER),
        POSTER,
    ),
    "two who are no approvers": Attack(
        "approval_required", "/signatures", lambda w: moved(w, OWNER, VILLAGE)
    ),
    "an approval for another amount": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: tampered(moved(w, OWNER, AUDITOR), amount="650"),
    ),
    "a transfer without approval": Attack(
        "approval_required", "/signatures", lambda w: transfer("air", "desa", "big", amount="500")
    ),
    "others' money refunded without approval": Attack(
        "approval_required", "/signatures", lambda w: refund(w.at["gift"], "big", amount="10000")
    ),
    "approved but not shown": Attack(
        "evidence_required",
        "/statement/evidence",
        lambda w: moved(w, OWNER, AUDITOR, amount="700"),
    ),
    # -- funds
    "a loosened policy without the approvals of before": Attack(
        "approval_required", "/signatures", lambda w: loosened(w, OWNER)
    ),
    "a loosened policy without its owner": Attack(
        "signature_required", "/signatures", lambda w: loosened(w, AUDITOR, CLINIC)
    ),
    "a loosened cap, with all signatures": Attack(
        "cap_loosened",
        "/statement/policy/cost_cap_bp",
        lambda w: signed(
            again(w, "fund.air", policy=POLICY | {"cost_cap_bp": 1001}), OWNER, AUDITOR, CLINIC
        ),
    ),
    "a reopened fund": Attack(
        "signature_required", "/signatures", lambda w: again(w, "fund.tutup", status="open")
    ),
    "a fund taken over": Attack(
        "signature_required", "/signatures", lambda w: again(w, "fund.tutup", owner=AUDITOR)
    ),
    "another platform let in": Attack(
        "signature_required",
        "/signatures",
        lambda w: again(w, "fund.tutup", platforms=[PLATFORM, OTHER]),
    ),
    "a fund replaced by another platform": Attack(
        "forbidden", "/statement/id", lambda w: again(w, "fund.tutup", title="Mine"), OTHER
    ),
    "a fund replaced by who owns another": Attack(
        "forbidden",
        "/statement/id",
        lambda w: signed(again(w, "fund.tutup"), AUDITOR, platform=OTHER),
        OTHER,
    ),
    # -- acknowledgements
    "received, says the platform": Attack(
        "signature_required", "/signatures", lambda w: w.acknowledgement("paid", CLINIC)
    ),
    "received, says somebody else": Attack(
        "forbidden", "/statement/by", lambda w: signed(w.acknowledgement("paid", OWNER), OWNER)
    ),
    "received by a group": Attack(
        "wrong_target",
        "/statement/target",
        lambda w: signed(w.acknowledgement("paid-group", CLINIC), CLINIC),
    ),
    "a donation acknowledged": Attack(
        "wrong_target",
        "/statement/target",
        lambda w: signed(w.acknowledgement("gift", OWNER), OWNER),
    ),
    "an acknowledgement of another leaf": Attack(
        "wrong_target",
        "/statement/target_leaf",
        lambda w: signed(
            w.acknowledgement("paid", CLINIC) | {"target_leaf": w.leaf("share").hex()}, CLINIC
        ),
    ),
    "an acknowledgement of another amount": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: tampered(
            signed(w.acknowledgement("paid", CLINIC, status="partial", amount="50"), CLINIC),
            amount="99",
        ),
    ),
    "a part that is the whole": Attack(
        "exceeds_original",
        "/statement/amount",
        lambda w: signed(w.acknowledgement("paid", CLINIC, status="partial", amount="100"), CLINIC),
    ),
    "a part finer than its currency": Attack(
        "invalid_amount",
        "/statement/amount",
        lambda w: signed(
            w.acknowledgement("paid", CLINIC, status="partial", amount="9.999"), CLINIC
        ),
    ),
    "an acknowledgement of what is to come": Attack(
        "unknown_reference",
        "/statement/target",
        lambda w: signed(acknowledgement(9_999, bytes(32), CLINIC), CLINIC),
    ),
    "a dispute turned round": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: tampered(
            signed(w.acknowledgement("paid", CLINIC, status="disputed"), CLINIC), status="received"
        ),
    ),
    "a keyless dispute posted in its own name by nobody": Attack(
        "signature_required", "/signatures", lambda w: w.acknowledgement("paid", CLINIC), CLINIC
    ),
    "a transfer taken back from who received it": Attack(
        "signature_required",
        "/signatures",
        lambda w: returned(w.at["share"], "back", amount="100"),
    ),
    # -- attestations
    "an opinion nobody gave": Attack(
        "signature_required", "/signatures", lambda w: attestation(5, w.root(5), AUDITOR)
    ),
    "an opinion on another history": Attack(
        "wrong_target",
        "/statement/checkpoint/root",
        lambda w: signed(attestation(5, w.root(4), AUDITOR), AUDITOR),
    ),
    "an opinion on another ledger": Attack(
        "wrong_target",
        "/statement/checkpoint/origin",
        lambda w: signed(
            attestation(5, w.root(5), AUDITOR)
            | {"checkpoint": {"origin": "other.example", "size": 5, "root": w.root(5).hex()}},
            AUDITOR,
        ),
    ),
    "an opinion on what is to come": Attack(
        "unknown_reference",
        "/statement/checkpoint/size",
        lambda w: signed(attestation(9_999, bytes(32), AUDITOR), AUDITOR),
    ),
    "an opinion made better": Attack(
        "signature_invalid",
        "/signatures/0",
        lambda w: tampered(
            signed(attestation(5, w.root(5), AUDITOR, opinion="adverse"), AUDITOR),
            opinion="unqualified",
        ),
    ),
}


def twin(party_id: str) -> Any:
    """The owner's key under another party's name."""
    return type(key(OWNER)).of(party_id, key(OWNER)._seed)


def of(post: Post | Statement) -> tuple[Statement, Any]:
    return post.get("statement", post), post.get("signatures") or None


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_it_is_refused_at_the_door(world: World, attack: Attack) -> None:
    size = world.ledger.store.size()
    with pytest.raises(Refusal) as caught:
        world.ledger.post(attack.platform, [attack.post(world)])
    assert caught.value.code == attack.code, caught.value
    assert [f.pointer for f in caught.value.faults] == [f"/entries/0{attack.pointer}"]
    assert world.ledger.store.size() == size


@pytest.mark.parametrize("more", [0, 300], ids=["entry by entry", "a bundle at a time"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_it_is_found_in_the_log(world: World, attack: Attack, more: int) -> None:
    """The operator puts it there, links everything and signs it."""
    log = Log.of(world.ledger)
    index = log.size
    statement, signatures = of(attack.post(world))
    fields = {"signatures": signatures} if signatures else {}
    log.append(attack.platform, statement, **fields)
    for number in range(more):
        log.append(PLATFORM, donation("air", f"later-{number}"), totals=[{"fund": "air"}])
    log.seal()
    with pytest.raises(LogMismatch) as caught:
        audit(log, log.policy)
    assert (caught.value.index, caught.value.compared) == (index, f"rule `{attack.code}`")


def test_it_is_found_in_a_database(world: World, tmp_path: Path) -> None:
    """By `verify`, and by whatever else reads the log from its beginning."""
    amanah = Amanah(tmp_path)
    with closing(Ledger.create(amanah.database, ORIGIN, "Tests")) as other:
        other.store.paths.high_water.unlink()
    log = Log.of(world.ledger)
    statement, signatures = of(ATTACKS["an approval for another amount"].post(world))
    log.append(PLATFORM, statement, signatures=signatures).seal().write_to(amanah.database)
    options = ("--vkey", log.signer.verifier)
    assert found(amanah, amanah.database, *options) == (log.size - 1, "rule `signature_invalid`")
    for command in (("rebuild",), ("export", "csv")):
        outcome = amanah(*command)
        assert outcome.code == 1
        assert "rule `signature_invalid`" in outcome.err


def test_the_world_itself_is_sound(world: World) -> None:
    log = Log.of(world.ledger)
    assert audit(log, log.policy).is_sound
