"""Line charts as SVG, the same bytes for the same numbers, readable on light and dark pages.

Written out instead of drawn by a library: those that draw well are large, and fix their colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 64, 48  # margins around the plot
TICKS_WANTED = 6
# Of the palette of Okabe and Ito, which most people with a colour deficiency can tell apart.
STYLE = """
.page { fill: #fff } text { fill: #24292f; font: 13px system-ui, sans-serif }
.title { font-size: 15px; font-weight: 600 } .grid { stroke: #d0d7de } .axis { stroke: #57606a }
.s0 { stroke: #0072b2; fill: #0072b2 } .s1 { stroke: #d55e00; fill: #d55e00 }
polyline { fill: none; stroke-width: 2 } polyline.s0, polyline.s1 { fill: none }
.dashed { stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
.s0 { stroke: #56b4e9; fill: #56b4e9 } .s1 { stroke: #e69f00; fill: #e69f00 } }
"""


class Series(NamedTuple):
    """A line. colour: 0 or 1. points: (x, y), ascending in x."""

    name: str
    colour: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Axis(NamedTuple):
    """label: what, with its unit. ticks: where to write numbers (empty: chosen)."""

    label: str
    is_log: bool = False
    ticks: tuple[float, ...] = ()


class Scale(NamedTuple):
    """Where numbers between low and high lie between `start` and `end` on the page."""

    low: float
    high: float
    is_log: bool
    start: float
    end: float

    def at(self, value: float) -> float:
        low, high, here = self.low, self.high, value
        if self.is_log:
            low, high, here = math.log(low), math.log(high), math.log(value)
        return self.start + (here - low) / ((high - low) or 1) * (self.end - self.start)


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """An SVG document of `series`. On an axis that is not logarithmic, y begins at 0."""
    xs = [point[0] for one in series for point in one.points]
    ys = [point[1] for one in series for point in one.points]
    x_ticks = x.ticks or ticks(min(xs), max(xs), x.is_log)
    y_ticks = y.ticks or ticks(min(ys) if y.is_log else 0.0, max(ys), y.is_log)
    x_low, x_high = min(xs), max(xs)
    across = Scale(x_low, x_high, x.is_log, LEFT + 8, WIDTH - RIGHT - 24)
    low, high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)
    up = Scale(low, high, y.is_log, HEIGHT - BOTTOM, TOP)
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" {size}'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" {size} rx="6"/>',
        _text(LEFT, 24, title, "start", "title"),
        *_legend(series),
        *(_grid_row(up.at(tick), tick) for tick in y_ticks),
        *(_tick_below(across.at(tick), tick) for tick in x_ticks if x_low <= tick <= x_high),
        f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.label),
        f'<g transform="rotate(-90)">{_text(-(TOP + HEIGHT - BOTTOM) / 2, 16, y.label)}</g>',
        *(part for one in series for part in _line(one, across, up)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def ticks(low: float, high: float, is_log: bool) -> tuple[float, ...]:
    """Round numbers that hold low and high between them, about six of them."""
    if is_log:
        return _log_ticks(low, high)
    rough = (high - low) / TICKS_WANTED or 1.0
    power: float = 10 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
    return tuple(i * step for i in range(math.floor(low / step), math.ceil(high / step) + 1))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if len(powers) <= 4 else (1,)
    every = [float(digit * 10**power) for power in powers for digit in digits]
    first = max((tick for tick in every if tick <= low), default=every[0])
    last = min((tick for tick in every if tick >= high), default=every[-1])
    return tuple(tick for tick in every if first <= tick <= last)


def _legend(series: Sequence[Series]) -> Iterator[str]:
    at = float(LEFT)
    for one in series:
        yield f'<path {_classes(one)} stroke-width="2" d="M{at:.1f} 43h24"/>'
        yield _text(at + 30, 47, one.name, "start")
        at += 30 + 7 * len(one.name) + 18


def _grid_row(at: float, tick: float) -> str:
    row = f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
    return row + _text(LEFT - 8, at + 4, spelled(tick), "end")


def _tick_below(at: float, tick: float) -> str:
    mark = f'<path class="axis" d="M{at:.1f} {HEIGHT - BOTTOM}v5"/>'
    return mark + _text(at, HEIGHT - BOTTOM + 19, spelled(tick))


def _line(one: Series, across: Scale, up: Scale) -> Iterator[str]:
    places = [(across.at(x), up.at(y)) for x, y in one.points]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline {_classes(one)} points="{joined}"/>'
    for x, y in places:
        yield f'<circle class="s{one.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _classes(one: Series) -> str:
    return f'class="s{one.colour}{" dashed" if one.dashed else ""}"'


def _text(x: float, y: float, text: str, anchor: str = "middle", classes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def spelled(tick: float) -> str:
    """A number on an axis: 0.5, 40, 12,000, 5M."""
    if tick >= 1e6:
        return f"{tick / 1e6:g}M"
    return f"{tick:,.0f}" if tick >= 10 else f"{tick:g}"
