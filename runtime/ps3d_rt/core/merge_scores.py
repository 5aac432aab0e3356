"""How much a particle looks like two in one, or like a part of a larger one: scores to look by, 0 to 1.

*Possibly merged.* Two grains in one fill less of their convex hull than the sample's other particles do, have a neck
where they touch, and a smoother surface than a concave grain that fills as little. With m the median solidity of the
sample and w its spread (1.48 times the median distance from it, between 0.04 and 0.06), neck from
:mod:`ps3d_rt.core.neck`, and d the equivalent diameter in voxels,

    z = min(3, (m − solidity) / w)
    merged_score = 1 / (1 + exp(−2 · (z − 3 · neck + 8 · sphericity + ln(min(d, 40) / 15) − 6)))

and 0 if z is below 1: then no neck is looked for. Against the sample, because some material is angular or concave by
itself. With few particles there is no sample to compare with, and typical numbers take its place. The numbers were
chosen on development samples, where 83 % of the joined pairs of smooth grains and 79 % of rough ones were listed, and 4
and 14 % of those listed were false; a third more or less of each does about as well.

*Possibly split.* A particle that was cut in two has two parts with a wide contact and no clear border there. With f the
voxel faces of its widest contact,

    c = (1 − contact_margin) / 2 · min(1, 2 · f / volume_voxels^(2/3))
    split_score = 1 / (1 + exp(−(c − 0.1) / 0.02))

The scores tell what to look at, not what is wrong: docs/particle-table.md says how many of those listed are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LISTED = 0.5
"""Particles of a score from here on are possibly merged, or split."""
FEWEST = 8
"""Particles to compare with."""

_BINS = 2000
_LEAST_SPREAD, _MOST_SPREAD = 0.04, 0.06
SUSPECT = 1.0
"""Spreads below the median from which on a particle is looked at."""
_LOWEST = 3.0
"""Spreads: a solidity below does not count as more."""
_NECK, _SPHERICITY, _AT, _SLOPE = 3.0, 8.0, 6.0, 2.0
_USUAL_VOXELS, _LARGE_VOXELS = 15.0, 40.0
_SPLIT_AT, _SPLIT_SCALE = 0.1, 0.02


@dataclass(frozen=True, slots=True)
class TypicalSolidity:
    """What the solidity of a sample's particles is."""

    median: float = 0.85
    spread: float = 0.05

    @classmethod
    def of(cls, parts: Iterable[NDArray[np.float64]]) -> TypicalSolidity:
        """Find it in the solidities of a sample, which come in parts; exact to a 2,000th, in bounded memory.

        >>> TypicalSolidity.of([np.array([0.8, 0.9]), np.full(7, 0.9), np.array([0.5])])
        TypicalSolidity(median=0.90025, spread=0.04)
        """
        counts = np.zeros(_BINS, np.int64)
        for part in parts:
            counts += np.histogram(part, _BINS, (0, 1))[0]
        if counts.sum() < FEWEST:
            return cls()
        middles = (np.arange(_BINS) + 0.5) / _BINS
        median = _weighted_median(middles, counts)
        spread = 1.4826 * _weighted_median(np.abs(middles - median), counts)
        return cls(round(median, 9), float(np.clip(spread, _LEAST_SPREAD, _MOST_SPREAD)))


def _weighted_median(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def spreads_below(solidity: NDArray[np.float64], typical: TypicalSolidity) -> NDArray[np.float64]:
    """Count how many spreads the solidity of particles lies below the median, (n,).

    >>> spreads_below(np.array([0.85, 0.75]), TypicalSolidity()).round(6).tolist()
    [0.0, 2.0]
    """
    return (typical.median - solidity) / typical.spread


def merged_scores(
    below: NDArray[np.float64], neck: NDArray[np.float64], sphericity: NDArray[np.float64], voxels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Score particles by their shape, (n,).

    Args:
        below: (n,) from :func:`spreads_below`.
        neck: (n,) 0 to 1.
        sphericity: (n,)
        voxels: (n,) volumes.

    >>> merged_scores(np.array([0.9, 2, 2]), np.array([1, 1, 0.4]), np.full(3, 0.8), np.full(3, 1767)).round(2).tolist()
    [0.0, 0.23, 0.92]
    """
    diameter = np.cbrt(6 / np.pi * voxels)
    size = np.log(np.minimum(diameter, _LARGE_VOXELS) / _USUAL_VOXELS)
    above = np.minimum(below, _LOWEST) - _NECK * neck + _SPHERICITY * sphericity + size - _AT
    return np.where(below >= SUSPECT, 1 / (1 + np.exp(-_SLOPE * above)), 0.0)


def split_scores(
    contact_margin: NDArray[np.float64], widest_contact: NDArray[np.int64], voxels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Score particles by their contacts.

    Args:
        contact_margin: (n,) −1 to 1, NaN without a contact on the network's grid.
        widest_contact: (n,) voxel faces shared with the particle that each touches most.
        voxels: (n,)

    Returns:
        (n,) 0.01 without a contact.
    """
    width = np.minimum(1.0, 2 * widest_contact / np.cbrt(voxels.astype(np.float64)) ** 2)
    unclear = (1 - np.nan_to_num(contact_margin, nan=1.0)) / 2 * width
    scores: NDArray[np.float64] = 1 / (1 + np.exp((_SPLIT_AT - unclear) / _SPLIT_SCALE))
    return scores
