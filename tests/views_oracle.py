"""The figures of the views, added up slowly and plainly from a whole list of entries.

It shares no code with ledger/views: no lots that are consumed, nothing kept from one entry to the
next but the list of what came in and what went out. Times are in whole hours.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

Entry = dict[str, Any]
Piece = tuple[Decimal, Decimal, int]  # from, to, when it was given


def hour(time: str) -> int:
    return floor(Fraction(datetime.fromisoformat(time).timestamp()) / 3600)


class Oracle:
    """What the entries say, from the first on."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.now = hour(entries[-1]["recorded_at"])
        self.currencies = entries[0]["statement"]["currencies"]
        self.inflows: dict[str, list[Piece]] = {}
        self.outflows: dict[str, list[Piece]] = {}
        self.paid: dict[int, list[Piece]] = {}  # disbursement -> whose money, one behind another
        self.came_back: dict[int, Decimal] = {}
        for entry in entries:
            if entry.get("totals"):
                self._line(entry, entry["statement"])

    def _line(self, entry: Entry, s: Entry) -> None:
        totals = entry["totals"]
        match s["type"]:
            case "donation":
                self._come(
                    totals[0], [(Decimal(0), self._length(totals[0]), hour(s["occurred_at"]))]
                )
            case "disbursement":
                self.paid[entry["index"]] = self._go(totals[0])
            case "refund":
                self._go(totals[0])
            case "transfer" | "return" if len(totals) == 2:
                self._come(totals[1], self._go(totals[0]))
            case "return":
                low = self.came_back.get(s["target"], Decimal(0))
                high = low + Decimal(s["amount"])
                self.came_back[s["target"]] = high
                back = cut(self.paid[s["target"]], low, high)
                self._come(totals[0], [(a - low, b - low, at) for a, b, at in back])

    def _length(self, total: Entry) -> Decimal:
        return sum((Decimal(b) - Decimal(a) for a, b in total["spans"]), Decimal(0))

    def _come(self, total: Entry, pieces: list[Piece]) -> None:
        for start, _ in total["spans"]:
            moved = [(a + Decimal(start), b + Decimal(start), at) for a, b, at in pieces]
            self.inflows.setdefault(total["fund"], []).extend(moved)

    def _go(self, total: Entry) -> list[Piece]:
        gone = [
            piece
            for low, high in total["spans"]
            for piece in cut(self.inflows[total["fund"]], Decimal(low), Decimal(high))
        ]
        self.outflows.setdefault(total["fund"], []).extend(gone)
        found, at = [], Decimal(0)
        for low, high, given in gone:
            found.append((at, at + high - low, given))
            at += high - low
        return found

    # -- statements

    def current(self, kind: str) -> dict[str, Entry]:
        """id -> its newest statement."""
        said = [e["statement"] for e in self.entries if e["statement"]["type"] == kind]
        return {statement["id"]: statement for statement in said}

    def of(self, kind: str, fund: str, name: str = "fund") -> list[tuple[int, Entry]]:
        return [
            (e["index"], e["statement"])
            for e in self.entries
            if e["statement"]["type"] == kind and e["statement"].get(name) == fund
        ]

    def undone(self, target: int) -> Decimal:
        back = ("refund", "return")
        said = [e["statement"] for e in self.entries if e["statement"]["type"] in back]
        return sum((Decimal(s["amount"]) for s in said if s["target"] == target), Decimal(0))

    def net(self, index: int, statement: Entry) -> Decimal:
        return Decimal(statement["amount"]) - self.undone(index)

    def acknowledgement(self, target: int) -> Entry | None:
        said = [e["statement"] for e in self.entries]
        mine = [s for s in said if s["type"] == "acknowledgement" and s["target"] == target]
        return mine[-1] if mine else None

    # -- the figures of funds of one currency

    def figures(self, funds: list[str]) -> dict[str, Any]:
        statements, parties = self.current("fund"), self.current("party")
        given, inflow = Decimal(0), dict[str, Decimal]()
        spent, acknowledged_waits = list[tuple[int, Decimal]](), list[tuple[int, Decimal]]()
        said = dict.fromkeys(("acknowledged", "not_received", "disputed"), Decimal(0))
        paid = dict.fromkeys(("programme", "operational"), Decimal(0))
        fees = dict.fromkeys(("platform", "payment"), Decimal(0))
        moved = dict.fromkeys(("in", "out", "within"), Decimal(0))
        for fund in funds:
            for index, s in self.of("donation", fund):
                donor = s.get("donor", {})
                kind = donor.get("kind", "unstated")
                kind = parties[donor["party"]]["kind"] if "party" in donor else kind
                inflow[kind] = inflow.get(kind, Decimal(0)) + self.net(index, s)
                given += self.net(index, s)
                back = [x for _, x in self.of("refund", index, "target")]  # type: ignore[arg-type]
                for sign, charged in ((1, [s]), (-1, back)):
                    for fee in (fee for x in charged for fee in x.get("fees", ())):
                        fees[fee["kind"]] += sign * Decimal(fee["amount"])
            for index, s in self.of("disbursement", fund):
                net, at = self.net(index, s), hour(s["occurred_at"])
                paid[s["category"]] += net
                left = cut(self.paid[index], Decimal(s["amount"]) - net, Decimal(s["amount"]))
                spent += [(at - given_at, high - low) for low, high, given_at in left]
                if (ack := self.acknowledgement(index)) is not None:
                    amount = min(net, Decimal(ack.get("amount", net)))
                    name: dict[str, str] = {"received": "acknowledged", "partial": "acknowledged"}
                    status = name.get(ack["status"], str(ack["status"]))
                    said[status] += amount
                    if status == "acknowledged":
                        acknowledged_waits.append((hour(ack["occurred_at"]) - at, amount))
            for index, s in self.of("transfer", fund, "from_fund"):
                moved["within" if s["to_fund"] in funds else "out"] += self.net(index, s)
            for index, s in self.of("transfer", fund, "to_fund"):
                if s["from_fund"] not in funds:
                    moved["in"] += self.net(index, s)
                    kind = parties[statements[s["from_fund"]]["owner"]]["kind"]
                    inflow[kind] = inflow.get(kind, Decimal(0)) + self.net(index, s)
        unspent = self.unspent(funds)
        balance = sum((minor for _, minor in unspent), Decimal(0))
        disbursed, whole = paid["programme"] + paid["operational"], sum(inflow.values(), Decimal(0))
        cost = fees["platform"] + paid["operational"]
        return {
            "money": {
                "given": given,
                "moved_in": moved["in"],
                "moved_out": moved["out"],
                "moved_within": moved["within"],
                "platform_fees": fees["platform"],
                "payment_fees": fees["payment"],
                "disbursed": paid["programme"],
                "operational": paid["operational"],
                "balance": balance,
            },
            "cost": share(cost, given, ceil),
            "acknowledged": share(said["acknowledged"], disbursed, floor),
            "not_received": share(said["not_received"], disbursed, ceil),
            "disputed": share(said["disputed"], disbursed, ceil),
            "hours_to_disbursement": median(spent),
            "hours_to_acknowledgement": median(acknowledged_waits),
            "age_hours": median(unspent),
            "inflow": {kind: share(v, whole, floor) for kind, v in inflow.items() if v},
        }

    def unspent(self, funds: list[str]) -> list[tuple[int, Decimal]]:
        """How long, and how much, of what came in and did not go out."""
        found = []
        for fund in funds:
            gone = sorted(self.outflows.get(fund, []))
            for low, high, at in self.inflows.get(fund, []):
                out = sum((b - a for a, b, _ in cut(gone, low, high)), Decimal(0))
                if high - low > out:
                    found.append((self.now - at, high - low - out))
        return found


def cut(pieces: list[Piece], low: Decimal, high: Decimal) -> list[Piece]:
    """What of the pieces lies in [low, high), ascending."""
    shared = [(max(a, low), min(b, high), at) for a, b, at in pieces]
    return sorted(piece for piece in shared if piece[0] < piece[1])


def share(part: Decimal, whole: Decimal, rounded: Any) -> tuple[Decimal, Decimal, int | None]:
    return part, whole, rounded(Fraction(part) * 10_000 / Fraction(whole)) if whole else None


def median(waits: list[tuple[int, Decimal]]) -> tuple[Fraction | None, Decimal]:
    """The least wait that half of the money, or more, did not exceed; and of how much."""
    total = sum((minor for _, minor in waits), Decimal(0))
    for wait, _ in sorted(waits):
        if 2 * sum((minor for other, minor in waits if other <= wait), Decimal(0)) >= total > 0:
            return Fraction(wait), total
    return None, Decimal(0)
