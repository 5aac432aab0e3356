"""Which particles stay: rule 5 of border-core → particles, and what a model asks for before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.doubt import is_sure


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What a particle needs. The defaults are the published rule alone."""

    min_relative_volume: float = 0.005
    """Share of the mean volume of the particles that the other rules keep."""
    min_confidence: float | None = None
    """Mean score of foreground, 0 to 1; None if there are no scores."""
    max_doubt: float = 0.0
    """Thickness of the unsure layer at the surface, in typical ones, that is allowed; 0 asks for nothing."""
    min_voxels: float = 0.0
    """Volume, in voxels of the grid that the rules are applied to."""

    def on_grid(self, zoom: tuple[float, float, float]) -> Keep:
        """Give the same rules for a grid that is ``zoom`` times as fine along z, y, x.

        >>> Keep(min_voxels=14).on_grid((2.0, 2.0, 2.0)).min_voxels
        112.0
        """
        return replace(self, min_voxels=self.min_voxels * prod(zoom))

    def keeps(self, volumes: NDArray[np.int64], scores: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        """Say which particles stay.

        Args:
            volumes: (n,) voxels; 0 is no particle.
            scores: (n,) sum over a particle's voxels of the score of foreground, percent; None without scores.

        >>> Keep(min_relative_volume=0.5, min_voxels=3).keeps(np.array([0, 2, 9, 4, 30]), None).tolist()
        [False, False, True, False, True]
        """
        there = (volumes > 0) & (volumes >= self.min_voxels)
        if scores is not None and self.min_confidence is not None:
            there &= is_sure(np.where(there, volumes, 0), scores, self.min_confidence, self.max_doubt)
        # In float64: as integers, volume times count would overflow at 10^10 voxels.
        large = volumes.astype(np.float64) * np.count_nonzero(there) >= self.min_relative_volume * volumes[there].sum()
        kept: NDArray[np.bool_] = there & large
        return kept
