"""The size distribution as an SVG: cumulative passing above, frequency below, one logarithmic axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, floor, isnan, log, log10, nan
from typing import Any

import numpy as np
from markupsafe import Markup

from ps3d_rt.core.distribution import DETECTION_LIMIT_VOXELS, SHARES, Cumulative, SizeOptions, SizeSample
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.psd import class_edges
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.formatting import LengthUnit, number
from ps3d_rt.report.svg import INK, MUTED, RULE, drawing, label, line, upright

NUMBER_COLOUR, VOLUME_COLOUR = "#0072b2", "#d55e00"
"""Blue and vermillion of Okabe and Ito: apart for every kind of colour vision."""

TICKS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
NUMBERED_TICKS = ((0.6, set(TICKS)), (1, {1, 1.5, 2, 3, 4, 5, 6, 8}), (1.6, {1, 2, 3, 5}), (3, {1, 2, 5}))
"""Decades → the numbers that there is room for; on a longer axis, only powers of ten."""

WIDTH, HEIGHT = 760, 470
LEFT, RIGHT = 58, 744
CURVE_TOP, CURVE_BOTTOM = 14, 288
BARS_TOP, BARS_BOTTOM = 312, 418


@dataclass(frozen=True, slots=True, eq=False)
class Curve(Cumulative):
    """A cumulative distribution of the particles, weighted by number or by volume, as it is drawn."""

    name: str
    colour: str
    intervals_mm: list[tuple[float, float]]
    """Of D10, D50, D80, D90."""

    @property
    def marks_mm(self) -> list[float]:
        """D10, D50, D80, D90."""
        return self.percentiles()


def curves(table: SampleTable, sizes: Mapping[str, Any], shape: Zyx | None = None) -> tuple[Curve, Curve]:
    """By number and by volume.

    Args:
        table: the particles.
        sizes: from :func:`ps3d_rt.core.distribution.size_facts`, of at least one particle.
        shape: of the volume; needed if the sizes are corrected for its faces.
    """
    sieve = sizes["diameter"] == "sieve"
    by_number, by_volume = SizeSample.from_table(
        table, shape if sizes["edge_correction"] else None, sieve=sieve
    ).curves()
    ends = [[_interval(sizes, share, name) for share in SHARES] for name in ("number", "volume")]
    return (
        Curve(by_number.diameters_mm, by_number.shares, "number", NUMBER_COLOUR, ends[0]),
        Curve(by_volume.diameters_mm, by_volume.shares, "volume", VOLUME_COLOUR, ends[1]),
    )


def _interval(sizes: Mapping[str, Any], share: float, name: str) -> tuple[float, float]:
    """Read the interval of a percentile, mm; NaN if the run is of a version without this percentile."""
    low, high = sizes.get(f"d{100 * share:.0f}_by_{name}_interval_mm") or (nan, nan)
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class LogAxis:
    """Diameters from ``low`` to ``high``, in the unit shown, between the panel's left and right side."""

    low: float
    high: float

    @classmethod
    def around(cls, low: float, high: float) -> LogAxis:
        """Room on both sides for the labels beside the outermost marks; ``low`` may equal ``high``."""
        room = max(1.35, exp(0.24 * log(high / low)))
        return cls(low / room, high * room)

    def x(self, diameter: float) -> float:
        """Pixels from the left side of the picture."""
        return LEFT + (RIGHT - LEFT) * log(diameter / self.low) / log(self.high / self.low)

    def ticks(self) -> Iterator[tuple[float, bool]]:
        """Each tick and whether there is room for its number; a short axis has some between whole numbers."""
        decades = log10(self.high / self.low)
        numbered = next((d for most, d in NUMBERED_TICKS if decades < most), {1})
        for power in range(floor(log10(self.low)), ceil(log10(self.high))):
            for digit in TICKS:
                shown = digit in numbered
                if self.low <= digit * 10.0**power <= self.high and (shown or digit == int(digit)):
                    yield digit * 10.0**power, shown


def size_plot(by_number: Curve, by_volume: Curve, unit: LengthUnit, sizes: Mapping[str, Any]) -> Markup:
    """Plot Q0 (number) and Q3 (volume) over the diameter, D10/D50/D90 with their intervals, and the histogram.

    Args:
        by_number: from :func:`curves`.
        by_volume: from :func:`curves`.
        unit: of the axis and of the marks.
        sizes: as for :func:`curves`.

    Returns:
        One ``<svg>`` element for use inside HTML.
    """
    low, high = by_number.diameters_mm[[0, -1]] * unit.per_mm
    axis = LogAxis.around(float(low), float(high))
    parts = [
        *_curve_frame(),
        *_size_axis(axis, unit, f"{sizes['diameter']} diameter"),
        *_limit(axis, sizes["detection_limit_mm"] * unit.per_mm),
        *_bars(axis, (by_number, by_volume), unit, SizeOptions.from_facts(sizes)),
        _line_of(axis, by_number, unit, dash="7 3"),
        _line_of(axis, by_volume, unit),
        # Q3 never lies left of Q0: marks beside each curve on its own side cannot meet.
        *_marks(axis, by_number, unit, left=True),
        *_marks(axis, by_volume, unit, left=False),
    ]
    title = f"Cumulative passing and frequency over the {sizes['diameter']} diameter in {unit.name}"
    return drawing(WIDTH, HEIGHT, title, parts)


def _level(share: float) -> float:
    return CURVE_BOTTOM - (CURVE_BOTTOM - CURVE_TOP) * share


def _curve_frame() -> Iterator[str]:
    for share in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1):
        strong = share in (0.1, 0.5, 0.9)
        dash = ' stroke-dasharray="2 3"' if strong else ""
        yield line(LEFT, _level(share), RIGHT, _level(share), "#9ca3af" if strong else RULE, dash)
        yield label((LEFT - 8, _level(share) + 4), f"{share * 100:.0f}", MUTED, "end")
    yield upright(16, (CURVE_TOP + CURVE_BOTTOM) / 2, "cumulative passing, %")


def _size_axis(axis: LogAxis, unit: LengthUnit, diameter: str) -> Iterator[str]:
    for tick, numbered in axis.ticks():
        x = axis.x(tick)
        yield line(x, BARS_BOTTOM, x, BARS_BOTTOM + (6 if numbered else 3), MUTED)
        if numbered:
            yield line(x, CURVE_TOP, x, CURVE_BOTTOM, RULE)
            yield line(x, BARS_TOP, x, BARS_BOTTOM, RULE)
            yield label((x, BARS_BOTTOM + 20), f"{tick:.6g}", MUTED, "middle")
    for bottom in (CURVE_BOTTOM, BARS_BOTTOM):
        yield line(LEFT, bottom, RIGHT, bottom, MUTED)
    yield label(((LEFT + RIGHT) / 2, HEIGHT - 8), f"{diameter}, {unit.name}", INK, "middle")


def _limit(axis: LogAxis, diameter: float) -> Iterator[str]:
    """Where particles are too small to be found, if the axis reaches there."""
    if axis.low < diameter < axis.high:
        x = axis.x(diameter)
        yield line(x, CURVE_TOP, x, BARS_BOTTOM, MUTED, ' stroke-dasharray="4 3"')
        yield label((x + 5, CURVE_TOP + 10), f"{DETECTION_LIMIT_VOXELS} voxels", MUTED, "start", halo=True)


def _line_of(axis: LogAxis, curve: Curve, unit: LengthUnit, dash: str = "none") -> str:
    """One point a pixel: a million particles draw no more than that."""
    pixels = np.arange(LEFT, RIGHT + 1)
    diameters = axis.low * (axis.high / axis.low) ** ((pixels - LEFT) / (RIGHT - LEFT))
    shares = curve.up_to(diameters / unit.per_mm)
    points = " ".join(f"{x},{_level(float(share)):.1f}" for x, share in zip(pixels, shares, strict=True))
    style = f'stroke="{curve.colour}" stroke-width="2" stroke-dasharray="{dash}"'
    return f'<polyline points="{points}" fill="none" {style}/>'


def _marks(axis: LogAxis, curve: Curve, unit: LengthUnit, *, left: bool) -> Iterator[str]:
    # The curve rises to the right: there is room above it on its left and below it on its right.
    aside, below, anchor = (-9, -5, "end") if left else (9, 14, "start")
    for share, diameter_mm, ends in zip(SHARES, curve.marks_mm, curve.intervals_mm, strict=True):
        x, y = axis.x(diameter_mm * unit.per_mm), _level(share)
        if not isnan(ends[0]):
            low, high = (axis.x(end * unit.per_mm) for end in ends)
            yield line(low, y, high, y, curve.colour, ' stroke-width="7" stroke-opacity="0.35"')
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{curve.colour}" stroke="#fff" stroke-width="1.5"/>'
        words = f"D{share * 100:.0f} {number(diameter_mm * unit.per_mm)}"
        yield label((x + aside, y + below), words, curve.colour, anchor, halo=True)
    share, words = (0.7, "by number, Q₀") if left else (0.3, "by volume, Q₃")
    x = axis.x(float(curve.diameters_mm[np.searchsorted(curve.shares, share)]) * unit.per_mm)
    yield label((x + aside, _level(share) + 4), words, curve.colour, anchor, halo=True, weight=600)


def _bars(axis: LogAxis, both: tuple[Curve, Curve], unit: LengthUnit, options: SizeOptions) -> Iterator[str]:
    edges_mm = class_edges(both[0].diameters_mm, options)
    shares = [np.diff(curve.up_to(edges_mm)) for curve in both]
    # What passes the finest sieve, or stays on the coarsest, has no edge of its own: the panel's.
    edges = np.clip(edges_mm * unit.per_mm, axis.low, axis.high)
    top = _round_up(max(float(s.max()) for s in shares))
    for part in (0, 0.5, 1):
        y = BARS_BOTTOM - (BARS_BOTTOM - BARS_TOP) * part
        yield line(LEFT, y, RIGHT, y, RULE)
        yield label((LEFT - 8, y + 4), f"{top * part * 100:.3g}", MUTED, "end")
    yield upright(16, (BARS_TOP + BARS_BOTTOM) / 2, "frequency, %")
    for i, (start, stop) in enumerate(pairwise(edges.tolist())):
        if start == stop:
            continue
        x, width = axis.x(start), (axis.x(stop) - axis.x(start) - 1) / len(both)
        for k, curve in enumerate(both):
            height = (BARS_BOTTOM - BARS_TOP) * float(shares[k][i]) / top
            at = f'x="{x + 0.5 + k * width:.1f}" y="{BARS_BOTTOM - height:.1f}"'
            yield f'<rect {at} width="{width:.1f}" height="{height:.1f}" fill="{curve.colour}" fill-opacity="0.75"/>'


def _round_up(share: float) -> float:
    """Round a top of the axis up to a value whose half is round too; at most 1."""
    power = 10.0 ** floor(log10(share))
    return min(1.0, next(digit * power for digit in (1, 2, 4, 6, 8, 10) if digit * power >= share * (1 - 1e-9)))
