"""The OpenAPI document says what the service does: routes, border, codes, and real examples."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from ledger.errors import REFUSALS, Refusal
from ledger.money import CURRENCIES
from ledger.problems import MEANINGS, status_of
from openapi.document import PROBLEM_TYPE, SYSTEM_TYPES, TARGET, text
from openapi.fields import RULES
from schemas.check import check_statement
from schemas.fields import RuledSchema
from schemas.statements import STATEMENTS, UNSUPPORTED
from tests.statement_table import TYPES
from tests.support import donation

DOCUMENT = json.loads(TARGET.read_text("utf-8"))
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def for_python(value: Any) -> Any:
    """The same schema with patterns as Python reads them, whose `$` lets a newline through."""
    if isinstance(value, list):
        return [for_python(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: re.sub(r"\$$", r"\\Z", below) if name == "pattern" and isinstance(below, str)
        else for_python(below)
        for name, below in value.items()
    }  # fmt: skip


COMPONENTS = for_python(DOCUMENT["components"])


def validator(schema: Any) -> Any:
    """What holds a value to a schema of the document."""
    return Draft202012Validator(schema | {"components": COMPONENTS})


def component(name: str) -> Any:
    return validator({"$ref": f"#/components/schemas/{name}"})


def test_the_document_is_fresh() -> None:
    assert TARGET.read_text("utf-8") == text(), "run: python -m openapi"


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT)


def test_every_route_is_in_it_and_nothing_else(app: Flask) -> None:
    served = {
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == served


def test_every_code_is_in_it_with_its_status_and_meaning() -> None:
    problem = DOCUMENT["components"]["schemas"]["Problem"]
    assert problem["properties"]["code"]["enum"] == list(MEANINGS)
    for code, meaning in MEANINGS.items():
        row = f"| `{code}` | {status_of(code)} | {meaning} |\n"
        assert row in DOCUMENT["info"]["description"]


def test_every_refusal_of_a_post_stands_at_its_status() -> None:
    answers = DOCUMENT["paths"]["/v1/entries"]["post"]["responses"]
    for code in REFUSALS:
        assert f"`{code}`" in answers[str(status_of(code))]["description"]


# -- the border


def is_taken(statement: Any) -> bool:
    try:
        check_statement(statement, 0, CURRENCIES)
    except Refusal:
        return False
    return True


# Refused by the border, though the document cannot say so: (a part of the value's pointer, why).
UNSAID = {
    "by occurred_at valid_from valid_until": "a date or time that does not exist",
    "period_from period_to": "the same",
    "currency": "a currency that is not in the table",
    "url uri": "an address without a host",
    "baseline target value": "minus zero",
    "0": "a key whose ID is not its own",
    "amount goal_amount estimated_value": "more decimals than the currency has",
}


def single_values() -> Iterator[Any]:
    """(type, field, statement): each value of the table, right or wrong, in a right statement."""
    for kind, type_ in TYPES.items():
        for pointer, values in type_.fields.items():
            for value in [*getattr(values, "good", []), *getattr(values, "bad", [])]:
                statement = copy.deepcopy(type_.example)
                *above, last = pointer.split("/")[1:]
                place: Any = statement
                for step in above:
                    place = place[int(step) if isinstance(place, list) else step]
                place[int(last) if isinstance(place, list) else last] = value
                yield kind, last, statement


@pytest.mark.parametrize("kind", STATEMENTS)
def test_the_document_takes_what_the_border_takes_and_little_more(kind: str) -> None:
    schema = component(type(STATEMENTS[kind]).__name__.removesuffix("Schema"))
    schema.validate(TYPES[kind].example)
    unsaid = {word for words in UNSAID for word in words.split()}
    counted = 0
    for _, name, statement in (found for found in single_values() if found[0] == kind):
        taken, said = is_taken(statement), schema.is_valid(statement)
        assert said or not taken, f"the document refuses {statement}"
        assert taken or not said or name in unsaid, f"the document takes {statement}"
        counted += not said
    assert counted > 10


def test_an_unknown_field_is_refused_in_every_object() -> None:
    for kind, type_ in TYPES.items():
        schema = component(type(STATEMENTS[kind]).__name__.removesuffix("Schema"))
        assert not schema.is_valid(type_.example | {"tip": "5"})
        for name, value in type_.example.items():
            if isinstance(value, dict) and name != "currencies":
                assert not schema.is_valid(type_.example | {name: value | {"tip": "5"}})


def test_a_statement_is_one_of_the_types_that_are_enforced() -> None:
    statement = component("Statement")
    assert statement.is_valid(donation())
    for kind in {*UNSUPPORTED, *SYSTEM_TYPES, "gift"}:
        assert not statement.is_valid(donation(type=kind))
    offered = DOCUMENT["components"]["schemas"]["Statement"]["discriminator"]["mapping"]
    assert offered.keys() == STATEMENTS.keys() - SYSTEM_TYPES


def test_every_rule_across_fields_is_said() -> None:
    assert RULES.keys() == set(RuledSchema.__subclasses__())


# -- the examples


def closed(schema: Any) -> Any:
    """The same schema, refusing every field it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(value) for name, value in schema.items()}
    if "properties" in schema and "if" not in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def shown() -> Iterator[tuple[str, Any, Any]]:
    """(where, schema, value) of every example of an answer."""
    for path, method, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            for media_type, media in answer.get("content", {}).items():
                for name, example in media.get("examples", {}).items():
                    where = f"{method} {path} {status} {media_type} {name}"
                    yield where, media["schema"], example["value"]


@pytest.mark.parametrize(
    ("schema", "value"), [found[1:] for found in shown()], ids=[found[0] for found in shown()]
)
def test_a_real_answer_has_the_fields_that_are_named_and_no_others(schema: Any, value: Any) -> None:
    components = DOCUMENT["components"]
    shapes = {
        name: shape if "oneOf" in shape or "if" in shape else closed(shape)
        for name, shape in components["schemas"].items()
    }
    whole = {**schema, "components": {"schemas": shapes}}
    Draft202012Validator(whole).validate(value)


def test_every_route_of_json_has_a_real_answer_and_every_problem_too() -> None:
    for path, method, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            content = answer.get("content", {})
            if "application/json" in content and "{name}" not in path and path != "/openapi.json":
                assert content["application/json"].get("examples"), (path, method, status)
            if PROBLEM_TYPE in content and status != "500":
                assert content[PROBLEM_TYPE].get("examples"), (path, method, status)


def test_every_type_of_statement_has_a_post_to_try() -> None:
    body = DOCUMENT["paths"]["/v1/entries"]["post"]["requestBody"]["content"]["application/json"]
    examples = body["examples"]
    assert examples.keys() == (STATEMENTS.keys() - SYSTEM_TYPES) | {"batch"}
    for example in examples.values():
        validator(body["schema"]).validate(example["value"])
