"""Activities in the IATI standard, version 2.03: each fund is one, and its money the transactions.

docs/exports.md, "iati" has the mapping. What donors gave is added up by day; nothing says who
they were, unless they are organisations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from ledger.entry import Entry
from ledger.errors import NotFound
from ledger.exports.amounts import amount_of, signed
from ledger.exports.iati_activity import Activity, Element, activity_end, activity_head, element
from ledger.exports.iati_codes import DISBURSEMENT, EXPENDITURE, INCOMING, VERSION
from ledger.exports.log import Log, Sealed, understood
from ledger.exports.registry import Registry
from ledger.exports.scratch import Scratch
from ledger.state import Statement, fees_of

_TABLES = (
    "transactions (n INTEGER PRIMARY KEY, fund TEXT, xml TEXT)",
    """sums (fund TEXT, day TEXT, code TEXT, label TEXT, party TEXT, minor INTEGER,
        PRIMARY KEY (fund, day, code, label, party)) WITHOUT ROWID""",
    # What a refund or return will ask of its target. party: "" for whoever is no organisation.
    "targets ([index] INTEGER PRIMARY KEY, code TEXT, party TEXT)",
)


def export(log: Log) -> Iterator[bytes]:
    """One XML document, an activity for each fund in the order of their registration.

    Raises NotFound without any.
    """
    with closing(Scratch(*_TABLES)) as scratch:
        scratch.execute("CREATE INDEX by_fund ON transactions (fund, n)")
        activities = _Activities(log, scratch)
        for sealed in understood(log):
            activities.take(sealed)
        for piece in activities.document():
            yield piece.encode() + b"\n"


class _Activities:
    """The activities as they are met, and their transactions on disk until the log has ended."""

    def __init__(self, log: Log, scratch: Scratch) -> None:
        self._log, self._scratch = log, scratch
        self._registry = Registry(log.checkpoint.origin)
        self._activities: dict[str, Activity] = {}
        self._newest = ""

    def take(self, sealed: Sealed) -> None:
        entry = sealed.entry
        statement = entry.statement
        self._registry.note(statement)
        self._newest = entry.recorded_at
        if statement["type"] == "fund":
            self._take_fund(entry)
        elif entry.totals:
            self._take_money(entry)

    def _take_fund(self, entry: Entry) -> None:
        fund, day = entry.statement, entry.recorded_at[:10]
        if fund["id"] not in self._activities:
            # For ever, whatever becomes of the owner or of its number in a register.
            owner = self._registry.organisation_id(fund["owner"])
            identifier = f"{owner}-{self._registry.local_id(fund['id'])}"
            self._activities[fund["id"]] = Activity(identifier, owner, day)
        activity = self._activities[fund["id"]]
        activity.updated = entry.recorded_at
        activity.ended = day if fund["status"] == "closed" else ""

    def _take_money(self, entry: Entry) -> None:
        day = entry.statement.get("occurred_at", entry.recorded_at)[:10]
        for total in entry.totals:
            activity = self._activities[total["fund"]]
            activity.updated = entry.recorded_at
            activity.started = min(activity.started, day)
        takers = {
            "donation": self._donation,
            "refund": self._refund,
            "disbursement": self._disbursement,
            "transfer": self._transfer,
            "return": self._return,
        }
        takers[entry.statement["type"]](entry, day)

    # -- donors, added up

    def _donation(self, entry: Entry, day: str) -> None:
        party = entry.statement.get("donor", {}).get("party", "")
        if party:
            self._remember(entry.index, INCOMING, party)
        self._add_donors(entry, day, party, "Donations", 1)

    def _refund(self, entry: Entry, day: str) -> None:
        _, party = self._target(entry.statement)
        self._add_donors(entry, day, party, "Refunds to donors", -1)

    def _add_donors(self, entry: Entry, day: str, party: str, label: str, sign: int) -> None:
        exponent = self._exponent(entry)
        amount = amount_of(entry.statement, exponent)
        sums = [(INCOMING, label, party, amount)]
        back = "" if sign > 0 else " given back"
        for kind, minor in fees_of(entry.statement, exponent).items():
            sums.append((EXPENDITURE, f"{kind.capitalize()} fees{back}", "", minor))
        sql = (
            "INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET minor = minor + excluded.minor"
        )
        for *key, minor in sums:
            if minor:
                self._scratch.execute(sql, (entry.totals[0]["fund"], day, *key, sign * minor))

    # -- what goes out, each by itself

    def _disbursement(self, entry: Entry, day: str) -> None:
        statement = entry.statement
        party = statement["recipient"].get("party", "")
        is_own = party in ("", self._registry.owner(statement["fund"]))
        is_spent = is_own or statement["category"] == "operational"
        code = EXPENDITURE if is_spent else DISBURSEMENT
        self._remember(entry.index, code, party)
        self._pay(entry, day, code, party, 1)

    def _pay(self, entry: Entry, day: str, code: str, party: str, sign: int) -> None:
        fund = entry.totals[0]["fund"]
        ends = [self._end("provider", self._registry.owner(fund), fund)]
        if party:
            ends.append(self._end("receiver", party))
        self._keep(entry, day, fund, code, sign, ends)

    def _transfer(self, entry: Entry, day: str) -> None:
        giver, taker = (total["fund"] for total in entry.totals)
        self._move(entry, day, giver, taker, 1)

    def _return(self, entry: Entry, day: str) -> None:
        """What came back, as a negative transaction of the kind it was, between the same two."""
        if len(entry.totals) == 2:
            taker, giver = (total["fund"] for total in entry.totals)
            self._move(entry, day, giver, taker, -1)
        else:
            self._pay(entry, day, *self._target(entry.statement), -1)

    def _move(self, entry: Entry, day: str, giver: str, taker: str, sign: int) -> None:
        """A transfer, as both activities report it."""
        owner = self._registry.owner
        ends = [
            self._end("provider", owner(giver), giver),
            self._end("receiver", owner(taker), taker),
        ]
        self._keep(entry, day, giver, DISBURSEMENT, sign, ends)
        self._keep(entry, day, taker, INCOMING, sign, ends)

    def _end(self, side: str, party: str, fund: str | None = None) -> Element:
        attributes = {"ref": self._registry.organisation_id(party)}
        if fund is not None:
            attributes[f"{side}-activity-id"] = self._activities[fund].identifier
        return element(f"{side}-org", attributes, narrative=self._registry.name(party))

    def _keep(
        self, entry: Entry, day: str, fund: str, code: str, sign: int, ends: list[Element]
    ) -> None:
        exponent = self._exponent(entry)
        value = signed(sign * amount_of(entry.statement, exponent), exponent)
        label = entry.statement.get("purpose", entry.statement["type"].capitalize())
        xml = str(transaction(code, day, value, label, ends, {"ref": str(entry.index)}))
        self._scratch.execute("INSERT INTO transactions VALUES (NULL, ?, ?)", (fund, xml))

    def _remember(self, index: int, code: str, party: str) -> None:
        self._scratch.execute("INSERT INTO targets VALUES (?, ?, ?)", (index, code, party))

    def _target(self, statement: Statement) -> tuple[str, str]:
        sql = "SELECT code, party FROM targets WHERE [index] = ?"
        row: Any = self._scratch.execute(sql, (statement["target"],)).fetchone()
        return row or (INCOMING, "")  # a gift of nobody that could be named

    def _exponent(self, entry: Entry) -> int:
        return self._log.currencies[entry.totals[0]["currency"]]

    # -- the document

    def document(self) -> Iterator[str]:
        if not self._activities:
            raise NotFound("there is no fund on this ledger, and IATI knows no empty file")
        checkpoint = self._log.checkpoint
        yield '<?xml version="1.0" encoding="UTF-8"?>'
        yield f"<!-- size {checkpoint.size}, root {checkpoint.root.hex()} -->"
        yield f'<iati-activities version="{VERSION}" generated-datetime="{self._newest}">'
        for fund, activity in self._activities.items():
            yield from activity_head(activity, self._registry.funds[fund], self._registry)
            yield from self._transactions(fund)
            yield from activity_end(activity, self._registry.funds[fund], self._registry)
        yield "</iati-activities>"

    def _transactions(self, fund: str) -> Iterator[str]:
        exponent = self._log.currencies[self._registry.funds[fund]["currency"]]
        sql = "SELECT day, code, label, party, minor FROM sums WHERE fund = ? ORDER BY 1, 2, 3, 4"
        for day, code, label, party, minor in self._scratch.execute(sql, (fund,)):
            ends = []
            if code == INCOMING:
                anybody = element("provider-org", narrative="Donors")
                ends = [self._end("provider", party) if party else anybody]
            yield str(transaction(code, day, signed(minor, exponent), label, ends))
        sql = "SELECT xml FROM transactions WHERE fund = ? ORDER BY n"
        for (xml,) in self._scratch.execute(sql, (fund,)):
            yield xml


def transaction(
    code: str,
    day: str,
    value: str,
    label: str,
    ends: list[Element],
    attributes: dict[str, str] | None = None,
) -> Element:
    """One transaction. ends: who gave and who took, in this order, as far as they are named."""
    return element(
        "transaction",
        attributes or {},
        element("transaction-type", {"code": code}),
        element("transaction-date", {"iso-date": day}),
        element("value", {"value-date": day}, text=value),
        element("description", narrative=label),
        *ends,
    )
