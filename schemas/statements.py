"""Every statement type a ledger takes: DESIGN of the fields, one class per type.

`check_statement` is the step "schema and spelling" of admission; the audit runs it again on
every entry. Fields marked Unsupported belong to the format but are refused until enforced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from marshmallow import Schema, ValidationError, fields, validates_schema

from ledger.entry import FORMAT, STATEMENT_BYTES_MAX, pointer_token
from ledger.errors import Fault, Refusal
from ledger.money import AmountError, parse_amount
from schemas.fields import (
    Amount,
    Currency,
    CurrencyTable,
    Date,
    Decimal,
    Flag,
    Hash,
    Id,
    Items,
    OneOf,
    Ref,
    Text,
    Time,
    Unsupported,
    Url,
    Whole,
)

BASIS_POINTS = 10_000


class StatementSchema(Schema):
    type = fields.String(required=True)
    ref = Ref(required=True)


class EvidenceSchema(Schema):
    """A file that stays with its owner, named by its digest."""

    sha256 = Hash(required=True)
    media_type = Text(100, required=True)
    bytes = Whole(required=True)
    uri = Url()
    category = Text(10)
    salted = Flag()


def evidence() -> Items:
    return Items(fields.Nested(EvidenceSchema), most=16)


class PartySchema(StatementSchema):
    id = Id("party", required=True)
    name = Text(140, required=True)
    kind = OneOf(
        "government",
        "private",
        "ngo",
        "community",
        "platform",
        "foundation",
        "academic",
        "media",
        "auditor",
        "multilateral",
        required=True,
    )
    keys = Unsupported()
    signed_only = Unsupported()
    area = Text(40)
    registry = Text(80)
    url = Url()
    supersedes = Whole()


class ParticipantSchema(Schema):
    party = Id("party", required=True)
    role = OneOf(
        "orchestrator", "funding", "accountable", "extending", "implementing", required=True
    )


class GoalSchema(Schema):
    indicator = Text(140, required=True)
    baseline = Decimal()
    target = Decimal()
    by = Date()


class ProgrammeSchema(StatementSchema):
    id = Id("programme", required=True)
    title = Text(140, required=True)
    lead = Id("party", required=True)
    participants = Items(fields.Nested(ParticipantSchema), most=200)
    goal = fields.Nested(GoalSchema)
    supersedes = Whole()


class PolicySchema(Schema):
    """What a fund binds itself to; may be empty."""

    cost_cap_bp = Whole(most=BASIS_POINTS)
    approvals = Unsupported()
    evidence_from_amount = Unsupported()


class PermitSchema(Schema):
    number = Text(80, required=True)
    issuer = Text(140, required=True)
    valid_from = Date(required=True)
    valid_until = Date(required=True)


class FundSchema(StatementSchema):
    id = Id("fund", required=True)
    title = Text(140, required=True)
    owner = Id("party", required=True)
    platforms = Items(Id("party"), required=True)
    currency = Currency(required=True)
    policy = fields.Nested(PolicySchema, required=True)
    status = OneOf("open", "closed", required=True)
    category = Text(40)
    programmes = Items(Id("programme"))
    restriction = OneOf("with_donor", "without_donor")
    goal_amount = Amount()
    permit = fields.Nested(PermitSchema)
    supersedes = Whole()


class FeeSchema(Schema):
    kind = OneOf("platform", "payment", required=True)
    amount = Amount(required=True)


class DonorSchema(Schema):
    """What may be said of a donor in public: never a natural person."""

    kind = OneOf("individual", "organisation", "pooled", required=True)
    party = Id("party")
    sd = Unsupported()
    holder = Unsupported()

    @validates_schema
    def _party_is_the_organisation(self, data: Mapping[str, Any], **_: Any) -> None:
        if (data["kind"] == "organisation") != ("party" in data):
            raise ValidationError("required for organisations, and only for them", "party")


class MoneySchema(StatementSchema):
    amount = Amount(required=True)
    currency = Currency(required=True)
    occurred_at = Time(required=True)


class DonationSchema(MoneySchema):
    """Money in, as a platform reports it."""

    fund = Id("fund", required=True)
    fees = Items(fields.Nested(FeeSchema), most=8)
    channel = OneOf("qris", "va", "ewallet", "transfer", "card", "cash", "payroll", "other")
    donor = fields.Nested(DonorSchema)


class RecipientSchema(Schema):
    """A registered party, or a group that is counted but never named."""

    party = Id("party")
    group = Text(80)
    count = Whole(least=1)
    area = Text(40)

    @validates_schema
    def _party_or_group(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.keys() != {"party"} and data.keys() != {"group", "count", "area"}:
            raise ValidationError("expected either party, or group, count and area")


class DisbursementSchema(MoneySchema):
    """Money out, to a party or a group."""

    fund = Id("fund", required=True)
    category = OneOf("programme", "operational", required=True)
    recipient = fields.Nested(RecipientSchema, required=True)
    purpose = Text(140, required=True)
    purpose_code = Text(20)
    evidence = evidence()


class TransferSchema(MoneySchema):
    """Money from one fund to another."""

    from_fund = Id("fund", required=True)
    to_fund = Id("fund", required=True)
    basis = OneOf("terms", "donor_vote", "authority", required=True)
    purpose = Text(140)
    evidence = evidence()


class ReversalSchema(StatementSchema):
    """What undoes part of an earlier entry; its currency is the target's."""

    target = Whole(required=True)
    amount = Amount(required=True)
    occurred_at = Time()
    evidence = evidence()


class RefundSchema(ReversalSchema):
    """Money back to a donor."""

    reason = OneOf("donor_request", "duplicate", "mistake", "cancelled", "fraud", required=True)
    fees = Items(fields.Nested(FeeSchema), most=8)


class ReturnSchema(ReversalSchema):
    """A disbursement or transfer that came back."""

    reason = OneOf("bounced", "cancelled", "mistake", "unused", required=True)


class GenesisSchema(StatementSchema):
    """Entry 0, written by the ledger itself: who it is and what its money is counted in."""

    format = OneOf(FORMAT, required=True)
    origin = Text(200, required=True)
    operator = Text(140, required=True)
    vkeys = Items(Text(2000), required=True)
    currencies = CurrencyTable(required=True)


STATEMENTS: dict[str, Schema] = {
    "genesis": GenesisSchema(),
    "party": PartySchema(),
    "programme": ProgrammeSchema(),
    "fund": FundSchema(),
    "donation": DonationSchema(),
    "disbursement": DisbursementSchema(),
    "transfer": TransferSchema(),
    "refund": RefundSchema(),
    "return": ReturnSchema(),
}
# Types of the format that are refused until their rules are enforced.
UNSUPPORTED = frozenset(
    "goods_in goods_out acknowledgement report evidence attestation key currency".split()
)


def is_understood(statement: Mapping[str, Any]) -> bool:
    """Whether this version knows the statement's type, and for a genesis its format."""
    kind = statement.get("type")
    if kind == "genesis":
        return statement.get("format") == FORMAT
    return isinstance(kind, str) and kind in STATEMENTS


def check_statement(statement: Any, size: int, currencies: Mapping[str, int]) -> None:
    """Hold a statement to its schema and spelling. Pointers are relative to the statement.

    size: bytes of its canonical form. currencies: ISO code -> exponent, this ledger's table.
    Raises Refusal: invalid, invalid_amount, not_supported or unknown_currency.
    """
    schema = _schema_of(statement)
    if size > STATEMENT_BYTES_MAX:
        _refuse("invalid", [Fault("", f"{size} bytes; at most {STATEMENT_BYTES_MAX}")])
    if faults := schema.validate(statement):
        _refuse_worst(list(_faults(faults, "")))
    currency = statement.get("currency")
    if currency is None:  # neither a fund nor money, or its currency is the target's
        return
    if currency not in currencies:
        _refuse("unknown_currency", [Fault("/currency", f"{currency} is not in the table")])
    check_exponents(statement, currencies[currency])


def check_exponents(statement: Mapping[str, Any], exponent: int) -> None:
    """Refuse (`invalid_amount`) any amount with more decimals than its currency has."""
    faults = []
    for pointer, amount in _amounts(statement):
        try:
            parse_amount(amount, exponent)
        except AmountError as error:
            faults.append(Fault(pointer, str(error)))
    if faults:
        _refuse("invalid_amount", faults)


def mentions(statement: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every party, programme and fund a statement names, as (kind, id). Read off the schema."""
    return set(_mentions(STATEMENTS[statement["type"]].fields, statement))


def _mentions(
    schema_fields: Mapping[str, fields.Field[Any]], value: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for name, member in value.items():
        field, members = schema_fields[name], [member]
        if isinstance(field, Items):
            field, members = field.inner, member
        for one in members:
            if isinstance(field, Id):
                yield field.names, one
            elif isinstance(field, fields.Nested):
                yield from _mentions(field.schema.fields, one)


def _amounts(statement: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("amount", "goal_amount"):
        if name in statement:
            yield f"/{name}", statement[name]
    for i, fee in enumerate(statement.get("fees", ())):
        yield f"/fees/{i}/amount", fee["amount"]


def _schema_of(statement: Any) -> Schema:
    if not isinstance(statement, dict):
        _refuse("invalid", [Fault("", "a statement is an object with a type")])
    kind = statement.get("type")
    if isinstance(kind, str) and kind in UNSUPPORTED:
        detail = f"statements of type {kind!r} are not enforced here yet"
        _refuse("not_supported", [Fault("/type", detail)])
    schema = STATEMENTS.get(kind) if isinstance(kind, str) else None
    if schema is None:
        _refuse("invalid", [Fault("/type", "expected one of " + ", ".join(STATEMENTS))])
    return schema


def _faults(errors: Any, pointer: str) -> Iterator[tuple[Fault, str]]:
    """Flatten marshmallow's error tree into faults, each with the code it leads to."""
    if isinstance(errors, dict):
        for key, below in errors.items():
            at = pointer if key == "_schema" else f"{pointer}/{pointer_token(str(key))}"
            yield from _faults(below, at)
    else:
        for message in errors:
            yield Fault(pointer, str(message)), getattr(message, "code", "invalid")


def _refuse_worst(faults: list[tuple[Fault, str]]) -> None:
    codes = {code for _, code in faults}
    for code in ("invalid_amount", "invalid"):
        if code in codes:
            _refuse(code, [fault for fault, its in faults if its != "not_supported"])
    _refuse("not_supported", [fault for fault, _ in faults])


def _refuse(code: str, faults: list[Fault]) -> NoReturn:
    first = faults[0]
    detail = f"{first.pointer or 'the statement'}: {first.detail}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise Refusal(code, detail + more, faults)
