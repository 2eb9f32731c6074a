"""The folds of what parties say: acknowledgements, attestations, reports, evidence."""

from __future__ import annotations

from ledger.books.layer import Posted
from ledger.books.refusing import know_below, refuse, unknown
from ledger.books.signing import Signing
from ledger.state import Movement, Statement, Total

_RECEIVED = ("received", "partial")


class Sayings(Signing):
    """What moves nothing. Acknowledgements and attestations are signed by whose they are."""

    def _acknowledgement(self, post: Posted) -> list[Total]:
        index, _, statement, _ = post
        target, by = statement["target"], statement["by"]
        know_below(index, target)
        self._know_party(by, "/by")
        moved = self._know_target(index, target, ("disbursement", "transfer", "goods_out"))
        self._check_leaf(statement)
        recipient = self._recipient(moved)
        if not recipient:
            refuse("wrong_target", "/target", f"entry {target} went to a group, not to a party")
        part = self._part(post, moved)
        if by != recipient:
            detail = f"entry {target} went to {recipient!r}, who alone says whether it came"
            refuse("forbidden", "/by", detail)
        if part is not None and part >= moved.amount:
            refuse("exceeds_original", "/amount", "a part is less than the whole")
        self._check_signed(post, by)
        is_received = statement["status"] in _RECEIVED
        self.movements[target] = moved._replace(acknowledged=index, is_received=is_received)
        return []

    def _evidence(self, post: Posted) -> list[Total]:
        know_below(post.index, post.statement["target"])
        self._check_leaf(post.statement)
        self._check_signed(post)
        return []

    def _check_leaf(self, statement: Statement) -> None:
        """Whoever speaks of an entry has seen it: nobody can tell its leaf hash beforehand."""
        target = statement["target"]
        leaf = self.leaf_hash(target)
        if leaf is None or leaf.hex() != statement["target_leaf"]:
            detail = f"this is not the leaf hash of entry {target}"
            refuse("wrong_target", "/target_leaf", detail)

    def _report(self, post: Posted) -> list[Total]:
        statement = post.statement
        if "fund" in statement:
            self._know_fund(statement["fund"], "/fund")
        elif self.programme(statement["programme"]) is None:
            unknown("programme", statement["programme"], "/programme")
        self._know_party(statement["by"], "/by")
        self._check_signed(post, named=[statement["by"]])
        return []

    def _recipient(self, moved: Movement) -> str:
        """The party that money went to: of a transfer, whoever owns the fund now."""
        return self._known_fund(moved.to_fund).owner if moved.to_fund else moved.recipient

    def _part(self, post: Posted, moved: Movement) -> int | None:
        """How much came, where that is said. Its currency is the target's."""
        if "amount" not in post.statement:
            return None
        return self._minor(post.statement, self._known_fund(moved.fund).currency)

    def _attestation(self, post: Posted) -> list[Total]:
        index, _, statement, _ = post
        by, checkpoint = statement["by"], statement["checkpoint"]
        self._know_party(by, "/by")
        size = checkpoint["size"]
        if size > index:
            detail = f"there are {index} entries before this one"
            refuse("unknown_reference", "/checkpoint/size", detail)
        for i, fund_id in enumerate(statement.get("scope_funds", ())):
            self._know_fund(fund_id, f"/scope_funds/{i}")
        if checkpoint["origin"] != self.origin:
            refuse("wrong_target", "/checkpoint/origin", f"this ledger is {self.origin}")
        root = self.root_at(size)
        if root is None or root.hex() != checkpoint["root"]:
            refuse("wrong_target", "/checkpoint/root", f"at size {size} this log has another root")
        self._check_signed(post, by)
        return []
