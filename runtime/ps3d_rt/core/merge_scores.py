"""How much a particle looks like two in one, or like a part of a larger one: scores to look by, 0 to 1.

*Possibly merged.* Two grains in one fill less of their convex hull than the sample's other particles do. With m the
median solidity of the sample and w its spread (1.48 times the median distance from it, between 0.04 and 0.06),

    merged_score = 1 / (1 + exp(−2 · ((m − solidity) / w − 2)))

so a score of ½ is a solidity two spreads below the median. Against the sample, because some material is angular or
concave by itself. With few particles there is no sample to compare with, and typical numbers take its place.

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
_AT, _SLOPE = 2.0, 2.0
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


def merged_scores(solidity: NDArray[np.float64], typical: TypicalSolidity) -> NDArray[np.float64]:
    """Score particles by their solidity, (n,).

    >>> merged_scores(np.array([0.85, 0.75, 0.6]), TypicalSolidity()).round(2).tolist()
    [0.02, 0.5, 1.0]
    """
    below = (typical.median - solidity) / typical.spread
    scores: NDArray[np.float64] = 1 / (1 + np.exp(-_SLOPE * (below - _AT)))
    return scores


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
