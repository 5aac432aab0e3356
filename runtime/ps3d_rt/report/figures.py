"""The section with the slices: three planes side by side, a slider under each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

from ps3d_rt.core.planes import Slices, across
from ps3d_rt.report.formatting import count, unit_for
from ps3d_rt.report.slices import jpegs

AXES = "zyx"
CLASSES = ' class="middle shown"'
"""Of the middle picture: the page shows it first, and on paper."""
SpacingMm = tuple[float, float, float]


def slices_section(slices: Sequence[Slices], scan: Mapping[str, Any], *, gray: bool) -> str:
    """Write the section as HTML; '' without slices.

    Args:
        slices: of every axis.
        scan: part of ``run.json``.
        gray: whether the scan is to be seen behind the outlines.
    """
    if not slices:
        return ""
    spacing = _spacing_mm(scan)
    figures = [_figure(s, sources, spacing) for s, sources in zip(slices, jpegs(slices), strict=True)]
    note = "Planes across z, y and x. One colour a particle, the same in all planes."
    if not gray:
        note += " The scan was not there to be shown: particles are white."
    hint = '<span class="hint">Move the sliders; click a plane to enlarge it.</span>'
    head = f'<h2>Slices</h2><p class="note">{note} {hint}</p>'
    return f'<section id="slices">{head}<div class="slices">{"".join(figures)}</div></section>'


def _spacing_mm(scan: Mapping[str, Any]) -> SpacingMm | None:
    spacing = scan.get("spacing_mm")
    if not spacing:
        return None
    z, y, x = (float(s) for s in (spacing if isinstance(spacing, Sequence) else [spacing] * 3))
    return z, y, x


def _figure(slices: Slices, sources: Sequence[str], spacing_mm: SpacingMm | None) -> str:
    """One axis at its physical proportions, so that all planes of a row share one scale."""
    axis, middle = AXES[slices.axis], slices.middle
    rows, columns = across(AXES, slices.axis)
    sides = [n * step for n, step in zip(slices.shape, spacing_mm or (1.0, 1.0, 1.0), strict=True)]
    height, width = across(sides, slices.axis)
    bar = _scale_bar(width) if spacing_mm else ""
    pictures = "".join(
        f'<img{CLASSES if k == middle else ""} data-index="{count(index)}" '
        f'alt="Slice {axis} = {index} with particle outlines" src="{source}">'
        for k, (index, source) in enumerate(zip(slices.indices, sources, strict=True))
    )
    slider = (
        f'<input type="range" min="0" max="{len(sources) - 1}" value="{middle}" '
        f'aria-label="Slice along {axis}" autocomplete="off">'
    )
    at = count(slices.indices[middle])
    place = f'<b>{axis} = <span class="at">{at}</span><span class="printed">{at}</span></b>'
    return (
        f'<figure id="slice-{axis}" style="--wide:{width:.6g};--ratio:{width / height:.6g}">'
        f'<a class="frame" href="#slice-{axis}" title="Enlarge">{pictures}</a>{slider}'
        f"<figcaption><span>{place} of {count(slices.shape[slices.axis])}</span>{bar}"
        f"<span>{columns} → · {rows} ↓</span></figcaption>"
        f'<a class="close" href="#slices" title="Back to the page">×</a></figure>'
    )


def _scale_bar(width_mm: float) -> str:
    """Draw a round length of at most a third of the picture."""
    most = width_mm / 3 * (1 + 1e-9)
    power = 10.0 ** floor(log10(most))
    length = max(digit * power for digit in (1, 2, 5) if digit * power <= most)
    unit = unit_for(length)
    shown = f"{length * unit.per_mm:.6g} {unit.name}"
    return f'<span class="bar" style="width:{length / width_mm * 100:.4g}%">{shown}</span>'
