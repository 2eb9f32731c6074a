"""CSV: a row for each entry, for spreadsheets. docs/exports.md, "csv" has the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

from ledger.entry import canonical
from ledger.exports.amounts import amount_of
from ledger.exports.log import Log, Sealed, understood
from ledger.money import format_amount
from ledger.state import Statement, fees_of

# Their order is a promise: new ones come before `statement` only in a version that says so.
COLUMNS = (
    "index leaf_hash recorded_at platform type ref id name kind owner status fund balance to_fund "
    "to_balance currency amount platform_fees payment_fees occurred_at category channel donor "
    "party recipient_group recipient_count recipient_area purpose purpose_code reason basis "
    "target supersedes item unit quantity stock estimated_value statement"
).split()
# What a spreadsheet may take for the beginning of a formula (OWASP, "CSV Injection"), the wide
# forms included, which some locales read alike. An entry holds no tab or line end at all.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_AS_THEY_STAND = (
    "type ref id kind owner status currency occurred_at category channel purpose purpose_code "
    "reason basis target supersedes item unit quantity estimated_value"
).split()


def export(log: Log) -> Iterator[bytes]:
    """A row of names, then a row for each entry: RFC 4180, but for lines that end in LF."""
    yield _line(COLUMNS)
    for sealed in understood(log):
        cells = {**_entry(sealed), **_money(sealed, log.currencies), **_goods(sealed)}
        yield _line([_guarded(cells.get(column, "")) for column in COLUMNS])


def _line(cells: list[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()


def _guarded(cell: object) -> str:
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _entry(sealed: Sealed) -> dict[str, object]:
    entry, statement = sealed.entry, sealed.entry.statement
    cells = {name: statement[name] for name in _AS_THEY_STAND if name in statement}
    return cells | {
        "index": entry.index,
        "leaf_hash": sealed.leaf,
        "recorded_at": entry.recorded_at,
        "platform": entry.platform,
        "name": statement.get("name", statement.get("title", "")),
        "statement": canonical(statement).decode(),
    }


def _money(sealed: Sealed, currencies: Mapping[str, int]) -> dict[str, object]:
    """What is said of money: whence, whither, how much, and what the funds hold afterwards."""
    totals, statement = sealed.entry.totals, sealed.entry.statement
    if not totals:
        return {}
    currency = totals[0]["currency"]
    exponent = currencies[currency]
    cells = {
        "fund": totals[0]["fund"],
        "balance": totals[0]["balance"],
        "currency": currency,
        "amount": format_amount(amount_of(statement, exponent), exponent),
        **_ends(statement),
    }
    if len(totals) == 2:  # from the first to the second, on the way out and on the way back
        cells |= {"to_fund": totals[1]["fund"], "to_balance": totals[1]["balance"]}
    return cells | {
        f"{kind}_fees": format_amount(minor, exponent)
        for kind, minor in fees_of(statement, exponent).items()
        if minor
    }


def _goods(sealed: Sealed) -> dict[str, object]:
    """What is said of goods: of which fund, whither, and how much it holds of them afterwards."""
    goods, statement = sealed.entry.goods, sealed.entry.statement
    if not goods:
        return {}
    return {"fund": goods[0]["fund"], "stock": goods[0]["stock"], **_ends(statement)}


def _ends(statement: Statement) -> dict[str, object]:
    donor, recipient = statement.get("donor", {}), statement.get("recipient", {})
    return {
        "donor": donor.get("kind", ""),
        "party": donor.get("party", recipient.get("party", "")),
        "recipient_group": recipient.get("group", ""),
        "recipient_count": recipient.get("count", ""),
        "recipient_area": recipient.get("area", ""),
    }
