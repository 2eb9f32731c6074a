"""Grants in the 360Giving format become parties, funds, donations and disbursements.

A grant is money into its funder's fund and the same money out of it again. Both go in one
atomic post, together with the parties and the fund that are not registered yet, so a grant
that is refused leaves nothing behind. `statements` is pure; only `import_grants` posts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ledger.errors import Refusal
from ledger.importers.giving360_file import Grant, Organisation, Refused, read_grants, shown
from ledger.money import CURRENCIES, format_amount, parse_amount
from ledger.target import Target

__all__ = ["Refused", "Report", "Sums", "Target", "import_grants", "read_grants", "statements"]

TITLE_MAX = 140  # of a fund
Statement = dict[str, Any]


class Sums(NamedTuple):
    """What an import sealed in one currency, as decimal strings of major units."""

    received: str
    paid_out: str
    to_organisations: str  # of what was paid out
    to_individuals: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one import added; nothing of a grant that was there before (`replayed`) counts."""

    grants: int
    replayed: int
    parties: int
    funds: int
    money_entries: int
    sums: dict[str, Sums]  # by currency
    refused: list[Refused]


def import_grants(
    data: bytes, target: Target, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Post every grant of a file, one atomic post each; go on when one is refused.

    progress: called with the records done and the records there are. Raises Refusal when the
    file as a whole is not readable, and whatever else `target` raises; then run it again:
    what was sealed is replayed.
    """
    records = read_grants(data)
    known: set[tuple[str, str]] = set()
    sealed: list[Statement] = []
    refused: list[Refused] = []
    outcomes: Counter[str] = Counter()
    for done, record in enumerate(records, 1):
        result = record if isinstance(record, Refused) else _post(record, target, known)
        if isinstance(result, Refused):
            refused.append(result)
        else:
            sealed += result
            outcomes["sealed" if result else "replayed"] += 1
        if progress is not None:
            progress(done, len(records))
    counts = Counter(statement["type"] for statement in sealed)
    return Report(
        grants=outcomes["sealed"],
        replayed=outcomes["replayed"],
        parties=counts["party"],
        funds=counts["fund"],
        money_entries=counts["donation"] + counts["disbursement"],
        sums=_sums(sealed),
        refused=refused,
    )


def _post(grant: Grant, target: Target, known: set[tuple[str, str]]) -> list[Statement] | Refused:
    """The statements of `grant` that were sealed just now; none when it was there before.

    known: kind and id of what need not be asked for again.
    """
    everything = statements(grant, target.platform)
    needed = [s for s in everything if not _is_there(s, target, known)]
    try:
        entries = target.post(needed)
    except Refusal as refusal:
        return Refused(shown(grant.id), refusal.code, _explain(refusal, needed))
    known.update((s["type"], s["id"]) for s in everything if "id" in s)
    return [s for s, entry in zip(needed, entries, strict=True) if not entry.replayed]


def _is_there(statement: Statement, target: Target, known: set[tuple[str, str]]) -> bool:
    """Whether a statement registers what is registered already, which is left as it is."""
    if "id" not in statement:
        return False  # money: only the ledger knows whether it is a replay
    item = (statement["type"], statement["id"])
    return item in known or target.registered(*item)


def _explain(refusal: Refusal, posts: Sequence[Statement]) -> str:
    """What was refused and why: the ledger's words point into a batch nobody sees."""
    pointer = refusal.faults[0].pointer if refusal.faults else ""
    for number, statement in enumerate(posts):
        if pointer.startswith(f"/entries/{number}/"):
            detail = str(refusal).removeprefix(f"/entries/{number}/statement")
            return f"{statement['type']} {shown(statement['ref'])}: {detail}"
    return str(refusal)


def _sums(sealed: Iterable[Statement]) -> dict[str, Sums]:
    minor: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for statement in sealed:
        for column in _columns(statement):
            currency = statement["currency"]
            minor[currency][column] += parse_amount(statement["amount"], CURRENCIES[currency])
    return {
        currency: Sums(*(format_amount(sums[c], CURRENCIES[currency]) for c in Sums._fields))
        for currency, sums in sorted(minor.items())
    }


def _columns(statement: Statement) -> tuple[str, ...]:
    """The sums that the amount of a statement adds to."""
    if statement["type"] == "donation":
        return ("received",)
    if statement["type"] == "disbursement":
        is_individual = "group" in statement["recipient"]
        return "paid_out", "to_individuals" if is_individual else "to_organisations"
    return ()


# -- from a grant to statements


def statements(grant: Grant, platform: str) -> list[Statement]:
    """All that `grant` says, posted by `platform`: its parties, its fund, money in, money out."""
    parties = {organisation.id: organisation for organisation in grant.organisations()}
    money = {
        "fund": grant.fund,
        "amount": grant.amount,
        "currency": grant.currency,
        "occurred_at": grant.occurred_at,
    }
    recipient = (
        {"party": grant.recipient.id}
        if grant.recipient
        else {"group": "individual grant", "count": 1, "area": "not stated"}
    )
    return [
        *(_party(organisation) for organisation in parties.values()),
        _fund(grant, platform),
        {
            "type": "donation",
            "ref": f"{grant.id}.in",
            "donor": {"kind": "organisation", "party": grant.funder.id},
            **money,
        },
        {
            "type": "disbursement",
            "ref": grant.id,
            "category": "programme",
            "recipient": recipient,
            "purpose": grant.purpose,
            **money,
        },
    ]


def _party(organisation: Organisation) -> Statement:
    return {"type": "party", "ref": f"party.{organisation.id}", **organisation._asdict()}


def _fund(grant: Grant, platform: str) -> Statement:
    title = f"{grant.funder.name} ({grant.currency})"
    if len(title) > TITLE_MAX:  # nothing is cut: the funder's id says it as well
        title = f"{grant.funder.registry} ({grant.currency})"
    return {
        "type": "fund",
        "ref": f"fund.{grant.fund}",
        "id": grant.fund,
        "title": title,
        "owner": grant.funder.id,
        "platforms": [platform],
        "currency": grant.currency,
        "policy": {},
        "status": "open",
    }
