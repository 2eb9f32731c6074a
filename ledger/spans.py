"""Spans: half-open intervals `(from, to)` of minor units on a fund's inflow line. Pure.

Every net inflow takes the next piece of its fund's line; an outflow takes the lowest unspent
positions (FIFO). So overlap of spans says whose money an outflow was.
docs/format.md, "Totals and spans".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Span = tuple[int, int]

PIECES_MAX = 512


def free(start: int, end: int, holes: Iterable[Span]) -> Iterator[Span]:
    """What of `[start, end)` no hole covers, ascending.

    holes: disjoint spans, ascending; any before `start` are passed over.
    """
    at = start
    for low, high in holes:
        if low >= end:
            break
        if low > at:
            yield at, low
        at = max(at, high)
    if at < end:
        yield at, end


def lowest(spans: Iterable[Span], length: int) -> tuple[list[Span], int]:
    """The lowest `length` positions of ascending `spans`, and how much was missing.

    Stops early once there are more than PIECES_MAX pieces: nothing so scattered is sealed.
    """
    pieces: list[Span] = []
    for low, high in spans:
        if length == 0 or len(pieces) > PIECES_MAX:
            break
        taken = min(length, high - low)
        pieces.append((low, low + taken))
        length -= taken
    return pieces, length


def joined(pieces: Iterable[Span]) -> list[Span]:
    """Disjoint pieces in ascending order, neighbours that touch made one."""
    out: list[Span] = []
    for low, high in sorted(pieces):
        if out and out[-1][1] == low:
            out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return out


def length(spans: Iterable[Span]) -> int:
    """Minor units that the spans cover together."""
    return sum(high - low for low, high in spans)
