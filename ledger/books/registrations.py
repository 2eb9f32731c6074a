"""The folds of what is registered: parties, programmes and funds."""

from __future__ import annotations

from ledger.books.layer import Layer
from ledger.books.refusing import is_looser, refuse, unknown
from ledger.state import Fund, Registration, Statement, Total, fund_of


class Registrations(Layer):
    """Registering and superseding (docs/format.md, "Superseding")."""

    def _party(self, index: int, platform: str, statement: Statement) -> list[Total]:
        current = self.party(statement["id"])
        _check_supersedes(current, platform, statement)
        registrar = current.platform if current else platform
        self.parties[statement["id"]] = Registration(index, registrar)
        return []

    def _programme(self, index: int, platform: str, statement: Statement) -> list[Total]:
        self._know_party(statement["lead"], "/lead")
        for i, participant in enumerate(statement.get("participants", ())):
            self._know_party(participant["party"], f"/participants/{i}/party")
        current = self.programme(statement["id"])
        _check_supersedes(current, platform, statement)
        registrar = current.platform if current else platform
        self.programmes[statement["id"]] = Registration(index, registrar)
        return []

    def _fund(self, index: int, platform: str, statement: Statement) -> list[Total]:
        self._know_party(statement["owner"], "/owner")
        for i, party_id in enumerate(statement["platforms"]):
            self._know_party(party_id, f"/platforms/{i}")
        for i, programme_id in enumerate(statement.get("programmes", ())):
            if self.programme(programme_id) is None:
                unknown("programme", programme_id, f"/programmes/{i}")
        current = self.fund(statement["id"])
        _check_supersedes(current, platform, statement)
        new = fund_of(index, current.platform if current else platform, statement)
        if current:
            self._check_replaces(statement["id"], current, new)
        self.funds[statement["id"]] = new
        return []

    def _check_replaces(self, fund_id: str, current: Fund, new: Fund) -> None:
        if new.currency != current.currency:
            detail = f"the currency of a fund stays {current.currency}"
            refuse("immutable_field", "/currency", detail)
        if self._position(fund_id).n and is_looser(current.cost_cap_bp, new.cost_cap_bp):
            detail = f"money was given under a cap of {current.cost_cap_bp}; it may only tighten"
            refuse("cap_loosened", "/policy/cost_cap_bp", detail)


def _check_supersedes(
    current: Registration | Fund | None, platform: str, statement: Statement
) -> None:
    """Only the registering platform replaces, and only what is current."""
    if current and current.platform != platform:
        detail = f"{statement['id']!r} was registered by {current.platform!r}, who may replace it"
        refuse("forbidden", "/id", detail)
    if statement.get("supersedes") != (current.index if current else None):
        now = f"its current statement is {current.index}" if current else "it is not registered yet"
        refuse("stale", "/supersedes", f"{statement['id']!r}: {now}")
