"""Where a donation went, and whose money an outflow was, through any number of funds. Pure.

Money is traced from its first position to its last, so a trace can be cut anywhere and taken up
there again. First in, first out is a convention: docs/format.md, "Totals and spans".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from ledger.money import parse_total
from ledger.spans import Span, length
from ledger.views.records import Base

# Passed from fund to fund, or returned: what went further ends where it went on.
HOPS_MAX = 16

Entry = Mapping[str, Any]
Path = tuple[int, ...]


class Step(NamedTuple):
    """A part of the money, `minor` units of it, that ended (or began) at one place.

    path: entries by which it got there. entry: the one it ended (or began) with; None for what is
    unspent in `fund`. ended: `donation`, `disbursement`, `refund`, `unspent`, or `hops`.
    """

    minor: int
    path: Path
    entry: int | None
    ended: str
    fund: str


class Trace(NamedTuple):
    """question: `where_it_went` or `whose_it_was`. minor: how much is traced. follow: after how
    much, in minor units, the rest begins; None at the end."""

    question: str
    minor: int
    steps: list[Step]
    follow: int | None


def trace(base: Base, index: int, after: int, limit: int) -> Trace:
    """The money of an entry, which moved some, from `after` minor units on, in `limit` steps."""
    entry = base.entry(index)
    total = entry["totals"][0]
    spans = _spans(base, total)
    is_gift = entry["statement"]["type"] == "donation"
    walk = _where_it_went if is_gift else _whose_it_was
    rest = _cut(spans, after, length(spans) - after)
    steps = (step for span in rest for step in walk(base, total["fund"], span, ()))
    found = list(islice(steps, limit))
    at = after + sum(step.minor for step in found)
    follow = at if at < length(spans) else None
    question = "where_it_went" if is_gift else "whose_it_was"
    return Trace(question, length(spans), found, follow)


# -- forward


def _where_it_went(base: Base, fund: str, span: Span, path: Path) -> Iterator[Step]:
    at, end = span
    for mark in base.went(fund, at, end):
        low, high = max(at, mark.start), min(end, mark.end)
        if at < low:
            yield Step(low - at, path, None, "unspent", fund)
        yield from _by_outflow(base, mark.by, (low, high), path)
        at = high
    if at < end:
        yield Step(end - at, path, None, "unspent", fund)


def _by_outflow(base: Base, index: int, span: Span, path: Path) -> Iterator[Step]:
    """What became of `span`, a part of what entry `index` took off a fund's line."""
    entry = base.entry(index)
    gone, *into = entry["totals"]
    before = sum(min(high, span[0]) - low for low, high in _spans(base, gone) if low < span[0])
    part = (before, before + span[1] - span[0])
    if into:
        yield from _onto(base, index, into[0], part, path)
    elif entry["statement"]["type"] == "refund":
        yield Step(part[1] - part[0], path, index, "refund", gone["fund"])
    else:
        yield from _by_disbursement(base, index, gone["fund"], part, path)


def _by_disbursement(base: Base, index: int, fund: str, part: Span, path: Path) -> Iterator[Step]:
    """The lowest of it came back first; what stayed out ended there."""
    (low, high), end = part, 0
    for back in base.returns(index):
        start, end = end, end + _back(base, back)
        if low < min(end, high):
            inside = (low - start, min(end, high) - start)
            total = base.entry(back)["totals"][0]
            yield from _onto(base, back, total, inside, (*path, index))
            low = min(end, high)
    if low < high:
        yield Step(high - low, path, index, "disbursement", fund)


def _onto(base: Base, index: int, total: Entry, part: Span, path: Path) -> Iterator[Step]:
    """Go on with `part` of the one span that entry `index` put on a fund's line."""
    if len(path) >= HOPS_MAX:
        yield Step(part[1] - part[0], path, index, "hops", total["fund"])
        return
    ((start, _),) = _spans(base, total)
    span = (start + part[0], start + part[1])
    yield from _where_it_went(base, total["fund"], span, (*path, index))


# -- backward


def _whose_it_was(base: Base, fund: str, span: Span, path: Path) -> Iterator[Step]:
    for mark in base.came(fund, *span):
        low, high = max(span[0], mark.start), min(span[1], mark.end)
        entry = base.entry(mark.by)
        if entry["statement"]["type"] == "donation":
            yield Step(high - low, path, mark.by, "donation", fund)
        elif len(path) >= HOPS_MAX:
            yield Step(high - low, path, mark.by, "hops", fund)
        else:
            yield from _before(base, entry, (low - mark.start, high - mark.start), path)


def _before(base: Base, entry: Entry, part: Span, path: Path) -> Iterator[Step]:
    """Whose `part` of the money was that came by a transfer or came back, `entry`."""
    path = (*path, entry["index"])
    out, skipped = entry["totals"][0], 0
    if len(entry["totals"]) == 1:  # a disbursement came back
        target = entry["statement"]["target"]
        earlier = (back for back in base.returns(target) if back < entry["index"])
        skipped = sum(_back(base, back) for back in earlier)
        out, path = base.entry(target)["totals"][0], (*path, target)
    for span in _cut(_spans(base, out), skipped + part[0], part[1] - part[0]):
        yield from _whose_it_was(base, out["fund"], span, path)


# -- what both share


def _back(base: Base, index: int) -> int:
    """How much came back by the return at `index`."""
    return length(_spans(base, base.entry(index)["totals"][0]))


def _spans(base: Base, total: Entry) -> list[Span]:
    exponent = base.currencies()[total["currency"]]
    return [(parse_total(a, exponent), parse_total(b, exponent)) for a, b in total["spans"]]


def _cut(spans: Iterable[Span], start: int, count: int) -> Iterator[Span]:
    """What of `spans`, one behind another, lies `count` units long behind the first `start`."""
    at, end = 0, start + count
    for low, high in spans:
        first, last = max(start, at), min(end, at + high - low)
        if first < last:
            yield low + first - at, low + last - at
        at += high - low
