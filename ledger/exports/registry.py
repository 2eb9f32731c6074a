"""Who and what a ledger has registered so far, and what other formats call them."""

from __future__ import annotations

import re

from ledger.state import Statement

# What identifiers of IATI and 360Giving may not hold, space included.
_UNFIT = re.compile(r"[\s/&|?]")


class Registry:
    """The current statement of each party, programme and fund. It grows with them, not with
    the entries of money."""

    def __init__(self, origin: str) -> None:
        self.operator = ""
        self.parties: dict[str, Statement] = {}
        self.programmes: dict[str, Statement] = {}
        self.funds: dict[str, Statement] = {}
        self._prefix = _UNFIT.sub(":", origin)

    def note(self, statement: Statement) -> None:
        """Take a statement up, if it registers something or replaces what was registered."""
        kinds = {"party": self.parties, "programme": self.programmes, "fund": self.funds}
        if statement["type"] in kinds:
            kinds[statement["type"]][statement["id"]] = statement
        elif statement["type"] == "genesis":
            self.operator = statement["operator"]

    def owner(self, fund_id: str) -> str:
        """The party that owns a fund now."""
        owner: str = self.funds[fund_id]["owner"]
        return owner

    def name(self, party_id: str) -> str:
        name: str = self.parties[party_id]["name"]
        return name

    def organisation_id(self, party_id: str) -> str:
        """The party's id in a public register, else one under the name of this ledger."""
        registry: str = self.parties[party_id].get("registry", "")
        return registry if registry and not _UNFIT.search(registry) else self.local_id(party_id)

    def local_id(self, name: object) -> str:
        """An id of our own, unique in the world as far as the ledger's origin is."""
        return f"{self._prefix}:{name}"
