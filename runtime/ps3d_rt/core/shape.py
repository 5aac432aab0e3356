"""Shape of particles from the second moments of their voxels: the ellipsoid of the same moments.

The moments are those of the voxels as boxes, not as points: a box of n voxels has variance n² / 12 along an axis, where
its centres alone have (n² − 1) / 12.

Sums of products of indices are kept modulo 2^64. That is enough: moved to an origin inside the particle they are small
again, and the move is a sum of products too. So they are exact for any particle with Σ (i − c)² below 2^63, whatever
its place: one of 10^10 voxels may be 60 000 voxels long.
"""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PRODUCTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Pairs of axes whose index products are summed, in the order of the columns."""


class Axes(NamedTuple):
    """Principal axes of particles, (n,) each or (n, 3) z, y, x."""

    major_mm: NDArray[np.float64]
    """Full length of the longest axis of the ellipsoid."""
    middle_mm: NDArray[np.float64]
    minor_mm: NDArray[np.float64]
    major: NDArray[np.float64]
    """Unit vector along the longest axis; the last of its entries that is not 0 is positive."""
    minor: NDArray[np.float64]


def covariances(
    voxels: NDArray[np.int64], index_sum: NDArray[np.int64], product_sum: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Covariance of the voxel centres of every particle, voxels².

    Args:
        voxels: (n,) number of voxels.
        index_sum: (n, 3) sum of the indices z, y, x.
        product_sum: (n, 6) sums of the products of indices, as :data:`PRODUCTS`, modulo 2^64.

    Returns:
        (n, 3, 3) float64.
    """
    centre = index_sum // voxels[:, None]
    rest = index_sum - voxels[:, None] * centre  # 0 .. voxels − 1: the sum relative to the centre
    found = np.empty((len(voxels), 3, 3))
    for column, (i, j) in enumerate(PRODUCTS):
        a, b = centre[:, i], centre[:, j]
        moved = product_sum[:, column] - a * index_sum[:, j] - b * index_sum[:, i] + voxels * a * b
        found[:, i, j] = moved / voxels - (rest[:, i] / voxels) * (rest[:, j] / voxels)
        found[:, j, i] = found[:, i, j]
    return found


def principal_axes(covariance: NDArray[np.float64], spacing_mm: tuple[float, float, float]) -> Axes:
    """Axes of the ellipsoids that have the moments of the particles.

    Args:
        covariance: (n, 3, 3), from :func:`covariances`.
        spacing_mm: voxel size along z, y, x.
    """
    spacing = np.array(spacing_mm)
    body = (covariance + np.eye(3) / 12) * spacing[:, None] * spacing
    variances, vectors = np.linalg.eigh(body)
    lengths = 2 * np.sqrt(5 * variances)  # a ball of radius r has variance r² / 5 along any axis
    return Axes(
        lengths[:, 2],
        lengths[:, 1],
        lengths[:, 0],
        _pointing_ahead(vectors[:, :, 2]),
        _pointing_ahead(vectors[:, :, 0]),
    )


def _pointing_ahead(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose one of two opposite vectors: the last entry that is not 0 is positive."""
    z, y, x = vectors.T
    last = np.where(x != 0, x, np.where(y != 0, y, z))
    turned: NDArray[np.float64] = np.where(last[:, None] < 0, -vectors, vectors) + 0.0  # no negative 0
    return turned


def sphericity(volume_mm3: NDArray[np.float64], surface_mm2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Surface of the ball of the same volume over the particle's own.

    Source: Wadell, "Volume, shape, and roundness of quartz particles", Journal of Geology 43 (1935).

    >>> sphericity(np.array([8.0]), np.array([24.0])).round(3)  # a cube
    array([0.806])
    """
    ball: NDArray[np.float64] = pi ** (1 / 3) * np.cbrt(6 * volume_mm3) ** 2 / surface_mm2
    return ball
