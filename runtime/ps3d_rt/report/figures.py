"""The section with the slices: three planes side by side, a slider under each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

from markupsafe import Markup

from ps3d_rt.core.planes import Slices, across
from ps3d_rt.report.formatting import count, unit_for
from ps3d_rt.report.slices import jpegs
from ps3d_rt.report.templates import render

AXES = "zyx"
SpacingMm = tuple[float, float, float]


def slices_section(slices: Sequence[Slices], scan: Mapping[str, Any], *, gray: bool) -> Markup:
    """Write the section as HTML; nothing without slices.

    Args:
        slices: of every axis.
        scan: part of ``run.json``.
        gray: whether the scan is to be seen behind the outlines.
    """
    if not slices:
        return Markup()
    spacing = _spacing_mm(scan)
    note = "Planes across z, y and x. One colour a particle, the same in all planes."
    if not gray:
        note += " The scan was not there to be shown: particles are white."
    figures = [_figure(s, sources, spacing) for s, sources in zip(slices, jpegs(slices), strict=True)]
    return render("slices.html", note=note, figures=figures)


def _spacing_mm(scan: Mapping[str, Any]) -> SpacingMm | None:
    spacing = scan.get("spacing_mm")
    if not spacing:
        return None
    z, y, x = (float(s) for s in (spacing if isinstance(spacing, Sequence) else [spacing] * 3))
    return z, y, x


def _figure(slices: Slices, sources: Sequence[str], spacing_mm: SpacingMm | None) -> dict[str, Any]:
    """One axis at its physical proportions, so that all planes of a row share one scale."""
    rows, columns = across(AXES, slices.axis)
    sides = [n * step for n, step in zip(slices.shape, spacing_mm or (1.0, 1.0, 1.0), strict=True)]
    height, width = across(sides, slices.axis)
    return {
        "axis": AXES[slices.axis],
        "rows": rows,
        "columns": columns,
        "wide": f"{width:.6g}",
        "ratio": f"{width / height:.6g}",
        "bar": _scale_bar(width) if spacing_mm else None,
        "pictures": [
            {"index": count(index), "source": source} for index, source in zip(slices.indices, sources, strict=True)
        ],
        "middle": slices.middle,
        "at": count(slices.indices[slices.middle]),
        "planes": count(slices.shape[slices.axis]),
    }


def _scale_bar(width_mm: float) -> dict[str, str]:
    """Find a round length of at most a third of the picture."""
    most = width_mm / 3 * (1 + 1e-9)
    power = 10.0 ** floor(log10(most))
    length = max(digit * power for digit in (1, 2, 5) if digit * power <= most)
    unit = unit_for(length)
    return {"percent": f"{length / width_mm * 100:.4g}", "words": f"{length * unit.per_mm:.6g} {unit.name}"}
