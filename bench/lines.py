"""One line of the table: what was measured, the limit measured beside it, and the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line of the table. ratio: figure / limit; targets: "ratio >= 1.8", "figure < 40".

    A line without targets is only told. note: what either side includes, where it is not plain.
    """

    what: str
    unit: str
    figure: float
    limit_is: str
    limit: float
    targets: tuple[str, ...] = ()
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.figure / self.limit

    @property
    def is_met(self) -> bool:
        return all(map(self._meets, self.targets))

    def _meets(self, target: str) -> bool:
        which, sign, bound = target.split()
        value = self.ratio if which == "ratio" else self.figure
        compare = {">=": value >= float(bound), "<=": value <= float(bound)}
        return {**compare, "<": value < float(bound)}[sign]

    @property
    def verdict(self) -> str:
        return ("yes" if self.is_met else "NO") if self.targets else "-"

    def as_json(self) -> dict[str, Any]:
        """A document of the fields, with what follows from them."""
        return self._asdict() | {"ratio": self.ratio, "is_met": self.is_met}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Line:
        fields = {name: document[name] for name in cls._fields}
        return cls(**fields | {"targets": tuple(fields["targets"])})


class Skipped(NamedTuple):
    """A line that could not be measured here."""

    what: str
    why: str


def cells(line: Line) -> tuple[str, ...]:
    """What stands in the columns: what, figure, limit, ratio, target, met."""
    figure = f"{number(line.figure)} {line.unit}"
    limit = f"{number(line.limit)} {line.limit_is}"
    return (
        line.what,
        figure,
        limit,
        f"{line.ratio:.2f}",
        ", ".join(line.targets) or "-",
        line.verdict,
    )


COLUMNS = ("what", "figure", "limit", "ratio", "target", "met")


def text_table(lines: Sequence[Line]) -> Iterator[str]:
    """The table for a terminal."""
    rows = [COLUMNS, *map(cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def number(value: float) -> str:
    """Three figures or more, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
