"""Holding statements to their schemas: the step "schema and spelling" of admission.

The door runs it on what is posted, the audit on every entry again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from marshmallow import Schema

from ledger.entry import FORMAT, STATEMENT_BYTES_MAX, pointer_token
from ledger.errors import Fault, Refusal
from ledger.money import AmountError, parse_amount
from schemas.compiled import Collected, compile_collector, compile_schema, pointer_to
from schemas.fields import Amount, Id
from schemas.statements import SIGNATURES, STATEMENTS, UNSUPPORTED

_REFUSED = {kind: compile_schema(schema) for kind, schema in STATEMENTS.items()}
_SIGNATURES_REFUSED = compile_schema(SIGNATURES)
_AMOUNTS = {kind: compile_collector(schema, Amount) for kind, schema in STATEMENTS.items()}
_IDS = {kind: compile_collector(schema, Id) for kind, schema in STATEMENTS.items()}


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
    if _REFUSED[statement["type"]](statement):
        faults = list(_faults(schema.validate(statement), ""))
        assert faults, "what is compiled from a schema refuses no more than the schema"
        _refuse_worst(faults)
    currency = statement.get("currency")
    if currency is None:  # neither a fund nor money, or its currency is the target's
        return
    if currency not in currencies:
        _refuse("unknown_currency", [Fault("/currency", f"{currency} is not in the table")])
    check_exponents(statement, currencies[currency])


def check_signatures(signatures: Any) -> None:
    """Hold what stands beside a statement as `signatures` to its schema.

    Raises Refusal (`invalid`) with pointers relative to the post or entry.
    """
    document = {"signatures": signatures}
    if _SIGNATURES_REFUSED(document):
        _refuse("invalid", [fault for fault, _ in _faults(SIGNATURES.validate(document), "")])


def check_exponents(statement: Mapping[str, Any], exponent: int) -> None:
    """Refuse (`invalid_amount`) any amount with more decimals than its currency has."""
    faults = []
    for _, amount, place in _collect(_AMOUNTS, statement):
        try:
            parse_amount(amount, exponent)
        except AmountError as error:
            faults.append(Fault(pointer_to(place), str(error)))
    if faults:
        _refuse("invalid_amount", faults)


def mentions(statement: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every party, programme and fund a statement names, as (kind, id). Read off the schema."""
    found = _collect(_IDS, statement)
    return {(field.names, value) for field, value, _ in found if isinstance(field, Id)}


def _collect(collectors: Mapping[str, Any], statement: Mapping[str, Any]) -> Collected:
    found: Collected = []
    collector = collectors[statement["type"]]
    if collector is not None:
        collector(statement, None, found)
    return found


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
