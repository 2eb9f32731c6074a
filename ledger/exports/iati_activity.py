"""What an IATI activity says beside its transactions: who, what, when, where and how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from xml.sax.saxutils import escape, quoteattr

from ledger.exports.iati_codes import (
    ACCOUNTABLE,
    CLOSED,
    COUNTRIES,
    END,
    EXTENDING,
    OPEN,
    ORGANISATION_TYPES,
    OTHER_ORGANISATION,
    ROLES,
    START,
    UNSPECIFIED_REGION,
    UNSPECIFIED_SECTOR,
)
from ledger.exports.registry import Registry
from ledger.state import Statement

_BUDGET_DAYS_MAX = 366  # the standard's year
# The language of the words that are ours. Which one a title is in, the log does not say.
_LANGUAGE = "en"


@dataclass(slots=True)
class Activity:
    """A fund as it is met in the log. Days are YYYY-MM-DD; ended is "" while it is open.

    first_owner: the organisation's id that `identifier` begins with, for ever.
    """

    identifier: str
    first_owner: str
    started: str
    ended: str = ""
    updated: str = ""


class Element(str):
    """XML that is finished; a plain text is not one, so it cannot get in unescaped."""


def element(
    name: str,
    attributes: Mapping[str, str] | None = None,
    *children: Element,
    text: str = "",
    narrative: str | None = None,
) -> Element:
    """An element of attributes, then children, or a text, or a narrative of that text."""
    if narrative is not None:
        children = (*children, element("narrative", text=narrative))
    head, content = _open(name, attributes or {}), f"{''.join(children)}{escape(text)}"
    return Element(f"{head}{content}</{name}>" if content else f"{head[:-1]}/>")


def _open(name: str, attributes: Mapping[str, str]) -> str:
    return f"<{name}{''.join(f' {key}={quoteattr(value)}' for key, value in attributes.items())}>"


def activity_head(activity: Activity, fund: Statement, registry: Registry) -> Iterator[str]:
    """Everything before the transactions, in the order that the schema prescribes."""
    yield _open(
        "iati-activity",
        {
            "default-currency": fund["currency"],
            "last-updated-datetime": activity.updated,
            "xml:lang": _LANGUAGE,
        },
    )
    owner = fund["owner"]
    yield element("iati-identifier", text=activity.identifier)
    attributes, name = _organisation(owner, registry)
    yield element("reporting-org", attributes, name)
    yield element("title", narrative=fund["title"])
    yield element("description", {"type": "1"}, narrative=_description(fund, registry))
    for party, role in _participants(fund, registry):
        attributes, name = _organisation(party, registry)
        yield element("participating-org", {**attributes, "role": role}, name)
    if activity.first_owner != registry.organisation_id(owner):
        yield element("other-identifier", {"ref": activity.first_owner, "type": "B1"})
    yield element("activity-status", {"code": OPEN if fund["status"] == "open" else CLOSED})
    yield element("activity-date", {"type": START, "iso-date": activity.started})
    if activity.ended:
        yield element("activity-date", {"type": END, "iso-date": activity.ended})
    yield _place(registry.parties[owner].get("area", ""))
    yield element("sector", {"vocabulary": "1", "code": UNSPECIFIED_SECTOR})
    if "category" in fund:
        own = {"vocabulary": "99", "code": fund["category"]}
        yield element("sector", own, narrative=fund["category"])
    yield from _budget(fund)


def activity_end(activity: Activity, fund: Statement, registry: Registry) -> Iterator[str]:
    """Everything after the transactions."""
    for programme in _programmes(fund, registry):
        if "goal" in programme:
            yield _result(activity, programme)
    yield "</iati-activity>"


def _organisation(party: str, registry: Registry) -> tuple[dict[str, str], Element]:
    kind = ORGANISATION_TYPES.get(registry.parties[party]["kind"], OTHER_ORGANISATION)
    attributes = {"ref": registry.organisation_id(party), "type": kind}
    return attributes, element("narrative", text=registry.name(party))


def _description(fund: Statement, registry: Registry) -> str:
    text = f"Fund {fund['id']} of {registry.name(fund['owner'])}."
    if "goal_amount" in fund:
        text += f" Goal: {fund['goal_amount']} {fund['currency']}."
    return text


def _programmes(fund: Statement, registry: Registry) -> list[Statement]:
    return [registry.programmes[programme] for programme in fund.get("programmes", ())]


def _participants(fund: Statement, registry: Registry) -> list[tuple[str, str]]:
    """(party, role), each once: the owner, the platforms, and who shares the programmes."""
    pairs = [(fund["owner"], ACCOUNTABLE)]
    pairs += [(platform, EXTENDING) for platform in fund["platforms"]]
    for programme in _programmes(fund, registry):
        pairs.append((programme["lead"], ACCOUNTABLE))
        pairs += [(p["party"], ROLES[p["role"]]) for p in programme.get("participants", ())]
    return list(dict.fromkeys(pairs))


def _place(area: str) -> Element:
    """Where the owner works, where that is a country (or a part of one: ISO 3166)."""
    country = area.partition("-")[0]
    if country in COUNTRIES:
        return element("recipient-country", {"code": country})
    return element("recipient-region", {"vocabulary": "1", "code": UNSPECIFIED_REGION})


def _budget(fund: Statement) -> Iterator[str]:
    """The goal, where a permit says of which time; a budget is of a year at most."""
    permit = fund.get("permit")
    if permit is None or "goal_amount" not in fund:
        return
    start, end = (date.fromisoformat(permit[name]) for name in ("valid_from", "valid_until"))
    if 0 <= (end - start).days < _BUDGET_DAYS_MAX:
        yield element(
            "budget",
            {"type": "1", "status": "1"},
            element("period-start", {"iso-date": permit["valid_from"]}),
            element("period-end", {"iso-date": permit["valid_until"]}),
            element("value", {"value-date": permit["valid_from"]}, text=fund["goal_amount"]),
        )


def _result(activity: Activity, programme: Statement) -> Element:
    """What a programme wants to reach. Many funds share it, so it must not be added up."""
    goal = programme["goal"]
    pieces = [element("title", narrative=goal["indicator"])]
    if "target" in goal and goal.get("by", "") >= activity.started:
        pieces.append(
            element(
                "period",
                {},
                element("period-start", {"iso-date": activity.started}),
                element("period-end", {"iso-date": goal["by"]}),
                element("target", {"value": goal["target"]}),
            )
        )
    return element(
        "result",
        {"type": "9", "aggregation-status": "0"},
        element("title", narrative=programme["title"]),
        element("indicator", {"measure": "1", "aggregation-status": "0"}, *pieces),
    )
