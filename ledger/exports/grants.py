"""Grants in the 360Giving format (https://standard.threesixtygiving.org), version 1.4.

What one organisation gave to another, or to one person. docs/exports.md, "360giving" says what
is a grant here and what is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec

from ledger.entry import Entry, canonical
from ledger.errors import NotFound
from ledger.exports.amounts import amount_of
from ledger.exports.log import Log, Sealed, understood
from ledger.exports.registry import Registry
from ledger.exports.scratch import Scratch
from ledger.money import format_amount
from ledger.state import Statement

_VERSION = "1.4"
_PREFIX = "360G-"  # of ids that a publisher registered with 360Giving
# Of ISO 4217, but not of the standard's own list, which is closed.
_UNKNOWN_CURRENCIES = frozenset("SLE UYW VED XAD XCG ZWG".split())
_TABLE = (
    "grants ([index] INTEGER PRIMARY KEY, id TEXT UNIQUE, document BLOB, modified TEXT, "
    "amount INTEGER, "
    "exponent INTEGER, returned INTEGER)"
)
Grant = dict[str, Any]


def export(log: Log) -> Iterator[bytes]:
    """One JSON document, a grant a line, in the order of the log. Raises NotFound without any."""
    with closing(Scratch(_TABLE)) as scratch:
        grants = _Grants(log, scratch)
        for sealed in understood(log):
            grants.take(sealed)
        yield from grants.document()


class _Grants:
    """The grants as they are met. What came back of each is only known at the end of the log."""

    def __init__(self, log: Log, scratch: Scratch) -> None:
        self._log, self._scratch = log, scratch
        self._registry = Registry(log.checkpoint.origin)
        self._newest = ""
        self._left_out: Counter[str] = Counter()

    def take(self, sealed: Sealed) -> None:
        entry = sealed.entry
        self._newest = entry.recorded_at
        self._registry.note(entry.statement)
        if entry.statement["type"] == "return":
            self._take_back(entry)
        elif (recipient := self._recipient(entry.statement)) is not None:
            self._give(sealed, recipient)

    def _recipient(self, statement: Statement) -> Grant | None:
        """The field that names whom a grant went to; None for what is no grant."""
        owner = self._registry.owner
        if statement["type"] == "transfer":
            taker = owner(statement["to_fund"])
            return self._to(taker) if owner(statement["from_fund"]) != taker else None
        if statement["type"] != "disbursement" or statement["category"] != "programme":
            return None
        recipient = statement["recipient"]
        if "party" in recipient:
            party = recipient["party"]
            return self._to(party) if owner(statement["fund"]) != party else None
        if recipient["count"] > 1:
            self._left_out["disbursements to groups"] += 1
            return None
        return {"recipientIndividual": {"name": recipient["group"]}}

    def _to(self, party: str) -> Grant:
        return {"recipientOrganization": [self._organisation(party)]}

    def _organisation(self, party: str) -> Grant:
        return {"id": self._registry.organisation_id(party), "name": self._registry.name(party)}

    def _give(self, sealed: Sealed, recipient: Grant) -> None:
        entry, statement = sealed.entry, sealed.entry.statement
        currency = statement["currency"]
        if currency in _UNKNOWN_CURRENCIES:
            self._left_out[f"grants in {currency}"] += 1
            return
        fund = statement["fund" if "fund" in statement else "from_fund"]
        purpose = statement.get("purpose", f"Transfer {entry.index}")
        document = {
            "title": purpose,
            "description": purpose,
            "currency": currency,
            "awardDate": statement["occurred_at"].removesuffix("T00:00:00Z"),
            "fundingOrganization": [self._organisation(self._registry.owner(fund))],
            **recipient,
            "grantProgramme": [{"code": fund, "title": self._registry.funds[fund]["title"]}],
            "ledgerEntry": {"index": entry.index, "leafHash": sealed.leaf},
        }
        exponent = self._log.currencies[currency]
        row = (canonical(document), entry.recorded_at, amount_of(statement, exponent), exponent)
        self._insert(entry.index, statement["ref"], row)

    def _insert(self, index: int, ref: str, row: tuple[bytes, str, int, int]) -> None:
        """Under its own id where it came with one. Two platforms may have posted one grant of
        one file; ids are unique, so the second has one of the ledger's."""
        local = self._registry.local_id(index)
        for grant_id in [ref, local] if ref.startswith(_PREFIX) else [local]:
            sql = "INSERT OR IGNORE INTO grants VALUES (?, ?, ?, ?, ?, ?, 0)"
            if self._scratch.execute(sql, (index, grant_id, *row)).rowcount:
                return
        raise AssertionError("an index stands for one entry")

    def _take_back(self, entry: Entry) -> None:
        exponent = self._log.currencies[entry.totals[0]["currency"]]
        sql = "UPDATE grants SET returned = returned + ?, modified = ? WHERE [index] = ?"
        amount, target = amount_of(entry.statement, exponent), entry.statement["target"]
        self._scratch.execute(sql, (amount, entry.recorded_at, target))

    def document(self) -> Iterator[bytes]:
        sql = (
            "SELECT id, document, modified, exponent, amount, amount - returned FROM grants "
            "ORDER BY [index]"
        )
        head = f'{{"version":"{_VERSION}","grants":[\n'.encode()
        separator = head
        for row in self._scratch.execute(sql):
            yield separator + _printed(*row)
            separator = b",\n"
        if separator is head:
            raise NotFound("there is no grant on this ledger, and 360Giving knows no empty file")
        yield b"\n]," + canonical(self._metadata())[1:] + b"\n"
        for what, count in self._left_out.items():
            self._log.remarks.append(
                f"Left out, as the format has no place for them: {count} {what}."
            )

    def _metadata(self) -> Grant:
        checkpoint = self._log.checkpoint
        return {
            "identifier": f"{checkpoint.origin} {checkpoint.size} {checkpoint.root.hex()}",
            "issued": self._newest,
            "publisher": {"name": self._registry.operator},
            "title": f"Grants on the ledger {checkpoint.origin}",
        }


def _printed(grant_id: str, document: bytes, modified: str, exponent: int, *minor: int) -> bytes:
    """A grant's line. Raw: a JSON number with all its decimals, which a float might not hold."""
    awarded, disbursed = (msgspec.Raw(format_amount(m, exponent).encode()) for m in minor)
    late = {"amountAwarded": awarded, "amountDisbursed": disbursed, "dateModified": modified}
    grant: Grant = {"id": grant_id, **msgspec.json.decode(document), **late}
    if "recipientIndividual" in grant:
        grant["recipientIndividual"]["id"] = f"{grant_id}:recipient"
    return msgspec.json.encode(grant)
