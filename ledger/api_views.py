"""The views of the API: what is registered, with the figures of docs/views.md.

Each answer is of one moment, and `as_of` names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response

from ledger.answering import (
    bad_query,
    current_ledger,
    json_answer,
    limit_of,
    links_of,
    page_answer,
    path_index,
    query_of,
)
from ledger.errors import NotFound, Unavailable
from ledger.money import AmountError
from ledger.views.answers import Reading
from ledger.views.fold import Fold

Json = dict[str, Any]

_AFTER = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,4})?", re.ASCII)

bp = Blueprint("views", __name__)


@bp.get("/v1/parties")
def get_parties() -> Response:
    """Every party, in order of id."""
    return _registered_page("party", "parties")


@bp.get("/v1/parties/<item_id>")
def get_party(item_id: str) -> Response:
    """A party's current statement, and the figures of the funds that it owns."""
    return _with_figures("party", item_id, "owner")


@bp.get("/v1/programmes")
def get_programmes() -> Response:
    """Every programme, in order of id."""
    return _registered_page("programme", "programmes")


@bp.get("/v1/programmes/<item_id>")
def get_programme(item_id: str) -> Response:
    """A programme's current statement, and the figures of all its funds, whoever owns them."""
    return _with_figures("programme", item_id, "programme")


@bp.get("/v1/programmes/<item_id>/graph")
def get_programme_graph(item_id: str) -> Response:
    """The organisations of a programme, and what went from one to another through its funds."""
    limit = limit_of(query_of("limit"))

    def graph(reading: Reading) -> Json:
        current_ledger().store.registered("programme", item_id)
        return {"programme": item_id, **reading.graph(item_id, limit)}

    return _viewed(graph)


@bp.get("/v1/funds")
def get_funds() -> Response:
    """Every fund with its position, in order of id."""
    query = query_of("after", "limit")
    limit = limit_of(query)
    rows = current_ledger().store.funds(query.get("after", ""), limit + 1)
    items = [_fund(row.fund_id, row.index, row.last) for row in rows[:limit]]
    return page_answer("funds", items, len(rows) > limit, query)


@bp.get("/v1/funds/<item_id>")
def get_fund(item_id: str) -> Response:
    """A fund's current statement, its position and its figures, and the indexes that prove them."""

    def fund(reading: Reading) -> Json:
        row = current_ledger().store.fund(item_id)
        return _fund(row.fund_id, row.index, row.last) | {"figures": reading.of_fund(item_id)}

    return _viewed(fund)


@bp.get("/v1/entries/<index>/trace")
def get_trace(index: str) -> Response:
    """Where the money of a donation went; of any other entry that moved money, whose it was."""
    number = path_index(index)
    query = query_of("after", "limit")
    limit, after = limit_of(query), query.get("after", "")
    if "after" in query and not _AFTER.fullmatch(after):
        bad_query("after", "expected an amount, that of `next` of the page before")

    def trace(reading: Reading) -> Json:
        current_ledger().store.entry_bytes(number)  # NotFound when there is none
        if number >= reading.size:
            raise Unavailable(f"the views do not reach entry {number} yet; ask again")
        try:
            found = reading.trace(number, after, limit)
        except AmountError as error:  # not of this entry's currency
            raise NotFound(f"no page begins after {after}: {error}") from error
        if found is None:
            raise NotFound(f"entry {number} moved no money")
        return found

    response = _viewed(trace)
    following = response.get_json()["next"]
    if following is not None:
        target = urlencode({**query, "after": following})
        response.headers["Link"] = f'</v1/entries/{number}/trace?{target}>; rel="next"'
    return response


def _viewed(question: Callable[[Reading], Json]) -> Response:
    def answer(fold: Fold) -> Json:
        reading = Reading(fold)
        return question(reading) | {"as_of": reading.as_of()}

    return json_answer(current_ledger().views.ask(answer))


def _with_figures(kind: str, item_id: str, members: str) -> Response:
    def answer(reading: Reading) -> Json:
        index = current_ledger().store.registered(kind, item_id)
        found = _registered(kind, item_id, index)
        return found | {"figures": reading.of_members(members, item_id)}

    return _viewed(answer)


def _registered_page(kind: str, name: str) -> Response:
    query = query_of("after", "limit")
    limit = limit_of(query)
    rows = current_ledger().store.all_registered(kind, query.get("after", ""), limit + 1)
    items = [_registered(kind, item_id, index) for item_id, index in rows[:limit]]
    return page_answer(name, items, len(rows) > limit, query)


def _registered(kind: str, item_id: str, index: int) -> Json:
    entry = json.loads(current_ledger().store.entry_bytes(index))
    return {"id": item_id, "index": index, kind: entry["statement"], "links": links_of(index)}


def _fund(fund_id: str, index: int, last: int | None) -> Json:
    fund = _registered("fund", fund_id, index)
    if last is not None:
        totals = json.loads(current_ledger().store.entry_bytes(last))["totals"]
        fund["totals"] = next(total for total in totals if total["fund"] == fund_id)
        fund["totals_index"] = last
    return fund
