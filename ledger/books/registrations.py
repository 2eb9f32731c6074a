"""The folds of what is registered: parties, programmes and funds."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.books.layer import Posted
from ledger.books.refusing import is_looser, refuse, refuse_beside, unknown
from ledger.books.signing import Signing
from ledger.signatures import key_meant, key_of
from ledger.state import Fund, Party, Registration, Statement, Total, fund_of, party_of


class Registrations(Signing):
    """Registering and superseding (docs/format.md, "Superseding")."""

    def _party(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        party_id = statement["id"]
        current = self.party(party_id)
        if current is None or not current.keys:  # else whoever has its keys may
            _check_registrar(current, platform, statement)
        _check_current(current, statement)
        new = party_of(index, current.platform if current else platform, statement)
        old_keys = current.keys if current else ()
        added = [vkey for vkey in new.keys if vkey not in old_keys]
        self._check_keys_free(party_id, new, old_keys)
        self._check_signed(post)
        _check_possession(post, old_keys, added)
        self.parties[party_id] = new
        self.key_owners.update((key_of(vkey).public, party_id) for vkey in added)
        return []

    def _check_keys_free(self, party_id: str, new: Party, old_keys: tuple[str, ...]) -> None:
        """A public key stays for ever with the party that had it first, and IDs tell keys apart."""
        old_ids = {key_of(vkey).key_id for vkey in old_keys}
        for i, vkey in enumerate(new.keys):
            key = key_of(vkey)
            owner = self.key_owner(key.public)
            if owner is not None and owner != party_id:
                detail = f"this public key belongs to the party {owner!r}"
                refuse("key_taken", f"/keys/{i}", detail)
            if vkey not in old_keys and key.key_id in old_ids:
                refuse("key_taken", f"/keys/{i}", "another current key has the same key ID")

    def _programme(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        self._know_party(statement["lead"], "/lead")
        for i, participant in enumerate(statement.get("participants", ())):
            self._know_party(participant["party"], f"/participants/{i}/party")
        current = self.programme(statement["id"])
        _check_registrar(current, platform, statement)
        _check_current(current, statement)
        self._check_signed(post)
        registrar = current.platform if current else platform
        self.programmes[statement["id"]] = Registration(index, registrar)
        return []

    def _fund(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        self._know_named(statement)
        current = self.fund(statement["id"])
        if current is None or current.owner not in post.signers():
            _check_registrar(current, platform, statement)
        _check_current(current, statement)
        registrar = current.platform if current else platform
        new = fund_of(index, registrar, statement, self.currencies)
        if current is None:
            self._check_signed(post, named=_named_anew(new, None))
        else:
            self._check_replaces(post, current, new)
        self.funds[statement["id"]] = new
        return []

    def _know_named(self, fund: Statement) -> None:
        """Everything that the statement of a fund names is registered."""
        self._know_party(fund["owner"], "/owner")
        for i, party_id in enumerate(fund["platforms"]):
            self._know_party(party_id, f"/platforms/{i}")
        approvals = fund["policy"].get("approvals", {})
        for i, party_id in enumerate(approvals.get("approvers", ())):
            self._know_party(party_id, f"/policy/approvals/approvers/{i}")
        for i, programme_id in enumerate(fund.get("programmes", ())):
            if self.programme(programme_id) is None:
                unknown("programme", programme_id, f"/programmes/{i}")

    def _check_replaces(self, post: Posted, current: Fund, new: Fund) -> None:
        fund_id = post.statement["id"]
        if new.currency != current.currency:
            detail = f"the currency of a fund stays {current.currency}"
            refuse("immutable_field", "/currency", detail)
        if self._position(fund_id).n and is_looser(current.cost_cap_bp, new.cost_cap_bp):
            detail = f"money was given under a cap of {current.cost_cap_bp}; it may only tighten"
            refuse("cap_loosened", "/policy/cost_cap_bp", detail)
        is_governed_anew = new.governance() != current.governance()
        if is_governed_anew and current.approvals is not None:
            self._check_approved(post, current.approvals)
        owner = self.party(current.owner)
        required = [current.owner] if is_governed_anew and owner and owner.keys else []
        self._check_signed(post, *required, named=_named_anew(new, current))


def _named_anew(fund: Fund, before: Fund | None) -> list[str]:
    """The parties that a fund names in a part that they did not have in it before."""
    old = set(_parts(before)) if before else set()
    return [party_id for part, party_id in _parts(fund) if (part, party_id) not in old]


def _parts(fund: Fund) -> Iterator[tuple[str, str]]:
    yield "owner", fund.owner
    yield from (("platform", party_id) for party_id in fund.platforms)
    if fund.approvals is not None:
        yield from (("approver", party_id) for party_id in fund.approvals.approvers)


def _check_possession(post: Posted, old_keys: tuple[str, ...], added: list[str]) -> None:
    """Who replaces a party that has keys holds one of them, and who adds a key holds that."""
    party_id = post.statement["id"]
    own = [signature for signature in post.signatures if signature["party"] == party_id]
    if old_keys and not any(key_meant(signature, old_keys) for signature in own):
        detail = f"one of the current keys of {party_id!r} must sign what replaces it"
        refuse_beside("signature_required", "/signatures", detail)
    for vkey in added:
        if not any(key_meant(signature, [vkey]) for signature in own):
            detail = f"the key {vkey} must sign the statement that adds it"
            refuse_beside("signature_required", "/signatures", detail)


def _check_registrar(
    current: Registration | Fund | None, platform: str, statement: Statement
) -> None:
    """Without a signature, only the platform that registered something first replaces it."""
    if current and current.platform != platform:
        detail = f"{statement['id']!r} was registered by {current.platform!r}, who may replace it"
        refuse("forbidden", "/id", detail)


def _check_current(current: Registration | Fund | None, statement: Statement) -> None:
    """Only what is current is replaced."""
    if statement.get("supersedes") != (current.index if current else None):
        now = f"its current statement is {current.index}" if current else "it is not registered yet"
        refuse("stale", "/supersedes", f"{statement['id']!r}: {now}")
