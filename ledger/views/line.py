"""The unspent lots of one fund's inflow line, changed on top of those that are stored. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable

from ledger.views.records import Lot, Pieces, misfit


class Line:
    """changed: end -> the lot that ends there now; None where the stored one is gone.

    stored: asks for the stored lots that share a position with `[start, end)`, ascending.
    """

    def __init__(self, stored: Callable[[int, int], Iterable[Lot]]) -> None:
        self._stored = stored
        self.changed: dict[int, Lot | None] = {}
        self._ends: list[int] = []  # of the lots in `changed`
        self._were_stored: set[int] = set()

    def put(self, start: int, pieces: Pieces) -> None:
        """Lengthen the line, whose end is `start`; what was given at one time is one lot."""
        for given_at, minor in pieces:
            end = start + minor
            before = self._ending_at(start)
            if before is not None and before.given_at == given_at:
                self._drop(start)
                start = before.start
            self._keep(Lot(end, start, given_at))
            start = end

    def take(self, start: int, end: int) -> Pieces:
        """Take `[start, end)`, all of which is unspent, off the line."""
        pieces: Pieces = []
        for lot in self.sharing(start, end):
            low, high = max(start, lot.start), min(end, lot.end)
            self._drop(lot.end)
            if lot.start < low:
                self._keep(Lot(low, lot.start, lot.given_at))
            if high < lot.end:
                self._keep(Lot(lot.end, high, lot.given_at))
            pieces.append((lot.given_at, high - low))
        if sum(minor for _, minor in pieces) != end - start:
            misfit(f"{start} to {end} of a fund's inflow line is spent, and was not there")
        return pieces

    def _ending_at(self, end: int) -> Lot | None:
        if end in self.changed or not end:
            return self.changed.get(end)
        return next(iter(self._untouched(end - 1, end)), None)

    def sharing(self, start: int, end: int) -> list[Lot]:
        """The lots that share a position with `[start, end)`, ascending."""
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, end)
        ours = [self.changed[e] for e in self._ends[first : last + 1]]
        here = [lot for lot in ours if lot is not None and lot.start < end]
        return sorted([*here, *self._untouched(start, end)])

    def _untouched(self, start: int, end: int) -> list[Lot]:
        lots = [lot for lot in self._stored(start, end) if lot.end not in self.changed]
        self._were_stored.update(lot.end for lot in lots)
        return lots

    def _keep(self, lot: Lot) -> None:
        self.changed[lot.end] = lot
        insort(self._ends, lot.end)

    def _drop(self, end: int) -> None:
        if self.changed.get(end) is not None:
            del self._ends[bisect_left(self._ends, end)]
        if end in self._were_stored:
            self.changed[end] = None
        else:
            del self.changed[end]
