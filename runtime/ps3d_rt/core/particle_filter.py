"""Which particles are dropped, and why: rule 5 of border-core → particles, and what a model asks for before it.

A rule uses the size alone or the confidence alone, and none drops a particle of more than
:data:`LARGEST_DROPPED_VOXELS`. A rule on uncertainty times diameter dropped the largest grains (docs/decisions/0017).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from math import prod

import numpy as np
from numpy.typing import NDArray

LARGEST_DROPPED_VOXELS = 1000.0
"""Voxels of the scan, a ball 12 across: what is larger is plainly there, and no rule drops it."""


class Reason(IntEnum):
    """Why a particle is not in the labels."""

    KEPT = 0
    BELOW_DETECTION_LIMIT = 1
    LOW_CONFIDENCE = 2
    SMALL_RELATIVE_VOLUME = 3
    VANISHED_ON_SOURCE_GRID = 4
    """It lies between the voxels of the scan, which are coarser than those of the network's grid."""

    @property
    def text(self) -> str:
        """In words.

        >>> Reason.LOW_CONFIDENCE.text
        'low confidence'
        """
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleFilter:
    """What a particle needs. The defaults are the published rule alone."""

    min_relative_volume: float = 0.005
    """Share of the mean volume of the particles that the other rules keep."""
    min_confidence: float | None = None
    """Mean score of foreground, 0 to 1; None if there are no scores."""
    min_voxels: float = 0.0
    """Volume, in voxels of the grid that the rules are applied to."""
    largest_dropped: float = LARGEST_DROPPED_VOXELS
    """Volume in such voxels above which nothing is dropped."""

    def on_grid(self, zoom: tuple[float, float, float]) -> ParticleFilter:
        """Give the same rules for a grid that is ``zoom`` times as fine along z, y, x.

        >>> ParticleFilter(min_voxels=14).on_grid((2.0, 2.0, 2.0)).min_voxels
        112.0
        """
        finer = prod(zoom)
        return replace(self, min_voxels=self.min_voxels * finer, largest_dropped=self.largest_dropped * finer)

    def reasons(self, volumes: NDArray[np.int64], scores: NDArray[np.int64] | None) -> NDArray[np.uint8]:
        """Say of every particle why it is dropped: a :class:`Reason`, the first that holds; 0 for what stays.

        Args:
            volumes: (n,) voxels; 0 is no particle, and stays 0 here.
            scores: (n,) sum over a particle's voxels of the score of foreground, percent; None without scores.

        >>> ParticleFilter(min_relative_volume=0.5, min_voxels=3).reasons(np.array([0, 2, 9, 4, 30]), None).tolist()
        [0, 1, 0, 3, 0]
        """
        reasons = np.zeros(volumes.size, np.uint8)
        may_go = (volumes > 0) & (volumes <= self.largest_dropped)
        reasons[may_go & (volumes < self.min_voxels)] = Reason.BELOW_DETECTION_LIMIT
        if scores is not None and self.min_confidence is not None:
            unsure = scores < 100 * self.min_confidence * volumes
            reasons[may_go & unsure & (reasons == 0)] = Reason.LOW_CONFIDENCE
        there = (volumes > 0) & (reasons == 0)
        # In float64: as integers, volume times count would overflow at 10^10 voxels.
        small = volumes.astype(np.float64) * np.count_nonzero(there) < self.min_relative_volume * volumes[there].sum()
        reasons[may_go & there & small] = Reason.SMALL_RELATIVE_VOLUME
        return reasons
