"""How the API answers, and how it reads a query: what all its routes share."""

from __future__ import annotations

import re
from typing import Any, NoReturn
from urllib.parse import urlencode

from flask import Response, current_app, request

from ledger.entry import INTEGER_MAX, entry_hash
from ledger.errors import BadQuery, NotFound
from ledger.problems import json_body
from ledger.service import Ledger

PAGE_DEFAULT, PAGE_MAX = 100, 1_000
_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}")
_MUTABLE = "no-cache"


def current_ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["amanah"]
    return ledger


def json_answer(value: Any, status: int = 200) -> Response:
    response = bytes_answer(json_body(value), "json")
    response.status_code = status
    return response


TYPES = {
    "json": "application/json",
    "plain": "text/plain; charset=utf-8",
    "octet-stream": "application/octet-stream",
}


def bytes_answer(data: bytes, kind: str) -> Response:
    return Response(data, content_type=TYPES[kind], headers=[("Cache-Control", _MUTABLE)])


def conditional(response: Response) -> Response:
    return response.make_conditional(request)  # type: ignore[return-value]  # werkzeug's own class


def entry_json(data: bytes) -> bytes:
    return b'{"entry":' + data + b',"leaf_hash":"' + entry_hash(data).hex().encode() + b'"}'


def links_of(index: int) -> dict[str, str]:
    return {"self": f"/v1/entries/{index}", "receipt": f"/v1/entries/{index}/receipt"}


def page_answer(
    name: str, items: list[dict[str, Any]], more: bool, query: dict[str, str]
) -> Response:
    last = items[-1]["id"] if more else None
    response = json_answer({name: items, "next": last})
    if last is not None:
        following = urlencode({**query, "after": last})
        response.headers["Link"] = f'</v1/{name}?{following}>; rel="next"'
    return response


def prefers(first: str, second: str) -> str:
    """Which of two media types the client would rather have; `first` when it does not say."""
    return request.accept_mimetypes.best_match([first, second], default=first)


def path_index(text: str) -> int:
    if not _WHOLE.fullmatch(text) or int(text) > INTEGER_MAX:
        raise NotFound(f"{text[:40]!r} is not an index")
    return int(text)


def query_of(*names: str) -> dict[str, str]:
    """The query parameters, each at most once and none beside `names`. Raises BadQuery."""
    query = {}
    try:
        given = list(request.args.lists())
    except UnicodeDecodeError as error:
        raise BadQuery("the query is not UTF-8; write it in percent-encoding") from error
    for name, values in given:
        if name not in names:
            bad_query(name, "unknown; this path takes " + ", ".join(names))
        if len(values) > 1:
            bad_query(name, "given more than once")
        query[name] = values[0]
    return query


def whole(query: dict[str, str], name: str) -> int:
    text = query.get(name, "")
    if not _WHOLE.fullmatch(text) or int(text) > INTEGER_MAX:
        bad_query(name, f"expected a whole number of at most {INTEGER_MAX}")
    return int(text)


def limit_of(query: dict[str, str]) -> int:
    limit = whole(query, "limit") if "limit" in query else PAGE_DEFAULT
    if not 1 <= limit <= PAGE_MAX:
        bad_query("limit", f"expected 1 to {PAGE_MAX}")
    return limit


def one_of(query: dict[str, str], name: str, words: tuple[str, ...]) -> str:
    word = query.get(name, words[0])
    if word not in words:
        bad_query(name, "expected " + " or ".join(words))
    return word


def bad_query(name: str, detail: str) -> NoReturn:
    raise BadQuery(f"query parameter {name!r}: {detail}")
