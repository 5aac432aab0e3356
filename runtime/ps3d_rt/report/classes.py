"""The size distribution in classes, and the laws fitted to it, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf
from typing import Any

from markupsafe import Markup

from ps3d_rt.core.distribution import SizeOptions
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.psd import Psd, size_psd
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.formatting import LengthUnit, count, number
from ps3d_rt.report.templates import render

LAWS = {
    "rosin_rammler": ("Rosin-Rammler", "d63_mm", "d63", "n"),
    "gates_gaudin_schuhmann": ("Gates-Gaudin-Schuhmann", "k_mm", "k", "m"),
}


def classes_table(table: SampleTable, sizes: Mapping[str, Any], shape: Zyx | None, unit: LengthUnit) -> Markup:
    """Write the classes, as ``psd.csv`` has them, as HTML.

    Args:
        table: the particles.
        sizes: from :func:`ps3d_rt.core.distribution.facts_by`, of at least one particle.
        shape: of the volume; needed if the sizes are corrected for its boundary.
        unit: of the classes.
    """
    psd = size_psd(table, shape, SizeOptions.from_facts(sizes))
    return render(
        "classes.html",
        diameter=psd.diameter,
        unit=unit.name,
        by=list(psd.shares),
        rows=[_row(psd, at, unit) for at in range(len(psd.lower_mm))],
    )


def _row(psd: Psd, at: int, unit: LengthUnit) -> dict[str, Any]:
    lower, upper = (float(ends[at]) * unit.per_mm for ends in (psd.lower_mm, psd.upper_mm))
    name = f"over {number(lower)}" if isinf(upper) else f"{number(lower) if lower else 0}–{number(upper)}"
    shares = list(psd.shares.values())
    return {
        "name": name,
        "particles": count(round(psd.particles[at])),
        "frequency": [f"{100 * s.frequency[at]:.1f}" for s in shares],
        "passing": [
            (f"{100 * s.passing[at]:.1f}", f"{100 * s.passing_ends[0, at]:.1f}–{100 * s.passing_ends[1, at]:.1f}")
            for s in shares
        ],
    }


def fits_table(sizes: Mapping[str, Any], unit: LengthUnit) -> Markup:
    """Write the laws fitted by volume as HTML; nothing if there are none."""
    fits = sizes.get("fits_by_volume") or {}
    rows = [
        (name, f"{size_word} {number(fits[law][size] * unit.per_mm)} {unit.name}", f"{word} {fits[law][word]:.2f}",
         f"{fits[law]['rms_percent']:.1f}")
        for law, (name, size, size_word, word) in LAWS.items()
        if law in fits
    ]  # fmt: skip
    return render("fits.html", rows=rows) if rows else Markup()
