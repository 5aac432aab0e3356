"""Geodesic distance: how far it is from a set of voxels if the way may not leave a mask."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled

_BEFORE = np.array([step for step in product((-1, 0, 1), repeat=3) if step < (0, 0, 0)], np.int64)
"""The 13 neighbours that come earlier in raster order."""
_LENGTHS = np.sqrt((_BEFORE**2).sum(axis=1)).astype(np.float32)


def geodesic_distance(mask: NDArray[np.bool_], sources: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Measure the way to the nearest source inside a mask, in steps to the 26 neighbours.

    Args:
        mask: (z, y, x).
        sources: the same shape; those outside the mask do not count.

    Returns:
        float32, voxels; infinite outside the mask and where no way leads.

    >>> geodesic_distance(np.ones((1, 1, 4), bool), np.arange(4) == np.full((1, 1, 4), 1)).ravel().tolist()
    [1.0, 0.0, 1.0, 2.0]
    """
    inside = np.pad(mask, 1)
    distance = np.full(inside.shape, np.inf, np.float32)
    distance[1:-1, 1:-1, 1:-1][sources & mask] = 0
    while _sweep(distance, inside, _BEFORE, _LENGTHS):
        pass
    return distance[1:-1, 1:-1, 1:-1]


@compiled
def _sweep(distance: NDArray[Any], inside: NDArray[Any], before: NDArray[Any], lengths: NDArray[Any]) -> bool:
    """Pass on distances once in raster order and once against it; tell whether any became smaller."""
    changed = False
    depth, height, width = distance.shape
    for way in (1, -1):
        for i in range((depth - 2) * (height - 2) * (width - 2)):
            k = i if way == 1 else (depth - 2) * (height - 2) * (width - 2) - 1 - i
            z, rest = divmod(k, (height - 2) * (width - 2))
            y, x = divmod(rest, width - 2)
            if not inside[z + 1, y + 1, x + 1]:
                continue
            least = distance[z + 1, y + 1, x + 1]
            for j in range(before.shape[0]):
                there = distance[z + 1 + way * before[j, 0], y + 1 + way * before[j, 1], x + 1 + way * before[j, 2]]
                least = min(least, there + lengths[j])
            if least < distance[z + 1, y + 1, x + 1]:
                distance[z + 1, y + 1, x + 1] = least
                changed = True
    return changed
