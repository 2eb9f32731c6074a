"""The books: one fold of statements into totals, spans and refusals, for writer and auditor.

`Books.post` looks at one statement that already passed its schema, in the order of admission
(docs/format.md, "Admission"), and either refuses it and changes nothing, or returns the
totals its entry carries. Pure: what it must remember it asks of a `State` and keeps staged
on top, so a writer lays one over its database and throws it away when a batch is refused,
and an auditor starts from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.books.layer import Posted
from ledger.books.money import Money
from ledger.books.refusing import refuse
from ledger.books.registrations import Registrations
from ledger.books.sayings import Sayings
from ledger.books.signing import registers
from ledger.books.things import Goods
from ledger.books.undoing import Undoing
from ledger.entry import SYSTEM_PLATFORM
from ledger.signatures import Signature
from ledger.state import Statement, Total


class Books(Registrations, Money, Undoing, Goods, Sayings):
    """The fold, with all it changed on top of what it lies on (`Layer`)."""

    def post(
        self,
        index: int,
        platform: str,
        statement: Statement,
        signatures: Sequence[Signature] = (),
    ) -> list[Total]:
        """Admit `statement` as entry `index`, posted by `platform`; its totals, or goods.

        Statement and signatures have passed their schemas. Raises Refusal and changes nothing.
        """
        post = Posted(index, platform, statement, signatures)
        kind = statement["type"]
        if kind != "genesis":
            self._check_platform(platform, statement)
        if signatures:
            self.check_signers(post)
        return _FOLDS[kind](self, post)

    def _check_platform(self, platform: str, statement: Statement) -> None:
        if self.party(platform) is None and not registers(statement, platform):
            refuse("unknown_reference", "", f"platform {platform!r} is not a registered party")

    def _genesis(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        if platform != SYSTEM_PLATFORM or index != 0:
            refuse("forbidden", "/type", "only the ledger itself writes its genesis, as entry 0")
        self.currencies = statement["currencies"]
        self.new_origin = statement["origin"]
        return []


_FOLDS = {
    "genesis": Books._genesis,
    "party": Books._party,
    "programme": Books._programme,
    "fund": Books._fund,
    "donation": Books._donation,
    "disbursement": Books._disbursement,
    "transfer": Books._transfer,
    "refund": Books._refund,
    "return": Books._return,
    "goods_in": Books._goods,
    "goods_out": Books._goods,
    "report": Books._report,
    "evidence": Books._evidence,
    "acknowledgement": Books._acknowledgement,
    "attestation": Books._attestation,
}
