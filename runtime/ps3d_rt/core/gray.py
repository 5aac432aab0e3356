"""Gray values of particles: mean, standard deviation, a histogram in fixed bins, quantiles from it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.normalize import GrayScale
from ps3d_rt.errors import InputError

BINS = 64
QUANTILES = {"gray_p05": 0.05, "gray_p25": 0.25, "gray_p50": 0.5, "gray_p75": 0.75, "gray_p95": 0.95}
"""Columns of the particle table and the share of a particle's voxels that lies below."""
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class GrayBins:
    """64 bins of one width for all particles of a volume; the first and the last hold what lies beyond, too."""

    low: float
    """Lower edge of the first bin, gray values."""
    width: float

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.width) and self.width > 0):
            raise InputError(f"gray bins start at {self.low} and are {self.width} wide; both finite and width > 0.")

    @classmethod
    def from_scale(cls, scale: GrayScale) -> GrayBins:
        """Cover a volume's gray values: a fifth of a standard deviation each, from 3 below the mean to 9.8 above.

        Dense minerals are few and lie far above the mean; nothing lies far below it.

        >>> GrayBins.from_scale(GrayScale(1000.0, 50.0))
        GrayBins(low=850.0, width=10.0)
        """
        return cls(scale.mean - 3 * scale.std, scale.std / 5)

    @property
    def high(self) -> float:
        """Upper edge of the last bin."""
        return self.low + BINS * self.width

    @classmethod
    def between(cls, low: float, high: float) -> GrayBins:
        """Cover ``low`` to ``high``, which may be equal."""
        return cls(low, (high - low) / BINS or 1.0)


class GrayStatistics(NamedTuple):
    """(n,) each."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def statistics(voxels: NDArray[np.int64], gray_sum: NDArray[Any], gray_square_sum: NDArray[Any]) -> GrayStatistics:
    """Mean and standard deviation (of the particle, divided by the number of its voxels) of every particle.

    Args:
        voxels: (n,) number of voxels.
        gray_sum: (n,) sum of the gray values, int64 or float64.
        gray_square_sum: (n,) sum of their squares: int64, then modulo 2^64, or float64.
    """
    mean = gray_sum / voxels
    if gray_square_sum.dtype.kind == "i":
        # Squares about a whole number near the mean: small, so that nothing is rounded and 64 bits are enough.
        pivot = gray_sum // voxels
        rest = gray_sum - pivot * voxels
        squares = (gray_square_sum - 2 * pivot * gray_sum + pivot * pivot * voxels).view(np.uint64)
        variance = squares / voxels - (rest / voxels) ** 2
    else:
        variance = gray_square_sum / voxels - mean**2
    return GrayStatistics(mean, np.sqrt(np.maximum(variance, 0.0)))


def quantiles(
    histogram: NDArray[Any], bins: GrayBins, least: NDArray[Any], largest: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Estimate the quantiles :data:`QUANTILES` of every particle: each is within a bin of the exact one.

    Inside a bin gray values are taken as evenly spread. The outermost bins end at the particle's own extremes.

    Args:
        histogram: (n, 64) number of voxels in each bin.
        bins: of the histogram.
        least: (n,) least gray value of the particle.
        largest: (n,) largest gray value.
    """
    found = {name: np.empty(len(histogram)) for name in QUANTILES}
    edges = bins.low + bins.width * np.arange(1, BINS)
    for at in range(0, len(histogram), _BLOCK_ROWS):  # a table of all floats would be larger than the histograms
        rows = slice(at, at + _BLOCK_ROWS)
        low, high = least[rows, None].astype(np.float64), largest[rows, None].astype(np.float64)
        walls = np.concatenate([low, np.clip(edges, low, high), high], axis=1)
        below = np.cumsum(histogram[rows], axis=1, dtype=np.float64)
        row = np.arange(len(below))
        for name, share in QUANTILES.items():
            wanted = share * below[:, -1]
            k = (below < wanted[:, None]).sum(axis=1)
            count = histogram[rows][row, k]
            part = (wanted - (below[row, k] - count)) / count
            found[name][rows] = walls[row, k] + part * (walls[row, k + 1] - walls[row, k])
    return found
