"""Reading a file in the 360Giving format (https://standard.threesixtygiving.org). Pure.

Only what the mapping needs is looked at, and of a grant to an individual nothing is taken but
its id, amount and date, and who funded it. What an amount, a date or a ref may be is for the
ledger to say; nothing is repaired or cut on the way to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from ledger.errors import Refusal
from schemas.fields import DATE, ID

FUNDER, RECIPIENT = "foundation", "ngo"  # kinds of parties
_LAST = datetime.max.replace(tzinfo=UTC)


class Refused(NamedTuple):
    """A record that was not imported. id: the grant's, or its place in the file without one."""

    id: str
    code: str  # one of ledger.errors.REFUSALS
    reason: str


class Organisation(NamedTuple):
    """A party to be. registry: the id as the file writes it; `id` is that in lower case."""

    id: str
    registry: str
    name: str
    kind: str


class Grant(NamedTuple):
    """One readable record. recipient: None for an individual, of whom nothing is taken."""

    id: str
    fund: str
    amount: str
    currency: str
    occurred_at: str
    purpose: str
    funder: Organisation
    recipient: Organisation | None

    def organisations(self) -> list[Organisation]:
        return [self.funder] + ([self.recipient] if self.recipient else [])

    def order(self) -> tuple[datetime, str]:
        """By award date, then id. What is no date comes last; the ledger refuses it anyway."""
        try:
            moment = datetime.fromisoformat(self.occurred_at)
        except ValueError:
            moment = _LAST
        return moment if moment.tzinfo else _LAST, self.id


def read_grants(data: bytes) -> list[Grant | Refused]:
    """The records of a file: what is not readable first, then grants by award date, then id.

    An organisation has its first name in the file, and is a foundation when it funds anything.
    Only what the mapping needs is looked at here; all else is for the ledger to refuse. Raises
    Refusal when the file is not JSON (`malformed`) or not `{"grants": [...]}` (`invalid`).
    """
    grants: list[Grant] = []
    unified: list[Grant] = []
    refused: list[Refused] = []
    for number, record in enumerate(_records(data)):
        try:
            grants.append(_grant(record))
        except Refusal as refusal:
            refused.append(Refused(_name(record, number), refusal.code, str(refusal)))
    directory = _directory(grants)
    for grant in sorted(grants, key=Grant.order):
        try:
            unified.append(_unified(grant, directory))
        except Refusal as refusal:
            refused.append(Refused(shown(grant.id), refusal.code, str(refusal)))
    return [*refused, *unified]


def shown(text: str) -> str:
    """`text` of the file, safe to print."""
    return text if text.isprintable() else ascii(text)


def _records(data: bytes) -> list[Any]:
    try:
        document = json.loads(
            data.decode("utf-8"),
            parse_float=_decimal,
            parse_int=Decimal,
            parse_constant=str,
            object_pairs_hook=_once,
        )
    except (ValueError, RecursionError) as error:
        raise Refusal("malformed", f"the file is not JSON in UTF-8: {error}") from error
    grants = document.get("grants") if isinstance(document, dict) else None
    if not isinstance(grants, list):
        _invalid('a 360Giving file is an object {"grants": [...]}, each key once')
    return grants


def _decimal(text: str) -> Decimal | str:
    """The exact digits; a number with an exponent stays a text, which no amount is."""
    return text if "e" in text.lower() else Decimal(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """An object; None for one that has a key twice, since it says two things."""
    members = dict(pairs)
    return members if len(members) == len(pairs) else None


def _name(record: Any, number: int) -> str:
    grant_id = record.get("id") if isinstance(record, dict) else None
    return shown(grant_id) if isinstance(grant_id, str) and grant_id else f"/grants/{number}"


def _grant(record: Any) -> Grant:
    if not isinstance(record, dict):
        _invalid("a grant is an object, each key once")
    if ("recipientOrganization" in record) == ("recipientIndividual" in record):
        _invalid("expected either recipientOrganization or recipientIndividual")
    if "recipientOrganization" in record:
        recipient = _organisation(record, "recipientOrganization", RECIPIENT)
        purpose = _text(record, "title").strip()
    else:
        if not isinstance(record["recipientIndividual"], dict):
            _invalid("recipientIndividual: expected one object, each key once")
        recipient, purpose = None, "Grant to an individual"
    funder = _organisation(record, "fundingOrganization", FUNDER)
    currency, awarded = _text(record, "currency"), _text(record, "awardDate")
    return Grant(
        id=_text(record, "id"),
        fund=_id(f"{funder.registry}-{currency}", "as the id of its fund"),
        amount=_amount(record),
        currency=currency,
        occurred_at=f"{awarded}T00:00:00Z" if DATE.fullmatch(awarded) else awarded,
        purpose=purpose,
        funder=funder,
        recipient=recipient,
    )


def _organisation(record: dict[str, Any], name: str, kind: str) -> Organisation:
    organisations = record.get(name)
    if not isinstance(organisations, list) or not organisations:
        _invalid(f"{name}: expected an array of one organisation")
    if len(organisations) > 1:
        detail = f"{name}: {len(organisations)} of them, and nothing says how much is whose"
        raise Refusal("not_supported", detail)
    organisation = organisations[0]
    if not isinstance(organisation, dict):
        _invalid(f"{name}: an organisation is an object, each key once")
    registry = _text(organisation, "id", f"{name}/0/")
    party = _id(registry, f"as the id of {name}")
    return Organisation(party, registry, _text(organisation, "name", f"{name}/0/").strip(), kind)


def _text(value: dict[str, Any], name: str, under: str = "") -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        _invalid(f"{under}{name}: expected a text")
    return text


def _id(text: str, role: str) -> str:
    """`text` in lower case, as an id of this ledger; ASCII, since the Kelvin sign lowers to k."""
    lowered = text.lower()
    if not text.isascii() or not ID.fullmatch(lowered):
        _invalid(f"{text!a} {role}: expected 1 to 63 of A-Z, a-z, 0-9 and -, not beginning with -")
    return lowered


def _amount(record: dict[str, Any]) -> str:
    amount = record.get("amountAwarded")
    if not isinstance(amount, Decimal):
        detail = "amountAwarded: expected a number in plain digits, such as 150000.50"
        raise Refusal("invalid_amount", detail)
    return f"{amount:f}"


def _directory(grants: Iterable[Grant]) -> dict[str, Organisation]:
    """Party id -> the organisation as the file first writes it; a funder wherever it is one."""
    directory: dict[str, Organisation] = {}
    for grant in grants:
        for organisation in grant.organisations():
            first = directory.setdefault(organisation.id, organisation)
            if organisation.kind == FUNDER:
                directory[organisation.id] = first._replace(kind=FUNDER)
    return directory


def _unified(grant: Grant, directory: dict[str, Organisation]) -> Grant:
    """`grant` with its organisations as the directory has them."""
    for organisation in grant.organisations():
        first = directory[organisation.id]
        if organisation.registry != first.registry:
            # They may be one organisation or two; on the ledger they would be one.
            detail = (
                f"the organisation {organisation.registry!r} differs only in upper and lower "
                f"case from {first.registry!r}, which stands before it in the file"
            )
            raise Refusal("ref_conflict", detail)
    recipient = directory[grant.recipient.id] if grant.recipient else None
    return grant._replace(funder=directory[grant.funder.id], recipient=recipient)


def _invalid(detail: str) -> NoReturn:
    raise Refusal("invalid", detail)
