"""The page of a batch: a row, a picture and a size curve a sample, on one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from ps3d_rt.batch.summary import Points, Row, counts, curve_of, mixed
from ps3d_rt.output import PREVIEW, REPORT
from ps3d_rt.report.drawing import data_uri
from ps3d_rt.report.formatting import ABSENT, MICROMETRE, LengthUnit, count, duration, unit_for
from ps3d_rt.report.svg import MUTED, RULE, drawing, label, line
from ps3d_rt.report.templates import render

WIDTH, HEIGHT = 220, 84
_LEFT, _RIGHT, _TOP, _BOTTOM = 4, 216, 4, 66
_MOST_PREVIEW_BYTES = 2**20


@dataclass(frozen=True)
class Shown:
    """What a row of the page needs besides the figures."""

    row: Row
    picture: str | None
    """``src`` of an ``<img>``."""
    curve: Points


def render_summary(rows: Sequence[Row], out: Path) -> str:
    """Render the page of a batch, with the pictures and curves of the samples that are done."""
    shown = [_shown(row, out) for row in rows]
    unit = _unit(rows)
    ends = [diameter for one in shown for diameter, _ in (*one.curve[:1], *one.curve[-1:])]
    axis = (min(ends), max(ends)) if ends else None
    page = render(
        "batch.html",
        name=out.name,
        counts=counts(rows),
        notes=mixed(rows),
        unit=unit.name,
        rows=[_cells(one, unit, axis) for one in shown],
    )
    return str(page)


def _shown(row: Row, out: Path) -> Shown:
    if row.state != "done":
        return Shown(row, None, ())
    return Shown(row, _picture(out / row.name / PREVIEW), curve_of(out / row.name))


def _picture(path: Path) -> str | None:
    try:
        return data_uri("jpeg", path.read_bytes()) if path.stat().st_size <= _MOST_PREVIEW_BYTES else None
    except OSError:
        return None


def _unit(rows: Sequence[Row]) -> LengthUnit:
    """Take one unit for all samples, by their middle one."""
    sizes = sorted(row.d50_by_volume_mm for row in rows if row.d50_by_volume_mm)
    return unit_for(sizes[len(sizes) // 2]) if sizes else MICROMETRE


def _cells(one: Shown, unit: LengthUnit, axis: tuple[float, float] | None) -> dict[str, object]:
    row = one.row

    def length(value: float | None) -> str:
        return ABSENT if value is None else f"{value * unit.per_mm:.3g}"

    return {
        "name": row.name,
        "state": row.state,
        "error": row.error,
        "report": f"{quote(row.name)}/{REPORT}",
        "picture": one.picture,
        "curve": curve_svg(one.curve, axis, unit) if one.curve and axis else "",
        "particles": ABSENT if row.particles is None else count(row.particles),
        "sizes": [length(v) for v in (row.d10_by_volume_mm, row.d50_by_volume_mm, row.d90_by_volume_mm)],
        "given": length(row.particle_size_mm),
        "warnings": row.warnings or 0,
        "seconds": ABSENT if row.seconds is None else duration(row.seconds),
    }


def curve_svg(curve: Points, axis: tuple[float, float], unit: LengthUnit) -> Markup:
    """Draw a cumulative distribution by volume over a logarithmic axis, which all samples share."""
    low, high = axis[0] / 1.05, axis[1] * 1.05

    def x(diameter: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * log(diameter / low) / log(high / low)

    def y(share: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * share

    points = " ".join(f"{x(diameter):.1f},{y(share):.1f}" for diameter, share in curve)
    points += f" {_RIGHT},{y(1):.1f}"
    parts = [
        *(line(_LEFT, y(share), _RIGHT, y(share), RULE) for share in (0, 0.5, 1)),
        f'<polyline points="{points}" fill="none" stroke="#d55e00" stroke-width="2"/>',
        label((_LEFT, HEIGHT - 4), unit.show(low), MUTED, "start"),
        label((_RIGHT, HEIGHT - 4), unit.show(high), MUTED, "end"),
    ]
    return drawing(WIDTH, HEIGHT, "Cumulative size distribution by volume", parts)
