"""The shape plot after Zingg: elongation over flatness, and the share of the particles in each of its four fields."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ps3d_rt.core.distribution import DETECTION_LIMIT_VOXELS, below_limit
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.formatting import THIN_SPACE, percent
from ps3d_rt.report.svg import INK, MUTED, RULE, drawing, label, line, upright
from ps3d_rt.report.templates import note, render

LIMIT = 2 / 3
"""Between the fields on both axes (T. Zingg, 1935)."""
MOST_POINTS = 2000
POINT = "#0072b2"

WIDTH, HEIGHT = 470, 470
LEFT, RIGHT, TOP, BOTTOM = 58, 454, 14, 410

FIELDS = (("discs", False, True), ("spheroids", True, True), ("blades", False, False), ("rods", True, False))
"""Name, whether on the right, whether above."""


COLUMNS = ("elongation", "flatness", "sphericity")


def shape_section(table: SampleTable) -> Markup:
    """Write plot, table and note as HTML, of the particles that no face cuts and that are large enough."""
    shown = ~table.touches_edge & ~below_limit(table.volume_voxels)
    if not shown.any():
        return note("No particle is whole and large enough to have a shape.")
    quantiles = {name: np.quantile(getattr(table, name)[shown], (0.1, 0.5, 0.9)).tolist() for name in COLUMNS}
    return render(
        "measured.html",
        plot=shape_plot(table.flatness[shown], table.elongation[shown]),
        heads=[f"{share} %" for share in (10, 50, 90)],
        rows=[(name, "", [(f"{value:.2f}", "") for value in values]) for name, values in quantiles.items()],
        more="",
        note=NOTE,
    )


NOTE = (
    "a, b and c are the major, the middle and the minor axis of the ellipsoid with the particle’s moments; a ball has "
    "1 in all three rows. Shares and table are by number. Particles that touch the boundary of the volume, or are less "
    f"than {DETECTION_LIMIT_VOXELS} voxels across, are left out."
)


def shape_plot(flatness: NDArray[np.float64], elongation: NDArray[np.float64]) -> Markup:
    """Draw one point a particle, at most :data:`MOST_POINTS`, and the shares of all, as an ``<svg>``."""
    # Labels follow the raster: every k-th particle is an even sample.
    points = np.stack([flatness, elongation], axis=1)[:: -(-len(flatness) // MOST_POINTS)]
    shares = [
        float(np.mean(((flatness >= LIMIT) == right) & ((elongation >= LIMIT) == above))) for _, right, above in FIELDS
    ]
    parts = [*_frame(), *(_point(*point) for point in points.tolist()), *_fields(shares)]
    return drawing(WIDTH, HEIGHT, "Elongation over flatness of the particles, after Zingg", parts)


def _x(flatness: float) -> float:
    return LEFT + (RIGHT - LEFT) * flatness


def _y(elongation: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * elongation


def _frame() -> Iterator[str]:
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        yield line(_x(tick), TOP, _x(tick), BOTTOM, RULE)
        yield line(LEFT, _y(tick), RIGHT, _y(tick), RULE)
        yield label((_x(tick), BOTTOM + 20), f"{tick:g}", MUTED, "middle")
        yield label((LEFT - 8, _y(tick) + 4), f"{tick:g}", MUTED, "end")
    yield line(_x(LIMIT), TOP, _x(LIMIT), BOTTOM, MUTED)
    yield line(LEFT, _y(LIMIT), RIGHT, _y(LIMIT), MUTED)
    yield label(((LEFT + RIGHT) / 2, HEIGHT - 16), "flatness c / b", INK, "middle")
    yield upright(16, (TOP + BOTTOM) / 2, "elongation b / a")


def _point(flatness: float, elongation: float) -> str:
    return f'<circle cx="{_x(flatness):.1f}" cy="{_y(elongation):.1f}" r="2.2" fill="{POINT}" fill-opacity="0.4"/>'


def _fields(shares: list[float]) -> Iterator[str]:
    for (name, right, above), share in zip(FIELDS, shares, strict=True):
        x, anchor = (RIGHT - 8, "end") if right else (LEFT + 8, "start")
        y = TOP + 20 if above else BOTTOM - 10
        yield label((x, y), f"{name}{THIN_SPACE}{percent(share)}", INK, anchor, halo=True, weight=600)
