"""Bins of gray values on the anchored scale: even ones near the embedding, ever wider ones far above it.

Noise is as strong on all of a dark phase, and a bright phase varies in proportion to its own value; so bins of a third
of the noise near 0, and of some percent of the value far above, serve contrasts of 1 and of 80 alike. The scale is the
inverse hyperbolic sine, as that of the network's input (docs/decisions/0018).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asinh, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.minerals.phases import AnchoredScale
from ps3d_rt.errors import InputError

BINS = 192


@dataclass(frozen=True, slots=True)
class AnchoredBins:
    """192 bins from below the embedding to above the brightest phase; the first and last hold what lies beyond."""

    low: float
    """Lower edge of the first bin, in units of the anchored scale."""
    high: float
    """Upper edge of the last bin."""
    knee: float
    """Where bins begin to widen, > 0."""

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high and self.knee > 0):
            raise InputError(f"gray bins reach from {self.low} to {self.high}; the upper end must lie above the lower.")

    @classmethod
    def for_values(cls, top: float, noise: float) -> AnchoredBins:
        """Cover the embedding with its noise, and values up to ``top``."""
        knee = max(2 * noise, top / 500)
        return cls(-6 * max(noise, top / 2000), 1.3 * top + 6 * noise, knee)

    def edges(self) -> NDArray[np.float64]:
        """(193,) edges of the bins, ascending."""
        low, high = asinh(self.low / self.knee), asinh(self.high / self.knee)
        found: NDArray[np.float64] = self.knee * np.sinh(np.linspace(low, high, BINS + 1))
        return found

    def centres(self) -> NDArray[np.float64]:
        """(192,) middles of the bins."""
        edges = self.edges()
        middles: NDArray[np.float64] = (edges[1:] + edges[:-1]) / 2
        return middles

    def index(self, gray: NDArray[Any], scale: AnchoredScale) -> NDArray[np.uint8]:
        """Find the bin of every voxel.

        Args:
            gray: gray values of the scan, any shape and real dtype; NaN counts as the embedding.
            scale: of the scan.
        """
        if gray.dtype.kind in "bui" and gray.dtype.itemsize <= 2:
            low, high = (0, 1) if gray.dtype.kind == "b" else (np.iinfo(gray.dtype).min, np.iinfo(gray.dtype).max)
            table = self._found(scale.of(np.arange(low, high + 1)))
            return table[gray.astype(np.int32) - low] if low else table[gray.astype(np.uint16, copy=False)]
        return self._found(np.nan_to_num(scale.of(gray)))

    def _found(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        found = np.searchsorted(self.edges()[1:-1], values.ravel(), side="right")
        return found.astype(np.uint8).reshape(values.shape)
