"""A journal for hledger (https://hledger.org): every movement of money as double entry.

After each entry the journal asserts what the funds hold, so hledger adds everything up again.
docs/exports.md, "hledger" has the accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ledger.errors import Refusal
from ledger.exports.amounts import amount_of, signed
from ledger.exports.log import Log, Sealed, understood
from ledger.state import Statement, Total, fees_of

_ACCOUNTS = (
    "assets:funds income:donations income:refunds expenses:programme expenses:operational "
    "expenses:fees:platform expenses:fees:payment"
).split()


class Posting(NamedTuple):
    """One line of a transaction. balance: what the account must hold after it, as text."""

    account: str
    minor: int
    balance: str | None = None


def export(log: Log) -> Iterator[bytes]:
    """The head, then what each fund and each entry of money adds, in the order of the log.

    Only ids and refs, never a free text: in a comment that could be a tag or a date.
    """
    yield _head(log)
    journal = _Journal(log)
    for sealed in understood(log):
        yield journal.added_by(sealed).encode()


def _head(log: Log) -> bytes:
    """Comments that say which log this is. In ASCII, which hledger reads in any locale; the
    signed note, whose signature lines are not, stands in the manifest."""
    checkpoint = log.checkpoint
    head = f"; log: {ascii(checkpoint.origin)[1:-1]}\n; size: {checkpoint.size}\n"
    return f"{head}; root: {checkpoint.root.hex()}\n".encode()


class _Journal:
    """What must be remembered from entry to entry, of each fund and currency."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._declared: set[str] = set()
        self._operational_returned: dict[str, str] = {}

    def added_by(self, sealed: Sealed) -> str:
        statement = sealed.entry.statement
        if sealed.entry.totals:
            return self._transaction(sealed)
        return self._declarations(statement) if statement["type"] == "fund" else ""

    def _declarations(self, fund: Statement) -> str:
        """What strict checking wants to know beforehand, the first time a fund is registered."""
        currency, lines = fund["currency"], ""
        if currency not in self._declared:
            # A point always: it is how hledger learns what separates the decimals.
            decimals = "0" * self._log.currencies[currency]
            lines += f"\ncommodity {currency} 1000.{decimals}\n"
        if fund["id"] not in self._declared:
            lines += "\n" + "".join(f"account {name}:{fund['id']}\n" for name in _ACCOUNTS)
        # Upper case and lower case: no fund is called like a currency.
        self._declared |= {currency, fund["id"]}
        return lines

    def _transaction(self, sealed: Sealed) -> str:
        entry, statement = sealed.entry, sealed.entry.statement
        currency = entry.totals[0]["currency"]
        exponent = self._log.currencies[currency]
        # Dated by the ledger's clock, which never goes back: hledger asserts in order of dates.
        lines = [f"{entry.recorded_at[:10]} ({entry.index}) {entry.platform} | {statement['type']}"]
        tags = {"index": entry.index, "leaf": sealed.leaf, "ref": statement["ref"]}
        if "occurred_at" in statement:
            tags["occurred"] = statement["occurred_at"]
        if "target" in statement:
            tags["target"] = statement["target"]
        lines += [f"    ; {name}:{value}" for name, value in tags.items()]
        for posting in self._postings(statement, entry.totals, exponent):
            amount = f"{currency} {signed(posting.minor, exponent)}"
            held = "" if posting.balance is None else f" = {currency} {posting.balance}"
            lines.append(f"    {posting.account}  {amount}{held}")
        return "\n" + "\n".join(lines) + "\n"

    def _postings(self, statement: Statement, totals: list[Total], exponent: int) -> list[Posting]:
        """The lines of a transaction; their sum is zero."""
        amount = amount_of(statement, exponent)
        if len(totals) == 2:  # a transfer, or one on its way back: from the first to the second
            return [_purse(totals[0], -amount), _purse(totals[1], amount)]
        total = totals[0]
        fund, kind = total["fund"], statement["type"]
        fees = fees_of(statement, exponent)
        net = amount - sum(fees.values())
        paid = [
            Posting(f"expenses:fees:{kind}:{fund}", minor) for kind, minor in fees.items() if minor
        ]
        if kind == "donation":
            return [Posting(f"income:donations:{fund}", -amount), *paid, _purse(total, net)]
        if kind == "refund":
            back = [posting._replace(minor=-posting.minor) for posting in paid]
            return [Posting(f"income:refunds:{fund}", amount), *back, _purse(total, -net)]
        if kind == "disbursement":
            account = f"expenses:{statement['category']}:{fund}"
            return [Posting(account, amount), _purse(total, -amount)]
        if kind == "return":
            account = f"expenses:{self._category_returned(total)}:{fund}"
            return [Posting(account, -amount), _purse(total, amount)]
        raise Refusal("not_supported", f"this version cannot export {kind!r} to hledger")

    def _category_returned(self, total: Total) -> str:
        """Of the disbursement that came back, which may stand far behind in the log: the fund's
        counter of what was operational tells."""
        fund, counter = total["fund"], total.get("operational_returned", "")
        before = self._operational_returned.get(fund, "")
        self._operational_returned[fund] = counter
        return "programme" if counter == before else "operational"


def _purse(total: Total, minor: int) -> Posting:
    return Posting(f"assets:funds:{total['fund']}", minor, total["balance"])
