"""What the columns of the tables are: unit, digits that mean something, and a line for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """Of one column."""

    unit: str
    """Empty for ratios, counts, ids and truth values."""
    meaning: str
    digits: int = 5
    """Significant ones in text; means nothing for whole numbers."""


_AXES = {
    f"axis_{name}_{axis}": ColumnFacts("", f"unit vector along the {name} axis, part along {axis}", 4)
    for name in ("major", "minor")
    for axis in "zyx"
}
_PLACES = {
    **{f"centroid_{a}_mm": ColumnFacts("mm", f"centroid along {a}, from the corner of the volume", 6) for a in "zyx"},
    **{
        f"box_{a}_{end}_voxels": ColumnFacts("voxels", f"{what} along {a}")
        for a in "zyx"
        for end, what in (("start", "first voxel"), ("stop", "one past the last voxel"))
    },
}
_GRAY = {
    "gray_mean": "mean gray value of the scan over the particle",
    "gray_std": "standard deviation of its gray values",
    "gray_min": "its least gray value",
    **{f"gray_p{p:02}": f"gray value below which {p} % of its voxels lie" for p in (5, 25, 50, 75, 95)},
    "gray_max": "its largest gray value",
}

PARTICLE_COLUMNS = {
    "label": ColumnFacts("", "id of the particle in the label volume"),
    "volume_voxels": ColumnFacts("voxels", "number of voxels"),
    "volume_mm3": ColumnFacts("mm³", "volume"),
    "equivalent_diameter_mm": ColumnFacts("mm", "diameter of the ball of the same volume"),
    "surface_mm2": ColumnFacts("mm²", "surface area"),
    "sphericity": ColumnFacts("", "surface of the ball of the same volume over the particle's own", 4),
    "feret_max_mm": ColumnFacts("mm", "largest distance of two parallel planes that hold the particle"),
    "feret_min_mm": ColumnFacts("mm", "least distance of two parallel planes that hold the particle"),
    "axis_major_mm": ColumnFacts("mm", "major axis of the ellipsoid of the same moments"),
    "axis_middle_mm": ColumnFacts("mm", "middle axis of the ellipsoid of the same moments"),
    "axis_minor_mm": ColumnFacts("mm", "minor axis of the ellipsoid of the same moments"),
    "elongation": ColumnFacts("", "middle axis over major axis", 4),
    "flatness": ColumnFacts("", "minor axis over middle axis", 4),
    "solidity": ColumnFacts("", "share of its convex hull that it fills", 4),
    **_AXES,
    **_PLACES,
    "touches_edge": ColumnFacts("", "touches the boundary of the volume, so it may be cut"),
    "edge_weight": ColumnFacts("", "particles that it stands for where the boundary cuts others; 0 at the boundary"),
    "contacts": ColumnFacts("", "number of particles that it touches"),
    "contact_faces": ColumnFacts("", "voxel faces that it shares with them"),
    **{name: ColumnFacts("", meaning, 6) for name, meaning in _GRAY.items()},
    "confidence": ColumnFacts("", "how sure the network is that it is a particle, 0 to 1", 4),
    "core_confidence": ColumnFacts("", "how sure the network is of its core, 0 to 1", 4),
    "contact_margin": ColumnFacts("", "how clear the border to those it touches is, -1 to 1", 4),
    "merged_score": ColumnFacts("", "how much it looks like two in one, 0 to 1; from 0.5 on possibly merged", 3),
    "split_score": ColumnFacts("", "how much it looks like a part of a larger one, 0 to 1", 3),
}
"""Columns of the particle table, in their order."""

PSD_COLUMNS = {
    "diameter": ColumnFacts("", "which diameter the classes are of: equivalent or sieve"),
    "lower_mm": ColumnFacts("mm", "the class holds diameters above this", 6),
    "upper_mm": ColumnFacts("mm", "and up to this; empty for what is retained on the coarsest sieve", 6),
    "particles": ColumnFacts("", "number of particles, corrected for those that the boundary cuts"),
    "volume_mm3": ColumnFacts("mm³", "their volume"),
    "mass_mg": ColumnFacts("mg", "their mass"),
    **{
        f"{by}_{what}{end}_percent": ColumnFacts("%", f"{words} by {by}{which}", 4)
        for by in ("number", "volume", "mass")
        for what, words in (("frequency", "frequency"), ("passing", "cumulative passing"))
        for end, which in (("", ""), ("_low", ", lower end of its 95 % interval"), ("_high", ", upper end"))
    },
}
"""Columns of ``psd.csv``, in their order."""

SHORT_COLUMNS = (
    "label",
    *("equivalent_diameter_mm", "volume_mm3", "feret_max_mm", "feret_min_mm", "sphericity", "elongation", "flatness"),
    *("centroid_z_mm", "centroid_y_mm", "centroid_x_mm", "touches_edge", "gray_mean", "confidence", "merged_score"),
)
"""Of ``particles_short.csv``; those that a table has not got are left out."""

_POWERS = np.array([float(f"1e{power}") for power in range(309)])


def significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Round to significant digits, to the double nearest to each decimal: its shortest text has no more digits.

    >>> significant(np.array([0.0123456, -98765.4, 0.0, np.nan]), 3).tolist()
    [0.0123, -98800.0, 0.0, nan]
    """
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    places = np.where(np.isfinite(size), digits - 1 - size, 0).clip(-300, 300).astype(np.int64)
    up, down = _POWERS[np.maximum(places, 0)], _POWERS[np.maximum(-places, 0)]
    rounded: NDArray[np.float64] = np.rint(values * up / down) * down / up
    return rounded


def rounded_columns(columns: dict[str, Any], facts: dict[str, ColumnFacts]) -> dict[str, Any]:
    """Round the floats among columns to their digits; of a column that is not known, to six."""
    return {
        name: significant(column, facts[name].digits if name in facts else 6) if column.dtype.kind == "f" else column
        for name, column in columns.items()
    }
