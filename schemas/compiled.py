"""Validation and look-ups compiled once from the marshmallow schemas, which stay the only source.

A realistic load costs marshmallow 45-100 us, most of it bookkeeping for messages that a right
statement never needs. What is compiled here only answers whether a load would succeed; when it
would not, `Schema.validate` is run for its messages (schemas/check.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import Schema, fields

from ledger.entry import pointer_token
from schemas.fields import Items, RuledSchema, Spelled, is_sized, stands_twice

# Truthy for a value that the schema or field would refuse.
Fault = Callable[[Any], object]
# A path from the top of a statement, innermost step first and nested: (("", "fees"), 0) ...
Place = tuple[Any, str | int] | None
Collected = list[tuple[Spelled, Any, Place]]
Collector = Callable[[Any, Place, Collected], None]


def compile_schema(schema: Schema) -> Fault:
    """A function that tells whether `schema` would refuse a value."""
    faults = {name: _compile_field(field) for name, field in schema.fields.items()}
    required = frozenset(name for name, field in schema.fields.items() if field.required)
    rule = schema.broken_rule if isinstance(schema, RuledSchema) else None

    def is_refused(value: Any) -> object:
        if not isinstance(value, dict) or not required <= value.keys():
            return True
        for name, member in value.items():
            fault = faults.get(name)
            if fault is None or fault(member):
                return True
        return rule is not None and rule(value)

    return is_refused


def _compile_field(field: fields.Field[Any]) -> Fault:
    if isinstance(field, Spelled):
        return field.fault
    if isinstance(field, fields.Nested):
        return compile_schema(field.schema)
    assert isinstance(field, Items), f"{field!r} is not a field type of statements"
    inner, most = _compile_field(field.inner), field.most

    def is_refused(value: Any) -> object:
        if not is_sized(value, most) or stands_twice(value):
            return True
        return any(inner(element) for element in value)

    return is_refused


def compile_collector(schema: Schema, wanted: type[Spelled]) -> Collector | None:
    """A function that appends every value of a `wanted` field, with its field and place.

    It takes a value that the schema accepts. None when the schema has no such field.
    """
    collectors = {
        name: collector
        for name, field in schema.fields.items()
        if (collector := _collect_field(field, wanted)) is not None
    }
    if not collectors:
        return None

    def collect(value: Mapping[str, Any], place: Place, found: Collected) -> None:
        for name, collector in collectors.items():
            if name in value:
                collector(value[name], (place, name), found)

    return collect


def _collect_field(field: fields.Field[Any], wanted: type[Spelled]) -> Collector | None:
    if isinstance(field, fields.Nested):
        return compile_collector(field.schema, wanted)
    if isinstance(field, Items):
        inner = _collect_field(field.inner, wanted)
        if inner is None:
            return None

        def collect_each(value: list[Any], place: Place, found: Collected) -> None:
            for i, element in enumerate(value):
                inner(element, (place, i), found)

        return collect_each
    if not isinstance(field, wanted):
        return None
    return lambda value, place, found: found.append((field, value, place))


def pointer_to(place: Place) -> str:
    """The JSON pointer of a place."""
    if place is None:
        return ""
    above, step = place
    return f"{pointer_to(above)}/{pointer_token(str(step))}"
