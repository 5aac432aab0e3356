"""The statistics of a sample as tables: named columns of one length each, with units in the names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.minerals.sample import LIBERATION, PERCENTILES, YIELDS, Interval, MineralSample
from ps3d_rt.core.minerals.table import CLASSES

Frame = dict[str, NDArray[Any]]

OUTSIDE = "surface"
"""What a mineral touches where it is at the particle's surface."""
NAMES = ("composition", "liberation", "yield", "association", "sizes", "grade_by_size")


def frames_of(sample: MineralSample, found: Interval) -> dict[str, Frame]:
    """Write all statistics as tables, by the names :data:`NAMES`; docs/minerals.md has the columns."""
    names = np.array(sample.phases.names)
    count = len(names)
    by_limit, by_yield = np.tile(LIBERATION, count), np.tile(YIELDS, count)
    others = np.array(["void", *names, OUTSIDE])
    own = np.repeat(np.arange(count), count + 2)
    other = np.tile(np.arange(count + 2), count)
    different = other != own + 1
    limits = sample.size_classes_mm()
    classes = len(limits) - 1
    mass_known = sample.phases.densities is not None
    return {
        "composition": {
            "mineral": names,
            **_with_ends(found, "volume_share"),
            **(_with_ends(found, "mass_share") if mass_known else {}),
        },
        "liberation": {
            "mineral": np.repeat(names, len(LIBERATION)),
            "least_share": by_limit,
            **_with_ends(found, "liberation_by_volume"),
            **_with_ends(found, "liberation_by_surface"),
        },
        "yield": {
            "mineral": np.repeat(names, len(YIELDS)),
            ("mass_yield" if mass_known else "volume_yield"): by_yield,
            **_with_ends(found, "recovery"),
            **_with_ends(found, "grade"),
        },
        "association": {
            "mineral": names[own][different],
            "touches": others[other][different],
            **{name: column[different] for name, column in _with_ends(found, "association", "boundary_share").items()},
        },
        "sizes": _sizes(found, names),
        "grade_by_size": {
            "size_low_mm": np.repeat(limits[:-1], count),
            "size_high_mm": np.repeat(limits[1:], count),
            "mineral": np.tile(names, classes),
            **_with_ends(found, "size_grade", "volume_share"),
            "size_class_volume_share": np.repeat(found.found["size_volume_share"], count),
        },
    }


def _with_ends(found: Interval, statistic: str, name: str = "") -> Frame:
    name = name or statistic
    return {
        name: found.found[statistic].ravel(),
        f"{name}_low": found.low[statistic].ravel(),
        f"{name}_high": found.high[statistic].ravel(),
    }


def _sizes(found: Interval, minerals: NDArray[np.str_]) -> Frame:
    columns: Frame = {
        "kind": np.array(["mineral"] * len(minerals) + ["liberation"] * len(CLASSES)),
        "name": np.array([*minerals, *CLASSES]),
    }
    for k, share in enumerate(PERCENTILES):
        for ending, values in (("", found.found), ("_low", found.low), ("_high", found.high)):
            both = [values["percentiles_mm"][:, k], values["class_percentiles_mm"][:, k]]
            columns[f"d{share * 100:.0f}{ending}_mm"] = np.concatenate(both)
    return columns
