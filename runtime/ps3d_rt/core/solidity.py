"""Solidity: how much of its convex hull a particle fills, from its extents along 81 directions.

A particle lies between two planes across each direction of :mod:`ps3d_rt.core.feret`. What lies between all of them is
a body of 162 faces around its convex hull, 2 % larger than a ball. Its volume is summed up by rays from the centroid: a
ray ends at the first plane it meets. The extents are whole numbers, merged exactly over any parts of a volume, so
solidity needs no second look at the voxels and no list of them; and it is the same for any voxel size, as stretching an
axis stretches both volumes.

Two grains in one fill less of their hull than one does: two balls that touch fill 0.8 of it.
"""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.feret import DIRECTIONS

RAYS = 400
"""Even over the sphere; a thin rod of 1 : 5 is off by 2 %."""


def _rays() -> NDArray[np.float64]:
    """Spread unit vectors of equal solid angles on a spiral from pole to pole."""
    at = np.arange(RAYS) + 0.5
    height, turn = 1 - 2 * at / RAYS, pi * (3 - 5**0.5) * at
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.cos(turn), radius * np.sin(turn)], axis=1)


ALONG = _rays() @ DIRECTIONS.T
"""(rays, 81) step of a projection along a ray."""


def solidity(
    voxels: NDArray[np.int64], index_sum: NDArray[np.int64], low: NDArray[np.int32], high: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Divide volumes of particles by those of their hulls.

    Args:
        voxels: (n,) number of voxels.
        index_sum: (n, 3) sum of the voxel indices z, y, x.
        low: (n, 81) least ``direction · index``, from :class:`ps3d_rt.core.measure.PartialSums`.
        high: (n, 81) largest.

    Returns:
        (n,) at most 1.

    >>> extent = np.zeros((1, 81), np.int32)
    >>> solidity(np.array([1]), np.zeros((1, 3), int), extent, extent).round(2)  # one voxel: all but a ball
    array([1.])
    """
    # Whole numbers until the division: a product of floats depends on how many rows it has.
    centre = (index_sum @ DIRECTIONS.T) / voxels[:, None]
    # A particle ends at the middles of its voxels' outer faces, as for Feret diameters.
    half = np.abs(DIRECTIONS).max(axis=1) / 2
    hull = np.empty(len(voxels))
    _hull_volumes(high - centre + half, centre - low + half, ALONG, hull)
    share: NDArray[np.float64] = np.minimum(voxels / hull, 1.0)
    return share


@compiled
def _hull_volumes(
    ahead: NDArray[np.float64], behind: NDArray[np.float64], along: NDArray[np.float64], volumes: NDArray[np.float64]
) -> None:
    """Sum up the cones from the centroid to the first plane, ``ahead`` and ``behind`` of it along each direction."""
    rays, directions = along.shape
    for k in range(len(volumes)):
        total = 0.0
        for ray in range(rays):
            # The longest inverse: planes that the ray runs away from have none.
            nearest = 0.0
            for d in range(directions):
                step = along[ray, d]
                nearest = max(nearest, step / ahead[k, d], -step / behind[k, d])
            total += 1.0 / nearest**3
        volumes[k] = total * 4 * np.pi / 3 / rays
