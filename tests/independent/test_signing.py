"""The ledger's fold and the one written from the documents alone, on signed posts at random."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from ledger.books import Books
from ledger.entry import canonical, entry_hash
from ledger.errors import Refusal
from ledger.state import EmptyState
from ledger.tlog.merkle import tree_root
from ledger.tlog.note import VerifierKey
from schemas.check import check_signatures, check_statement
from tests.independent.signing import SignedFold
from tests.signers import Post, acknowledgement, attestation, key, keyed, signed
from tests.simulator import genesis
from tests.support import (
    ORIGIN,
    disbursement,
    donation,
    fund,
    goods,
    party,
    refund,
    returned,
    transfer,
)

CURRENCIES = {"IDR": 2, "JPY": 0, "KWD": 3}
PARTIES = ["p0", "p1", "p2", "p3", "p4"]
FUNDS = ["f0", "f1"]
EVIDENCE = [{"sha256": "ab" * 32, "media_type": "application/pdf", "bytes": 5}]


class Log(EmptyState):
    """The hashes of both: of made-up entries, since the rules ask for nothing else of them."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []

    def leaf_hash(self, index: int) -> bytes | None:
        return self.leaves[index] if index < len(self.leaves) else None

    def root_at(self, size: int) -> bytes | None:
        return tree_root(self.leaves[:size]) if size <= len(self.leaves) else None


class Maker:
    """Posts that are often right, and wrong in many ways."""

    def __init__(self, seed: int) -> None:
        self.rng, self.log, self.posted = random.Random(seed), Log(), 0
        self.current: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
        self.moves: list[int] = []

    def post(self) -> tuple[str, Post]:
        kinds = [self.party, self.fund, *[self.money] * 5, self.undo, self.say, self.say]
        statement = self.rng.choice(kinds)()
        self.posted += 1
        statement["ref"] = f"n{self.posted}"
        platform = self.rng.choice(PARTIES)
        return platform, self.sign(statement, platform)

    def sign(self, statement: dict[str, Any], platform: str) -> Post:
        chance = self.rng.random()
        if chance < 0.25:
            return {"statement": statement}
        if chance < 0.75:
            signers = list(PARTIES)
        else:
            signers = self.rng.sample(PARTIES, self.rng.randint(1, 4))
        keys = []
        for name in signers:
            wanted = self.keys_of(name)
            if statement["type"] == "party" and statement["id"] == name:
                wanted += [vkey for vkey in statement.get("keys", []) if vkey not in wanted]
            ours = [key(name, n) for n in range(4) if key(name, n).vkey in wanted]
            if self.rng.random() < 0.03:
                ours = [key(name, self.rng.randrange(4))]
            keys += ours
        if not keys:
            return {"statement": statement}
        origin = "other.example" if self.rng.random() < 0.02 else ORIGIN
        post = signed(statement, *keys[:16], platform=platform, origin=origin)
        if self.rng.random() < 0.02:
            post["signatures"].append(self.rng.choice(post["signatures"]))
        if self.rng.random() < 0.02:
            post["statement"] = statement | {"ref": f"x{self.posted}"}
        return post

    def keys_of(self, name: str) -> list[str]:
        found = self.current.get(("party", name))
        return list(found[1].get("keys", [])) if found else []

    def replacing(self, statement: dict[str, Any]) -> dict[str, Any]:
        found = self.current.get((statement["type"], statement["id"]))
        if found and self.rng.random() < 0.95:
            statement["supersedes"] = found[0]
        return statement

    def party(self) -> dict[str, Any]:
        name = self.rng.choice(PARTIES)
        numbers = self.rng.sample(range(4), self.rng.randint(0, 3))
        statement = keyed(name, *numbers) if numbers else party(name)
        if self.rng.random() < 0.3:
            statement["signed_only"] = self.rng.random() < 0.5
        if numbers and self.rng.random() < 0.1:  # a key that may be another's
            other = self.rng.choice(PARTIES)
            statement["keys"].append(type(key(name)).of(name, key(other, 0)._seed).vkey)
        return self.replacing(statement)

    def fund(self) -> dict[str, Any]:
        name = self.rng.choice(FUNDS)
        policy: dict[str, Any] = {}
        if self.rng.random() < 0.6:
            some = self.rng.sample(PARTIES, self.rng.randint(1, 4))
            needed = self.rng.randint(1, 3)
            policy["approvals"] = {"from_amount": "50", "needed": needed, "approvers": some}
        if self.rng.random() < 0.4:
            policy["evidence_from_amount"] = self.rng.choice(("80", "80.00", "120"))
        platforms = self.rng.sample(PARTIES, self.rng.randint(2, 5))
        status = "closed" if self.rng.random() < 0.1 else "open"
        statement = fund(name, owner=self.rng.choice(PARTIES), platforms=platforms, policy=policy)
        found = self.current.get(("fund", name))
        if found and self.rng.random() < 0.4:  # nothing but the title
            statement = found[1] | {"title": "again"}
            statement.pop("supersedes", None)
            status = statement["status"]
        return self.replacing(statement | {"status": status})

    def money(self) -> dict[str, Any]:
        amount = self.rng.choice(("10", "49.99", "50", "79.99", "80", "200"))
        one, two = self.rng.sample(FUNDS, 2)
        if self.rng.random() < 0.2:
            kind, quantity = self.rng.choice(("goods_in", "goods_out")), self.rng.choice("23")
            return goods(kind, one, "g", quantity) | (
                {"recipient": {"party": self.rng.choice(PARTIES)}} if kind == "goods_out" else {}
            )
        recipient: dict[str, Any] = {"party": self.rng.choice(PARTIES)}
        if self.rng.random() < 0.2:
            recipient = {"group": "all", "count": 3, "area": "ID"}
        statement = self.rng.choice(
            (
                donation(one, amount="500"),
                disbursement(one, amount=amount, recipient=recipient),
                transfer(one, two, amount=amount, basis=self.rng.choice(("terms", "authority"))),
            )
        )
        if statement["type"] != "donation" and self.rng.random() < 0.5:
            statement["evidence"] = EVIDENCE
        return statement

    def target(self) -> int:
        return self.rng.choice(self.moves) if self.moves else self.rng.randrange(3)

    def undo(self) -> dict[str, Any]:
        amount = self.rng.choice(("1", "60", "500", "9.999"))
        make = self.rng.choice((refund, returned))
        return make(self.target(), amount=amount)

    def say(self) -> dict[str, Any]:
        by = self.rng.choice(PARTIES)
        chance = self.rng.random()
        if chance < 0.1:
            return {"type": "report", "title": "r", "by": by, "fund": self.rng.choice(FUNDS)}
        if chance < 0.3:
            size = self.rng.randint(1, len(self.log.leaves) + 1)
            root = self.log.root_at(size if self.rng.random() < 0.8 else 1) or bytes(32)
            return attestation(size, root, by)
        target = self.target()
        leaf = self.log.leaf_hash(target if self.rng.random() < 0.9 else 0) or bytes(32)
        statement = acknowledgement(target, leaf, by)
        if self.rng.random() < 0.5:
            amount = self.rng.choice(("5", "10", "49.99", "9.999"))
            statement |= {"status": "partial", "amount": amount}
        elif self.rng.random() < 0.5:
            statement["status"] = "disputed"
        return statement

    def remember(self, statement: dict[str, Any]) -> None:
        index = len(self.log.leaves)
        self.log.leaves.append(entry_hash(b"%d" % index))
        if "id" in statement:
            self.current[statement["type"], statement["id"]] = (index, statement)
        elif statement["type"] in ("donation", "disbursement", "transfer", "goods_out"):
            self.moves.append(index)


def ours(books: Books, index: int, platform: str, post: Post) -> Any:
    """What the ledger answers: totals, or the refusal's code."""
    statement = post["statement"]
    try:
        check_statement(statement, len(canonical(statement)), CURRENCIES)
        if "signatures" in post:
            check_signatures(post["signatures"])
        return books.post(index, platform, statement, post.get("signatures", ()))
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize("seed", range(4))
def test_both_admit_and_refuse_the_same(seed: int) -> None:
    maker, answers = Maker(seed), Counter[str]()
    books, other = Books(maker.log, {}), SignedFold(parties=set())
    begin = genesis(VerifierKey.parse(key("log").vkey))
    begin |= {"currencies": CURRENCIES, "origin": ORIGIN}
    assert books.post(0, "ledger", begin) == other.admit("ledger", begin) == []
    maker.remember(begin)
    for _ in range(1_500):
        platform, post = maker.post()
        index = len(maker.log.leaves)
        other.leaves = [leaf.hex() for leaf in maker.log.leaves]
        # Each refused statement leaves the books as they were, or the next answers would differ.
        answer = ours(books, index, platform, post)
        theirs = other.post(platform, post["statement"], post.get("signatures", ()))
        assert answer == theirs, (seed, index, platform, post)
        answers[answer if isinstance(answer, str) else f"ok {post['statement']['type']}"] += 1
        if not isinstance(answer, str):
            maker.remember(post["statement"])
    wanted = "approval_required evidence_required signature_invalid signature_required key_taken"
    wanted += " wrong_target forbidden stale unknown_reference invalid exceeds_original"
    if seed == 0:
        assert set(wanted.split()) - answers.keys() == set(), answers
        admitted = {f"ok {kind}" for kind in "acknowledgement attestation fund party".split()}
        assert admitted <= answers.keys(), answers
