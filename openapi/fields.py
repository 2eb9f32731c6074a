"""The field types of schemas/fields.py as JSON Schema, for apispec.

What a pattern or bound can say is said; the rest stands in words. The document may take more
than the border does (30 February), and never less.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from ledger.entry import INTEGER_MAX, SYSTEM_PLATFORM
from ledger.money import EXPONENT_MAX
from schemas.fields import (
    CURRENCY,
    URL_MAX,
    Amount,
    CurrencyTable,
    Date,
    Flag,
    Id,
    Items,
    KeySignature,
    OneOf,
    Pattern,
    Spelled,
    Text,
    Time,
    Unsupported,
    Url,
    Vkey,
    Whole,
)
from schemas.statements import (
    STATEMENTS,
    AcknowledgementSchema,
    ApprovalsSchema,
    DonorSchema,
    GoodsSchema,
    PartySchema,
    RecipientSchema,
    ReportSchema,
    SignaturesSchema,
)

Json = dict[str, Any]

AMOUNT: Json = {
    "type": "string",
    "pattern": rf"^(?!0(\.0*)?$)(0|[1-9][0-9]{{0,14}})(\.[0-9]{{1,{EXPONENT_MAX}}})?$",
    "description": "Above zero, in whole units of the currency and as text, with no more decimals "
    "than the currency has.",
    "examples": ["150000", "75000.50"],
}
# What a rule across the fields of an object says (RuledSchema.broken_rule).
RULES: dict[type[Schema], Json] = {
    DonorSchema: {
        "if": {"properties": {"kind": {"const": "organisation"}}},
        "then": {"required": ["party"]},
        "else": {"not": {"required": ["party"]}},
    },
    PartySchema: {
        "if": {"properties": {"signed_only": {"const": True}}, "required": ["signed_only"]},
        "then": {"required": ["keys"]},
    },
    # That no more are needed than there are, and that nobody signs twice with one key, no JSON
    # Schema can say.
    ApprovalsSchema: {},
    SignaturesSchema: {},
    AcknowledgementSchema: {
        "if": {"properties": {"status": {"const": "partial"}}},
        "else": {"not": {"required": ["amount"]}},
    },
    GoodsSchema: {
        "dependentRequired": {"estimated_value": ["currency"], "currency": ["estimated_value"]}
    },
    ReportSchema: {"oneOf": [{"required": ["fund"]}, {"required": ["programme"]}]},
    RecipientSchema: {
        "oneOf": [
            {"required": ["party"], "maxProperties": 1},
            {"required": ["group", "count", "area"], "maxProperties": 3},
        ]
    },
}
_KINDS = {type(schema): kind for kind, schema in STATEMENTS.items()}


def _pattern(field: Pattern) -> Json:
    return {
        "type": "string",
        "pattern": f"^(?:{field.pattern.pattern})$",
        "description": field.expected[0].upper() + field.expected[1:] + ".",
    }


def _id(field: Id) -> Json:
    description = f"The id of a {field.names}. The id {SYSTEM_PLATFORM!r} is reserved."
    return _pattern(field) | {"not": {"const": SYSTEM_PLATFORM}, "description": description}


def _text(field: Text) -> Json:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": field.longest,
        "pattern": r"^\S(.*\S)?$",
    }


def _currencies(_: CurrencyTable) -> Json:
    exponent = {"type": "integer", "minimum": 0, "maximum": EXPONENT_MAX}
    names = {"pattern": f"^{CURRENCY.pattern}$"}
    described = {"description": "ISO 4217 code: how many decimals its amounts may have."}
    return (
        {"type": "object", "minProperties": 1, "propertyNames": names}
        | described
        | {"additionalProperties": exponent}
    )


def _base64(before: str, length: int, after: str = "") -> Json:
    return {"type": "string", "pattern": f"^{before}[A-Za-z0-9+/]{{{length}}}{after}$"}


def whole(least: int = 0, most: int = INTEGER_MAX) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}


# The first that fits, so what is special stands before what is general.
_SPELLED: list[tuple[type[Spelled], Callable[[Any], Json]]] = [
    (Id, _id),
    (Url, lambda field: _pattern(field) | {"format": "uri", "maxLength": URL_MAX}),
    (Date, lambda field: _pattern(field) | {"format": "date"}),
    (Time, lambda field: _pattern(field) | {"format": "date-time"}),
    (Pattern, _pattern),
    (Amount, lambda _: dict(AMOUNT)),
    (Text, _text),
    (OneOf, lambda field: {"type": "string", "enum": list(field.words)}),
    (Whole, lambda field: whole(field.least, field.most)),
    (Vkey, lambda _: _base64(r"[a-z0-9][a-z0-9-]{0,62}\+[0-9a-f]{8}\+A[Q-Za-f]", 42)),
    (KeySignature, lambda _: _base64("", 90, "[AEIMQUYcgkosw048]=")),
    (Flag, lambda _: {"type": "boolean"}),
    (CurrencyTable, _currencies),
]


def _properties(_: Any, field: fields.Field[Any], **__: Any) -> Json:
    """apispec asks this of each field, besides what it knows of marshmallow's own."""
    if isinstance(field, Items):
        return {"minItems": 1, "maxItems": field.most, "uniqueItems": True}
    for kind, describe in _SPELLED:
        if isinstance(field, kind):
            return describe(field)
    assert isinstance(field, fields.Nested), f"say what {field!r} is, in openapi/fields.py"
    return {}


class _Converter(OpenAPIConverter):
    def fields2jsonschema(self, fields: Any, *, partial: Any = None) -> Json:
        offered = {n: f for n, f in fields.items() if not isinstance(f, Unsupported)}
        return dict(super().fields2jsonschema(offered, partial=partial))

    def schema2jsonschema(self, schema: Any) -> Json:
        kind = schema if isinstance(schema, type) else type(schema)
        result = dict(super().schema2jsonschema(schema))
        if doc := kind.__dict__["__doc__"]:  # its own, not that of marshmallow's base class
            result["description"] = inspect.cleandoc(doc)
        if kind in _KINDS:
            result["properties"]["type"] = {"type": "string", "const": _KINDS[kind]}
        ruled = (RULES[above] for above in kind.__mro__ if above in RULES)
        return {**result, **next(ruled, {})}


class Plugin(MarshmallowPlugin):
    """apispec's plugin for marshmallow, which also knows the field types of statements."""

    Converter = _Converter

    def init_spec(self, spec: Any) -> None:
        super().init_spec(spec)
        assert self.converter is not None
        self.converter.add_attribute_function(_properties)
