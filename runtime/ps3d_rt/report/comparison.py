"""The page of a comparison: samples beside each other, on one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ps3d_rt.core.compare.partition import Partition, Separation
from ps3d_rt.core.compare.sample import ComparedSample
from ps3d_rt.core.compare.statistics import MOST, Difference, Drawn
from ps3d_rt.core.compare.two_sample import LEVEL, TwoSampleTest
from ps3d_rt.core.distribution import Cumulative
from ps3d_rt.core.minerals.sample import LIBERATION
from ps3d_rt.report.formatting import ABSENT, count, number, percent
from ps3d_rt.report.plots import Axis, Floats, Series, line_plot, stacked_bars
from ps3d_rt.report.templates import render

_POINTS = 120
"""Of a cumulative curve."""
_BAND_DRAWS = 60


@dataclass(frozen=True, eq=False)
class Pair:
    """A sample against the first."""

    name: str
    difference: Difference
    test: TwoSampleTest


@dataclass(frozen=True, eq=False)
class ComparisonPage:
    """What the page shows."""

    samples: Sequence[ComparedSample]
    drawn: Sequence[Drawn]
    pairs: Sequence[Pair]
    separation: Separation | None
    notes: Sequence[str]
    byline: str


def render_comparison(page: ComparisonPage) -> str:
    """Render one self-contained HTML page."""
    first = page.samples[0].name
    return str(
        render(
            "comparison.html",
            title=" · ".join(sample.name for sample in page.samples),
            byline=page.byline,
            notes=page.notes,
            verdicts=[_verdict(pair, first) for pair in page.pairs],
            plots=_plots(page.samples),
            heads=[sample.name for sample in page.samples],
            rows=_statistics(page.drawn),
            first=first,
            pairs=[(pair.name, _changes(pair.difference)) for pair in page.pairs],
            tests=[(pair.name, _tests(pair.test)) for pair in page.pairs],
            separation=None if page.separation is None else _separation(page),
        )
    )


def _verdict(pair: Pair, first: str) -> str:
    chance = "less than 0.3 %" if pair.test.chance < 1 / 400 else percent(pair.test.chance)
    verdict = "differs from" if pair.test.different else "may be of the same material as"
    return f"{pair.name} {verdict} {first}: two samples of one material would differ as much in {chance} of cases."


def _plots(samples: Sequence[ComparedSample]) -> list[tuple[str, Markup]]:
    low = min(float(sample.diameters_mm.min()) for sample in samples)
    high = max(float(sample.diameters_mm.max()) for sample in samples)
    axis = Axis("equivalent diameter, mm", low / 1.1, high * 1.1, log=True)
    at = np.geomspace(axis.low, axis.high, _POINTS)
    plots = []
    for kind in ("number", "volume"):
        series = [_curve(sample, kind, at, k) for k, sample in enumerate(samples)]
        heading = f"Size distribution by {kind}, {'Q0' if kind == 'number' else 'Q3'}"
        plots.append((heading, line_plot(series, axis, "cumulative share, %", heading)))
    minerals = samples[0].minerals
    if minerals:
        bars = [(s.name, (s.amounts * s.weights[:, None]).sum(axis=0).tolist()) for s in samples]
        shares = [(name, [v / sum(values) for v in values]) for name, values in bars]
        kind = "volume" if samples[0].densities is None else "mass"
        plots.append((f"Minerals by {kind}", stacked_bars(shares, minerals, f"Minerals by {kind}")))
        liberation = Axis("share of the mineral in a particle, at least, %", 10, 95)
        for k, mineral in enumerate(minerals):
            series = [_liberation(sample, k, number) for number, sample in enumerate(samples)]
            heading = f"Liberation of {mineral}"
            plots.append((heading, line_plot(series, liberation, "share of the mineral, %", heading)))
    return plots


def _curve(sample: ComparedSample, kind: str, at: Floats, number: int) -> Series:
    def amounts(some: ComparedSample) -> Floats:
        return some.weights if kind == "number" else some.weights * some.volumes_mm3

    draw = np.random.default_rng(0)
    part = sample.thinned(MOST, draw)
    own = amounts(part)
    drawn: list[Floats] = []
    while len(drawn) < _BAND_DRAWS:
        times = draw.poisson(1.0, len(part))
        if (times * own).sum() > 0:
            drawn.append(Cumulative.from_diameters(part.diameters_mm, own * times).up_to(at))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    found = Cumulative.from_diameters(sample.diameters_mm, amounts(sample)).up_to(at)
    return Series(sample.name, number, at, found, np.minimum(low, found), np.maximum(high, found))


def _liberation(sample: ComparedSample, mineral: int, number: int) -> Series:
    draw = np.random.default_rng(0)
    part = sample.thinned(MOST, draw)
    drawn = [_reached(part, mineral, draw.poisson(1.0, len(part))) for _ in range(_BAND_DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    found = _reached(sample, mineral, np.ones(len(sample)))
    low, high = np.minimum(low, found), np.maximum(high, found)
    return Series(sample.name, number, np.array(LIBERATION) * 100, found, low, high, points=True)


def _reached(sample: ComparedSample, mineral: int, times: NDArray[Any]) -> Floats:
    """Share of a mineral in particles that hold at least so much of it, at :data:`LIBERATION`."""
    shares, amounts = sample.shares[:, mineral], sample.amounts[:, mineral] * sample.weights * times
    found = [amounts[shares >= limit - 1e-9].sum() / max(amounts.sum(), 1e-300) for limit in LIBERATION]
    return np.array(found)


def _shown(name: str, value: float) -> str:
    if not np.isfinite(value):
        return ABSENT
    return f"{value * 100:.1f}\u202f%" if "share" in name else number(value)


def _statistics(drawn: Sequence[Drawn]) -> list[tuple[str, list[tuple[str, str]]]]:
    rows = []
    for k, name in enumerate(drawn[0].names):
        cells = []
        for one in drawn:
            low, high = (float(end[k]) for end in one.ends)
            cells.append((_shown(name, float(one.found[k])), f"{_shown(name, low)} – {_shown(name, high)}"))
        rows.append((_title(name), cells))
    return rows


def _title(name: str) -> str:
    words = name.removesuffix("_mm").replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}{', mm' if name.endswith('_mm') else ''}"


def _changes(change: Difference) -> list[dict[str, Any]]:
    rows = []
    for k, name in enumerate(change.names):
        low, high, needed = float(change.low[k]), float(change.high[k]), float(change.needed[k])
        points = " points" if "share" in name else ""
        scale = 100.0 if points else 1.0

        def text(value: float, scale: float = scale, points: str = points) -> str:
            return ABSENT if not np.isfinite(value) else f"{value * scale:+.3g}{points}"

        rows.append(
            {
                "name": _title(name),
                "change": text(float(change.found[k])),
                "ends": f"{text(low)} to {text(high)}",
                "sure": low > 0 or high < 0,
                "needed": count(int(needed)) if np.isfinite(needed) and needed < 1e9 else ABSENT,
            }
        )
    return rows


def _tests(test: TwoSampleTest) -> list[tuple[str, str, str, bool]]:
    return [
        (name, f"{distance * 100:.1f}\u202f%", f"{chance * 100:.1f}\u202f%", bool(chance < LEVEL))
        for name, distance, chance in zip(test.names, test.distances.tolist(), test.chances.tolist(), strict=True)
    ]


def _separation(page: ComparisonPage) -> dict[str, Any]:
    found = page.separation
    assert found is not None
    curves = [("Partition curve over size", found.by_size, "equivalent diameter, mm", True)]
    if found.by_density is not None:
        curves.append(("Partition curve over density", found.by_density, "density, g/cm³", False))
    curves = [entry for entry in curves if np.isfinite(entry[1].found).any()]
    sizes = found.by_size
    minerals = page.samples[0].minerals
    return {
        "yield": f"{percent(found.concentrate_yield)} ({_ends(found.yield_low, found.yield_high)})",
        "plots": [(name, _partition(curve, axis, log)) for name, curve, axis, log in curves],
        "cuts": [(name, number(curve.at(0.5)), number(_probable_error(curve))) for name, curve, *_ in curves],
        "recovery": [
            (mineral, percent(float(row[0])) if np.isfinite(row[0]) else ABSENT, _ends(*row[1:].tolist()))
            for mineral, row in zip(minerals, found.recovery, strict=False)
        ],
        "minerals": minerals,
        "by_size": [
            (f"{number(low)} – {number(high)}", [_shown("share", float(value)) for value in row])
            for low, high, row in zip(sizes.limits, sizes.limits[1:], found.recovery_by_size, strict=False)
        ],
    }


def _ends(low: float, high: float) -> str:
    """Write an interval of shares; what no draw tells is left out."""
    return f"{percent(low)} to {percent(high)}" if np.isfinite([low, high]).all() else ABSENT


def _probable_error(curve: Partition) -> float:
    """Half of the distance from 25 to 75 %."""
    return abs(curve.at(0.75) - curve.at(0.25)) / 2


def _partition(curve: Partition, name: str, log: bool) -> Markup:
    known = np.isfinite(curve.found)
    x = curve.middles[known]
    room = 1.15 if log else 1.02
    axis = Axis(name, float(x.min()) / room, float(x.max()) * room, log)
    series = Series("to the concentrate", 0, x, curve.found[known], curve.low[known], curve.high[known], points=True)
    return line_plot([series], axis, "partition number, %", name)
