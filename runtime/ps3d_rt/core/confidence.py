"""Confidence of every particle: mean scores of its foreground, its core, and the border where it touches others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.fragments import CORE

_VOXELS, _FOREGROUND, _CORE_VOXELS, _CORE, _FACES, _MARGIN = range(6)
"""Columns of :attr:`ScoreSums.sums`."""


@dataclass(frozen=True, eq=False)
class ParticleConfidence:
    """How sure the network is of the particles 1..N, (N,) each; NaN where a particle has nothing to ask about."""

    confidence: NDArray[np.float64]
    """Mean score of foreground, 0 to 1."""
    core_confidence: NDArray[np.float64]
    """Mean score of core over its core voxels, 0 to 1; NaN without any."""
    contact_margin: NDArray[np.float64]
    """Mean of score of border less score of core at its faces to other particles, −1 to 1; NaN without any."""

    def columns(self) -> dict[str, Any]:
        """Return the three by name, as they stand in the particle table."""
        return dict(vars(self))

    def take(self, ids: NDArray[Any]) -> ParticleConfidence:
        """Give that of some particles, (n,) ids."""
        rows = ids.astype(np.int64) - 1
        return ParticleConfidence(**{name: column[rows] for name, column in self.columns().items()})


@dataclass(frozen=True, eq=False)
class ScoreSums:
    """What the scores in one chunk add up to."""

    ids: NDArray[np.int64]
    """(n,) final ids of the particles in the chunk and of those that touch one there; ascending."""
    sums: NDArray[np.int64]
    """(n, 6) voxels, percent of foreground over them, core voxels, percent of core over them, faces to other
    particles, and over the two voxels of each percent of border less percent of core."""
    stops: NDArray[np.int32]
    """(n,) one past the last plane, in the volume, of the particle's voxels in the chunk; 0 without any."""


@compiled
def add_up(
    labels: NDArray[Any],
    classes: NDArray[Any],
    foreground: NDArray[Any],
    core: NDArray[Any],
    sums: NDArray[np.int64],
    stops: NDArray[np.int32],
) -> None:
    """Add up over the voxels that ``classes`` has; the other arrays go on to the next voxel unless the volume ends."""
    for z in range(classes.shape[0]):
        for y in range(classes.shape[1]):
            for x in range(classes.shape[2]):
                label = labels[z, y, x]
                if label == 0:
                    continue
                percent = np.int64(core[z, y, x])
                margin = np.int64(foreground[z, y, x]) - 2 * percent  # border is foreground less core
                sums[label, _VOXELS] += 1
                stops[label] = z + 1
                sums[label, _FOREGROUND] += foreground[z, y, x]
                if classes[z, y, x] == CORE:
                    sums[label, _CORE_VOXELS] += 1
                    sums[label, _CORE] += percent
                for axis in range(3):
                    i, j, k = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if i == labels.shape[0] or j == labels.shape[1] or k == labels.shape[2]:
                        continue
                    other = labels[i, j, k]
                    if (other == 0) | (other == label):
                        continue
                    both = margin + np.int64(foreground[i, j, k]) - 2 * np.int64(core[i, j, k])
                    for one in (label, other):
                        sums[one, _FACES] += 1
                        sums[one, _MARGIN] += both


def to_confidence(chunks: Iterable[ScoreSums], count: int) -> tuple[ParticleConfidence, NDArray[np.int32]]:
    """Add up the chunks of a volume with the particles 1..``count``.

    Returns:
        The means; and (count + 1,) id → one past the last plane that it has a voxel in, entry 0 is 0.

    >>> one, next_one = (
    ...     ScoreSums(np.array([1]), np.array([[n, 90 * n, 0, 0, 1, -20]]), np.array([n], np.int32)) for n in (1, 4)
    ... )
    >>> found, stops = to_confidence([one, next_one], 1)
    >>> found.confidence, found.core_confidence, found.contact_margin, stops.tolist()
    (array([0.9]), array([nan]), array([-0.1]), [0, 4])
    """
    total, stops = np.zeros((count + 1, 6), np.int64), np.zeros(count + 1, np.int32)
    for chunk in chunks:
        total[chunk.ids] += chunk.sums  # an id stands there once
        stops[chunk.ids] = np.maximum(stops[chunk.ids], chunk.stops)
    voxels, foreground, core_voxels, core, faces, margin = total[1:].T
    means = _mean(foreground, 100 * voxels), _mean(core, 100 * core_voxels), _mean(margin, 200 * faces)
    return ParticleConfidence(*means), stops


def _mean(total: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.full(total.size, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out
