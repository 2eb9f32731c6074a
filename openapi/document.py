"""The OpenAPI document: the routes of the application, the schemas of the border, real examples."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from apispec import APISpec
from werkzeug.routing import Rule

from ledger import web
from ledger.admission import POSTS_WAIT
from ledger.batches import BATCH_MAX
from ledger.connection import too_slow
from ledger.entry import FORMAT
from ledger.errors import LedgerError, Overloaded, RateLimited
from ledger.limits import TABLE_BYTES, Limiter
from ledger.problems import MEANINGS, problem_of, status_of
from openapi.answers import SCHEMAS, TEXT, ref
from openapi.fields import Json, Plugin
from openapi.paths import JSON, OPERATIONS, Operation
from openapi.story import Ask, Story, told
from schemas.statements import SIGNATURES_MAX, STATEMENTS, SignatureSchema

TARGET = Path(web.__file__).with_name("static") / "openapi.json"
# The ledger alone writes these.
SYSTEM_TYPES = frozenset({"genesis", "key", "currency"})
PROBLEM_TYPE = "application/problem+json"
HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "The id of the request: yours, when you sent a good one, else a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "required": True,
    },
    "Link": {
        "description": 'The address of the next page, with `rel="next"`. Absent on the last one.',
        "schema": {"type": "string"},
    },
    "ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string"}},
    "Content-Disposition": {
        "description": "A file name, for the text form.",
        "schema": {"type": "string"},
    },
    "Content-Encoding": {
        "description": "`gzip` when the client accepts it.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "When to send the same request again, in seconds.",
        "schema": {"type": "integer", "minimum": 1},
        "required": True,
    },
    "WWW-Authenticate": {
        "description": "What is missing.",
        "schema": {"const": "Bearer"},
        "required": True,
    },
    "RateLimit-Policy": {
        "description": "How many requests a key, or an address, may make in how many seconds: "
        '`"key";q=60000;w=60`. Absent where there is no limit.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'How many are left, and in how many seconds all are: `"key";r=59998;t=1`. '
        "Absent where there is no limit.",
        "schema": {"type": "string"},
    },
    "Allow": {"description": "The methods of this path.", "schema": {"type": "string"}},
}
TAGS = {
    "posting": "For platforms, by API key; and for a party that acknowledges, by its signature.",
    "reading": "Entries and receipts. Reading needs no key.",
    "what is registered": "The current statement of each party, programme and fund.",
    "proofs": "RFC 6962 proofs, for verifiers.",
    "the log": "The ledger itself, and its C2SP checkpoint and tiles.",
    "operations": "For whoever runs or watches the service.",
    "pages": "For people.",
}
INTRODUCTION = """\
A transparency ledger for donations. Platforms post **statements**; each is sealed as an **entry**
of an append-only log, and anyone can prove that it is there and that the sums add up.

The format and its rules: docs/format.md of the project. Every answer has `X-Request-Id`; unknown
fields and parameters are refused, never passed over. Answers may get more fields in later versions.

## Error codes

A problem document (RFC 9457) has one of these codes. Its `type` leads to a page that says what to
do; [/problems](/problems) lists them all.

| code | status | meaning |
|---|---|---|
"""


def document() -> Json:
    """The document, the same every time for the same code."""
    with told() as story:
        spec = APISpec(
            title="Amanah",
            version=FORMAT,
            openapi_version="3.1.0",
            plugins=[Plugin(schema_name_resolver=_name)],
            info={"description": INTRODUCTION + "".join(_rows()), "license": _LICENCE},
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        )
        spec.components.security_scheme("key", _SCHEME)
        for name, header in HEADERS.items():
            spec.components.header(name, header)
        for name, response in _at_the_door().items():
            spec.components.response(name, response)
        _add_schemas(spec, story)
        for rule in _rules(story):
            operation = OPERATIONS[rule.endpoint]
            view = story.app.view_functions[rule.endpoint]
            described = _operation(operation, inspect.getdoc(view) or "", story)
            described["operationId"] = rule.endpoint.partition(".")[2]
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            spec.path(path=path, operations={method.lower(): described})
    return json.loads(json.dumps(spec.to_dict()))  # type: ignore[no-any-return]


def text() -> str:
    """The document as it is packaged."""
    return json.dumps(document(), ensure_ascii=False, indent=1) + "\n"


_REQUEST_ID = "4bf92f3577b34da6"
_LICENCE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "amanah_...",
    "description": "An API key of a platform, from the operator of the ledger.",
}


def _rows() -> Iterator[str]:
    for code, meaning in MEANINGS.items():
        yield f"| `{code}` | {status_of(code)} | {meaning} |\n"


def _name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return str(kind.__name__).removesuffix("Schema")


def _rules(story: Story) -> list[Rule]:
    """The routes, sorted as the list of operations is."""
    order = list(OPERATIONS)
    rules = list(story.app.url_map.iter_rules())
    unknown = [rule.endpoint for rule in rules if rule.endpoint not in OPERATIONS]
    assert not unknown, f"describe {unknown} in openapi/paths.py"
    return sorted(rules, key=lambda rule: order.index(rule.endpoint))


# -- schemas


def _add_schemas(spec: APISpec, story: Story) -> None:
    for kind, schema in STATEMENTS.items():
        spec.components.schema(_name(schema), schema=schema)
        shown = [s for _, s in story.all_statements() if s["type"] == kind][:1]
        if shown:
            spec.components.schemas[_name(schema)]["examples"] = shown
    posted = [kind for kind in STATEMENTS if kind not in SYSTEM_TYPES]
    spec.components.schema("Statement", _union(posted))
    spec.components.schema("SealedStatement", _union(STATEMENTS))
    spec.components.schema("Signature", schema=SignatureSchema)
    spec.components.schema("Post", _post())
    entries = {"type": "array", "items": ref("Post"), "minItems": 1, "maxItems": BATCH_MAX}
    spec.components.schema("Batch", _closed(entries=entries))
    spec.components.schema("Submission", {"oneOf": [ref("Post"), ref("Batch")]})
    for name, shape in SCHEMAS.items():
        spec.components.schema(name, shape)


def _post() -> Json:
    shape = _closed(statement=ref("Statement"))
    signatures = {"type": "array", "items": ref("Signature"), "uniqueItems": True}
    shape["properties"]["signatures"] = signatures | {"minItems": 1, "maxItems": SIGNATURES_MAX}
    shape["properties"]["disclosures"] = {
        "type": "array",
        "minItems": 1,
        "items": TEXT,
        "description": "Texts that the statement holds digests of, each as the disclosure that "
        "docs/format.md describes. They are kept beside the log.",
    }
    return shape


def _union(kinds: Iterable[str]) -> Json:
    """Any of these types of statement; `type` says which."""
    refs = {kind: ref(_name(STATEMENTS[kind])) for kind in kinds}
    mapping = {kind: found["$ref"] for kind, found in refs.items()}
    discriminator = {"propertyName": "type", "mapping": mapping}
    return {"oneOf": list(refs.values()), "discriminator": discriminator}


def _closed(**properties: Json) -> Json:
    shape = {"type": "object", "properties": properties, "required": list(properties)}
    return shape | {"additionalProperties": False}


# -- operations


def _operation(operation: Operation, doc: str, story: Story) -> Json:
    summary, _, rest = doc.partition("\n")
    described: Json = {"tags": [operation.tag], "summary": summary.rstrip(".")}
    if more := operation.description or rest.strip():
        described["description"] = more
    if operation.parameters:
        described["parameters"] = [dict(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        described["security"] = [{"key": []}, {}]
        media = {"schema": operation.body, "examples": _posts(story)}
        described["requestBody"] = {"required": True, "content": {JSON: media}}
    described["responses"] = _door_refs(operation) | _answers(operation) | _problems(operation)
    for asked in operation.asks:
        _show(described["responses"], asked, story)
    return described


def _posts(story: Story) -> Json:
    """One post of each type as it was really sealed, and a batch."""
    posts: Json = {}
    for _, statement in story.statements:
        posts.setdefault(statement["type"], {"value": {"statement": statement}})
    for _, post in story.signed:
        posts.setdefault(post["statement"]["type"], {"value": post})
    gifts = [{"statement": s} for _, s in story.statements if s["type"] == "donation"][:2]
    return posts | {"batch": {"summary": "several, all or none", "value": {"entries": gifts}}}


def _answers(operation: Operation) -> Json:
    answers: Json = {}
    for status, description in operation.statuses.items():
        answer: Json = {"description": description, "headers": _headers(*operation.headers)}
        if status != 304:
            answer["content"] = {kind: {"schema": s} for kind, s in operation.media.items()}
        answers[str(status)] = answer
    return answers


def _problems(operation: Operation) -> Json:
    """An answer for each status that the codes lead to."""
    codes: dict[int, list[str]] = {}
    for code in [*operation.problems, "internal"]:
        codes.setdefault(status_of(code), []).append(code)
    extra = {401: ["WWW-Authenticate"], 503: ["Retry-After"]}
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in found),
            "headers": _headers(*extra.get(status, ())),
            "content": {PROBLEM_TYPE: {"schema": ref("Problem")}},
        }
        for status, found in sorted(codes.items())
    }


def _door_refs(operation: Operation) -> Json:
    """What any request may meet before it is read."""
    names = {"429": "RateLimited", "503": "Overloaded"}
    if operation.body is not None:
        names["408"] = "TooSlow"
    return {status: {"$ref": f"#/components/responses/{n}"} for status, n in names.items()}


def _at_the_door() -> Json:
    """The answers that `_door_refs` names, with examples out of the code that gives them."""
    limiter = Limiter({"address": 1}, memoryview(bytearray(TABLE_BYTES)), lambda: 0.0)
    limiter.take("address", "")
    met: dict[str, LedgerError] = {"Overloaded": Overloaded(POSTS_WAIT)}
    try:
        limiter.take("address", "")
    except RateLimited as error:
        met["RateLimited"] = error
    documents = {
        name: json.loads(problem_of(error, _REQUEST_ID).body) for name, error in met.items()
    }
    documents["TooSlow"] = json.loads(too_slow(_REQUEST_ID).body)
    return {name: _door_response(name, document) for name, document in documents.items()}


def _door_response(name: str, document: Json) -> Json:
    extra = () if name == "TooSlow" else ("Retry-After",)
    examples = {document["code"]: {"value": document}}
    return {
        "description": MEANINGS[document["code"]],
        # The connection ends with the first, which has no id that anybody gave it.
        "headers": {} if name == "TooSlow" else _headers(*extra),
        "content": {PROBLEM_TYPE: {"schema": ref("Problem"), "examples": examples}},
    }


def _headers(*names: str) -> Json:
    always = ("X-Request-Id", "RateLimit-Policy", "RateLimit")
    return {n: {"$ref": f"#/components/headers/{n}"} for n in (*always, *names)}


def _show(answers: Json, asked: Ask, story: Story) -> None:
    """Put the real answer to a request among the examples of its status and media type."""
    media_type, answer = story.ask(asked)
    value: Any = json.loads(answer) if "json" in media_type else answer
    name = value["code"] if media_type == PROBLEM_TYPE else "example"
    examples = answers[str(asked.status)]["content"][media_type].setdefault("examples", {})
    assert name not in examples, f"two examples for {name}"
    summary = {"summary": f"to {asked.path}"} if asked.body is None else {}
    examples[name] = summary | {"value": value}
