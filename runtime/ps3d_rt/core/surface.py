"""Surface area of particles from the crossings of their surface along 13 directions (Crofton's formula).

The area of a body is four times its mean projected area, over all directions. Lines through the voxel centres along a
step d lie one to every v / |d| mm² of the plane across them (v: volume of a voxel), and each enters and leaves a
convex body once. With T ways out along the lines of a step, and w the share of all directions nearest to it,

    area = Σ over 13 steps  4 · w · v / |d| · T   +   (π / 3) · Σ w · |d|²

The second sum is for lines whose way through the body is shorter than a step and may miss every voxel centre. At a
rim of curvature radius ρ that loses |d|² / (24 ρ) of projected area per length of rim, π |d|² / 12 for a ball
of any size. It matters below a radius of 5 voxels.

Ways out are whole numbers and each belongs to the voxel inside, so they add up over any parts of a volume.

Sources: Lehmann and Legland, "Efficient N-dimensional surface estimation using Crofton formula and run-length
encoding", Insight Journal 2012 (the formula, the shares as areas of Voronoi cells on the sphere). The second sum is
derived here.
"""

from __future__ import annotations

from itertools import product
from math import pi, prod

import numpy as np
from numpy.typing import NDArray

STEPS = np.array([step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)], np.int64)
"""(13, 3) steps z, y, x to the 26 neighbours of a voxel, one of every two opposite ones; the first is along x."""


def surface_mm2(crossings: NDArray[np.int64], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Estimate the surface area of every particle, the faces that it shares with others included.

    Args:
        crossings: (n, 13) number of times a step of :data:`STEPS` leads out of the particle.
        spacing_mm: voxel size along z, y, x.

    >>> surface_mm2(np.ones((1, 13), int), (1.0, 1.0, 1.0)).round(3)  # one voxel; a ball of its volume has 4.836
    array([5.106])
    """
    shares, lengths = _directions(spacing_mm)
    factors = direction_factors(spacing_mm)
    area = np.full(len(crossings), pi / 3 * float((shares * lengths**2).sum()))
    for step in range(len(STEPS)):  # in this order for every particle, whatever the table's length
        area += factors[step] * crossings[:, step]
    return area


def direction_factors(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area that a crossing along each step of :data:`STEPS` stands for, mm²: (13,)."""
    shares, lengths = _directions(spacing_mm)
    factors: NDArray[np.float64] = 4 * prod(spacing_mm) * shares / lengths
    return factors


def _directions(spacing_mm: tuple[float, float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of every step's direction, and its length in mm."""
    steps_mm = STEPS * np.array(spacing_mm)
    lengths: NDArray[np.float64] = np.sqrt((steps_mm**2).sum(axis=1))
    return direction_shares(steps_mm / lengths[:, None]), lengths


def direction_shares(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of all directions that is nearest to each, or to its opposite; (n, 3) unit vectors → (n,), sum 1."""
    from scipy.spatial import SphericalVoronoi  # noqa: PLC0415 - loads for long

    areas = SphericalVoronoi(np.concatenate([directions, -directions])).calculate_areas()
    shares: NDArray[np.float64] = areas.reshape(2, -1).sum(axis=0) / areas.sum()
    return shares
