"""Every statement type a ledger takes, one class each: its fields and what they hold.

The only source of validation: schemas/check.py runs these, and compiles them for speed. Fields
marked Unsupported belong to the format but are refused until enforced.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from ledger.entry import FORMAT
from ledger.signatures import key_of
from ledger.tlog.note import KEY_ID_SIZE
from schemas.fields import (
    Amount,
    Currency,
    CurrencyTable,
    Date,
    Decimal,
    Digest,
    Flag,
    Hash,
    Id,
    Items,
    KeySignature,
    OneOf,
    Quantity,
    Ref,
    RuledSchema,
    Text,
    Time,
    Unit,
    Unsupported,
    Url,
    Vkey,
    Whole,
)

BASIS_POINTS = 10_000
SIGNATURES_MAX = 16
# So that those who post, own and receive still find room among the signatures.
APPROVERS_NEEDED_MAX = 8


class StatementSchema(Schema):
    type = Text(32, required=True)
    ref = Ref(required=True)


class EvidenceSchema(Schema):
    """A file that stays with its owner, named by its digest."""

    sha256 = Hash(required=True)
    media_type = Text(100, required=True)
    bytes = Whole(required=True)
    uri = Url()
    category = Text(10)
    salted = Flag()


def evidence(required: bool = False) -> Items:
    return Items(fields.Nested(EvidenceSchema), most=16, required=required)


class SignatureSchema(Schema):
    """One party's signature beside a statement."""

    party = Id("party", required=True)
    sig = KeySignature(required=True)


class SignaturesSchema(RuledSchema):
    """What may stand beside a statement, in a post and in an entry."""

    signatures = Items(fields.Nested(SignatureSchema), most=SIGNATURES_MAX)

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        keys = [(one["party"], b64decode(one["sig"])[:KEY_ID_SIZE]) for one in data["signatures"]]
        if len(set(keys)) < len(keys):
            return "signatures", "a party signs once with each of its keys"
        return None


class PartySchema(RuledSchema, StatementSchema):
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
    keys = Items(Vkey(), most=8)
    signed_only = Flag()
    area = Text(40)
    registry = Text(80)
    url = Url()
    supersedes = Whole()

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        keys = [key_of(vkey) for vkey in data.get("keys", ())]
        if any(key.name != data["id"] for key in keys):
            return "keys", "a party's keys are named by its id"
        if len({key.key_id for key in keys}) < len(keys):
            return "keys", "two keys have the same key ID; make another one"
        if data.get("signed_only") and not keys:
            return "signed_only", "needs keys to sign with"
        return None


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


class ApprovalsSchema(RuledSchema):
    """How many of whom must sign what moves at least so much money."""

    from_amount = Amount(required=True)
    needed = Whole(least=1, most=APPROVERS_NEEDED_MAX, required=True)
    approvers = Items(Id("party"), required=True)

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        if data["needed"] > len(data["approvers"]):
            return "needed", "more than there are approvers"
        return None


class PolicySchema(Schema):
    """What a fund binds itself to; may be empty."""

    cost_cap_bp = Whole(most=BASIS_POINTS)
    approvals = fields.Nested(ApprovalsSchema)
    evidence_from_amount = Amount()


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


class DonorSchema(RuledSchema):
    """What may be said of a donor in public: never a natural person."""

    kind = OneOf("individual", "organisation", "pooled", required=True)
    party = Id("party")
    sd = Unsupported()
    holder = Unsupported()

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        if (data["kind"] == "organisation") != ("party" in data):
            return "party", "required for organisations, and only for them"
        return None


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


class RecipientSchema(RuledSchema):
    """A registered party, or a group that is counted but never named."""

    party = Id("party")
    group = Text(80)
    count = Whole(least=1)
    area = Text(40)

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        if data.keys() != {"party"} and data.keys() != {"group", "count", "area"}:
            return "_schema", "expected either party, or group, count and area"
        return None


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


class AcknowledgementSchema(RuledSchema, StatementSchema):
    """What the recipient of an earlier entry says became of it."""

    target = Whole(required=True)
    target_leaf = Hash(required=True)
    by = Id("party", required=True)
    status = OneOf("received", "partial", "not_received", "disputed", required=True)
    amount = Amount()
    occurred_at = Time(required=True)
    evidence = evidence()

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        if "amount" in data and data["status"] != "partial":
            return "amount", "says how much came, and only when it is partial"
        return None


class CheckpointSchema(Schema):
    """The three lines of a checkpoint. Not as one text: no string here holds a line end."""

    origin = Text(200, required=True)
    size = Whole(least=1, required=True)
    root = Hash(required=True)


class AttestationSchema(StatementSchema):
    """An auditor's opinion of the log up to a checkpoint."""

    by = Id("party", required=True)
    checkpoint = fields.Nested(CheckpointSchema, required=True)
    opinion = OneOf("unqualified", "qualified", "adverse", "disclaimer", required=True)
    scope_funds = Items(Id("fund"))
    evidence = evidence()


class GoodsSchema(RuledSchema):
    """Things, counted apart from all money. The value is an estimate, for display only."""

    type = Text(32, required=True)
    ref = Ref(required=True)
    fund = Id("fund", required=True)
    item = Text(80, required=True)
    unit = Unit(required=True)
    quantity = Quantity(required=True)
    occurred_at = Time(required=True)
    estimated_value = Amount()
    currency = Currency()
    evidence = evidence()

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        given = data.keys() & {"estimated_value", "currency"}
        if len(given) == 1:
            missing = "estimated_value" if "currency" in given else "currency"
            return missing, "an estimated value has a currency, and nothing else here has"
        return None


class GoodsInSchema(GoodsSchema):
    """Things that came in."""


class GoodsOutSchema(GoodsSchema):
    """Things that were handed out, to a party or a group."""

    recipient = fields.Nested(RecipientSchema, required=True)


class EvidenceStatementSchema(StatementSchema):
    """Evidence for an entry that was sealed before."""

    target = Whole(required=True)
    target_leaf = Hash(required=True)
    evidence = evidence(required=True)


class IndicatorSchema(Schema):
    name = Text(140, required=True)
    value = Decimal(required=True)
    unit = Text(20)
    period_from = Date()
    period_to = Date()
    area = Text(40)


class ReportSchema(RuledSchema):
    """What became of a fund or a programme, in words or in numbers."""

    type = Text(32, required=True)
    ref = Ref(required=True)
    fund = Id("fund")
    programme = Id("programme")
    title = Text(140, required=True)
    text_digest = Digest()
    indicator = fields.Nested(IndicatorSchema)
    by = Id("party", required=True)
    evidence = evidence()

    def broken_rule(self, data: Mapping[str, Any]) -> tuple[str, str] | None:
        if ("fund" in data) == ("programme" in data):
            wrong = "programme" if "fund" in data else "fund"
            return wrong, "a report is on either a fund or a programme"
        return None


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
    "goods_in": GoodsInSchema(),
    "goods_out": GoodsOutSchema(),
    "report": ReportSchema(),
    "evidence": EvidenceStatementSchema(),
    "acknowledgement": AcknowledgementSchema(),
    "attestation": AttestationSchema(),
}
# Beside a statement, in a post and in an entry.
SIGNATURES = SignaturesSchema()
# Types of the format that are refused until their rules are enforced.
UNSUPPORTED = frozenset("key currency".split())
