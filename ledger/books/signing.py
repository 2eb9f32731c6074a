"""Who stands behind a statement: signatures, and the approvals and evidence that money asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from ledger.books.layer import Layer, Posted
from ledger.books.refusing import refuse, refuse_beside
from ledger.entry import canonical
from ledger.signatures import has_signed, key_meant
from ledger.signing import signed_text
from ledger.state import Approvals, Fund, Statement


class Signing(Layer):
    """The last steps of admission: approvals, evidence, signatures (docs/format.md)."""

    def check_signers(self, post: Posted) -> None:
        """Refuse (`unknown_reference`) a signature of nobody. It is asked with the references."""
        for i, signature in enumerate(post.signatures):
            party_id = signature["party"]
            if self.party(party_id) is None and not registers(post.statement, party_id):
                detail = f"no party {party_id!r} is registered"
                refuse_beside("unknown_reference", f"/signatures/{i}/party", detail)

    def check_signatures(self, post: Posted) -> None:
        """Refuse (`signature_invalid`) unless each is by a current key, or one that is posted."""
        statement = canonical(post.statement)
        for i, signature in enumerate(post.signatures):
            party_id = signature["party"]
            key = key_meant(signature, self._keys(post.statement, party_id))
            if key is None:
                detail = f"its key is not a current one of {party_id!r}"
                refuse_beside("signature_invalid", f"/signatures/{i}", detail)
            text = signed_text(self.origin, post.platform, party_id, statement)
            if not has_signed(key, signature, text):
                detail = (
                    f"{key} did not sign this statement for {post.platform!r} to post on "
                    f"{self.origin}"
                )
                refuse_beside("signature_invalid", f"/signatures/{i}", detail)

    def _keys(self, statement: Statement, party_id: str) -> Sequence[str]:
        """What `party_id` may sign `statement` with."""
        party = self.party(party_id)
        current = party.keys if party else ()
        posted = statement.get("keys", ()) if registers(statement, party_id) else ()
        return (*current, *posted)

    def _check_signed(self, post: Posted, *required: str, named: Iterable[str] = ()) -> None:
        """Every signature is good, and none is missing.

        required: parties that must have signed. named: those that must, if they are signed_only;
        the posting platform is always one of them.
        """
        signers: Set[str] = frozenset()
        if post.signatures:  # which most posts have not
            self.check_signatures(post)
            signers = post.signers()
        for party_id in required:
            if party_id not in signers:
                _require(f"{party_id!r} must sign this")
        for party_id in (post.platform, *named):
            party = self.party(party_id)
            if party is not None and party.signed_only and party_id not in signers:
                _require(f"{party_id!r} is named only in what it has signed itself")

    def _check_sanction(self, post: Posted, fund: Fund, minor: int) -> None:
        """What the fund's policy asks of `minor` units that leave it: approvals, evidence."""
        approvals, evidence_from = fund.approvals, fund.evidence_from_minor
        if approvals is not None and minor >= approvals.from_minor:
            self._check_approved(post, approvals)
        if (
            evidence_from is not None
            and minor >= evidence_from
            and "evidence" not in post.statement
        ):
            least = self._print(evidence_from, fund.currency)
            detail = f"from {least} {fund.currency} on, this fund shows its evidence"
            refuse("evidence_required", "/evidence", detail)

    def _check_approved(self, post: Posted, approvals: Approvals) -> None:
        # No two parties ever had the same key, so these are distinct keys too.
        approved = post.signers().intersection(approvals.approvers) - {post.platform}
        if len(approved) < approvals.needed:
            who = ", ".join(approvals.approvers)
            detail = (
                f"{approvals.needed} of {who} must sign, the posting platform not counted; "
                f"{len(approved)} did"
            )
            refuse_beside("approval_required", "/signatures", detail)


def registers(statement: Statement, party_id: str) -> bool:
    """Whether it is the statement of that party, a first or a later one."""
    return bool(statement["type"] == "party" and statement["id"] == party_id)


def _require(detail: str) -> None:
    refuse_beside("signature_required", "/signatures", detail)
