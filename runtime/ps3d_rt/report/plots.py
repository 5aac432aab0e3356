"""Lines with bands, and stacked bars, as SVG. A sample or mineral has one colour in all plots of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from ps3d_rt.report.svg import INK, MUTED, RULE, drawing, label, line, upright

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#7f7f7f")
"""Okabe and Ito's, without the yellow that is lost on white, and two more."""
VOID_COLOUR = "#4b5563"
WIDTH, HEIGHT = 560, 330
LEFT, RIGHT, TOP, BOTTOM = 54, 544, 12, 280
_DASHES = ("none", "7 3", "2 3", "9 3 2 3")
BAR, GAP = 22, 12

Floats = NDArray[np.float64]


def colour(number: int) -> str:
    """Return the colour of a series by its number."""
    return COLOURS[number % len(COLOURS)]


@dataclass(frozen=True, eq=False)
class Series:
    """One line."""

    name: str
    number: int
    """Decides colour and dashes."""
    x: Floats
    y: Floats
    """Shares of 1; NaN breaks the line."""
    low: Floats | None = None
    high: Floats | None = None
    """Ends of the band; None: no band."""
    points: bool = False
    """Mark every point."""


@dataclass(frozen=True)
class Axis:
    """What lies along x."""

    name: str
    low: float
    high: float
    log: bool = False

    def x(self, value: float) -> float:
        """Pixels from the left side."""
        if self.log:
            part = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            part = (value - self.low) / (self.high - self.low)
        return LEFT + (RIGHT - LEFT) * part

    def ticks(self) -> list[float]:
        """Round numbers on the axis."""
        if self.log:
            powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        else:
            step = 10.0 ** floor(log10((self.high - self.low) / 4))
            step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (m * step) <= 8)
            found = [k * step for k in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)]
        return [tick for tick in found if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]


def line_plot(series: Sequence[Series], axis: Axis, y_name: str, title: str) -> Markup:
    """Draw lines of shares over an axis, each with its band, and a legend below."""
    parts = [*_frame(axis, y_name)]
    for one in series:
        parts += _band(one, axis)
    for one in series:
        parts += _line(one, axis)
    rows = _legend([(one.name, one.number) for one in series], HEIGHT)
    return drawing(WIDTH, HEIGHT + 18 * (1 + max((row[-1] for row in rows), default=0)), title, parts + _keys(rows))


def stacked_bars(rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], title: str) -> Markup:
    """Draw one bar a row, cut into shares of 1."""
    left = 20 + 7 * max(len(name) for name, _ in rows)
    parts = []
    for at, (name, shares) in enumerate(rows):
        y, x = TOP + at * (BAR + GAP), float(left)
        parts.append(label((left - 8, y + 15), name, INK, "end"))
        for number, share in enumerate(shares):
            width = (RIGHT - left) * share if np.isfinite(share) else 0.0
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour(number)}"/>')
            if width > 44:
                parts.append(label((x + width / 2, y + 15), f"{share * 100:.1f}\u202f%", "#fff", "middle", weight=600))
            x += width
    bottom = TOP + len(rows) * (BAR + GAP) + 8
    keys = _legend([(name, number) for number, name in enumerate(names)], bottom + 6)
    return drawing(WIDTH, bottom + 18 * (1 + keys[-1][-1]) + 8, title, parts + _keys(keys))


def _y(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _frame(axis: Axis, y_name: str) -> Iterator[str]:
    for share in (0, 0.25, 0.5, 0.75, 1):
        yield line(LEFT, _y(share), RIGHT, _y(share), RULE)
        yield label((LEFT - 8, _y(share) + 4), f"{share * 100:.0f}", MUTED, "end")
    taken = -99.0
    for tick in axis.ticks():
        x = axis.x(tick)
        yield line(x, TOP, x, BOTTOM, RULE)
        if x - taken > 34:
            yield label((x, BOTTOM + 18), f"{tick:.6g}", MUTED, "middle")
            taken = x
    yield line(LEFT, BOTTOM, RIGHT, BOTTOM, MUTED)
    yield label(((LEFT + RIGHT) / 2, BOTTOM + 38), axis.name, INK, "middle")
    yield upright(14, (TOP + BOTTOM) / 2, y_name)


def _line(one: Series, axis: Axis) -> Iterator[str]:
    dash = _DASHES[one.number // len(COLOURS) % len(_DASHES)]
    style = f'fill="none" stroke="{colour(one.number)}" stroke-width="2" stroke-dasharray="{dash}"'
    for run in _runs(np.isfinite(one.y)):
        points = " ".join(
            f"{axis.x(float(x)):.1f},{_y(float(y)):.1f}" for x, y in zip(one.x[run], one.y[run], strict=True)
        )
        yield f'<polyline points="{points}" {style}/>'
    if one.points:
        for x, y in zip(one.x, one.y, strict=True):
            if np.isfinite(y):
                yield f'<circle cx="{axis.x(float(x)):.1f}" cy="{_y(float(y)):.1f}" r="3" fill="{colour(one.number)}"/>'


def _band(one: Series, axis: Axis) -> Iterator[str]:
    if one.low is None or one.high is None:
        return
    for run in _runs(np.isfinite(one.low) & np.isfinite(one.high)):
        x, low, high = ([float(v) for v in values[run]] for values in (one.x, one.low, one.high))
        there = [f"{axis.x(a):.1f},{_y(b):.1f}" for a, b in zip(x, high, strict=True)]
        back = [f"{axis.x(a):.1f},{_y(b):.1f}" for a, b in zip(reversed(x), reversed(low), strict=True)]
        yield f'<polygon points="{" ".join(there + back)}" fill="{colour(one.number)}" fill-opacity="0.15"/>'


def _runs(known: NDArray[np.bool_]) -> list[slice]:
    ends = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=True)]


def _legend(names: Sequence[tuple[str, int]], top: float) -> list[tuple[str, int, float, float, int]]:
    """Place names in rows: name, number, x, y and row."""
    found: list[tuple[str, int, float, float, int]] = []
    x, row = float(LEFT), 0
    for name, number in names:
        width = 30 + 7 * len(name)
        if x + width > RIGHT and x > LEFT:
            x, row = float(LEFT), row + 1
        found.append((name, number, x, top + 6 + 18 * row, row))
        x += width
    return found


def _keys(rows: Sequence[tuple[str, int, float, float, int]]) -> list[str]:
    parts = []
    for name, number, x, y, _ in rows:
        parts.append(f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="12" height="12" rx="2" fill="{colour(number)}"/>')
        parts.append(f'<text x="{x + 18:.1f}" y="{y + 1:.1f}" fill="{INK}">{escape(name)}</text>')
    return parts
