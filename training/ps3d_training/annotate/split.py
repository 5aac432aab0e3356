"""Part one particle into several: by a stroke along the border in one slice, by marks, or by a plane.

A stroke shows the border in one slice; its other slices are not drawn.

1. The stroke is swept through the particle as a ruled surface. Of all tilts, that with the smallest section of the
   particle is taken, dark voxels first: a contact is a neck, and a partial-volume gap makes it darker.
2. The geodesic distance to that surface is measured inside the particle.
3. A watershed floods the particle from the marks, far from the surface first: the parts meet at the surface.

Source of steps 2 and 3: Gotkowski et al., Powder Technology 434 (2024) 119286, section 3.1. There, the border of the
one slice is the surface.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from ps3d_rt.errors import InputError
from ps3d_training.annotate.geodesic import geodesic_distance
from ps3d_training.annotate.sweep import SweptSurface, sweep

Mask = NDArray[np.bool_]
Parts = NDArray[np.int32]
Points = NDArray[np.float64]
"""(n, 3) places in voxels, z, y, x; voxel centres are whole numbers."""


def split_by_stroke(
    mask: Mask, stroke: Points, marks: Points | None = None, image: NDArray[Any] | None = None
) -> Parts:
    """Part a particle along a border that is drawn in one slice.

    Args:
        mask: (z, y, x), the particle.
        stroke: at least two places in one plane of the grid, across the particle.
        marks: one place on every part; None: the two sides of the stroke.
        image: (z, y, x) gray values of particles brighter than what is between them; None: the shape alone decides.

    Returns:
        (z, y, x) 1..n inside the particle, 0 outside; part i belongs to mark i.

    Raises:
        InputError: if the stroke does not cross the particle, or a mark lies outside of it.
    """
    surface = sweep(mask, stroke, image)
    distance = geodesic_distance(mask, surface.voxels)
    seeds = _sides(mask, distance, surface) if marks is None else _at(marks, mask)
    return _flood(-np.where(np.isfinite(distance), distance, 0), seeds, mask)


def split_by_marks(mask: Mask, marks: Points) -> Parts:
    """Part a particle at its necks, where it is thinnest between the marks.

    Args:
        mask: (z, y, x), the particle.
        marks: one place on every part.

    Returns:
        As :func:`split_by_stroke`.

    Raises:
        InputError: if a mark lies outside the particle, or there are fewer than two.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    return _flood(-ndimage.gaussian_filter(depth, 1.0), _at(marks, mask), mask)


def cut_by_plane(mask: Mask, corners: Points) -> Parts:
    """Part a particle by the plane through three places.

    Args:
        mask: (z, y, x), the particle.
        corners: three places that are not on one line.

    Returns:
        1 on one side and 2 on the other; 0 outside the particle.

    Raises:
        InputError: if the places make no plane, or it misses the particle.
    """
    if len(corners) != 3:
        raise InputError(f"a plane needs three places, and there are {len(corners)}; click on three.")
    first, second, third = corners
    normal = np.cross(second - first, third - first)
    if np.linalg.norm(normal) < 1e-6:
        raise InputError("the three places lie on one line; move one of them.")
    side = np.tensordot(normal, np.indices(mask.shape) - first[:, None, None, None], axes=1) > 0
    parts = np.where(mask, np.where(side, 2, 1), 0).astype(np.int32)
    if len(np.unique(parts[mask])) < 2:
        raise InputError("the plane misses the particle; place it across.")
    return parts


def _flood(height: NDArray[Any], seeds: Parts, mask: Mask) -> Parts:
    """Watershed; what no seed reaches joins the first part."""
    parts: Parts = watershed(height, seeds, mask=mask, connectivity=1).astype(np.int32)
    parts[mask & (parts == 0)] = 1
    return parts


def _at(marks: Points, mask: Mask) -> Parts:
    if len(marks) < 2:
        raise InputError(f"there is {len(marks)} mark on the particle; at least two are needed, one on every part.")
    seeds = np.zeros(mask.shape, np.int32)
    for number, mark in enumerate(np.rint(marks).astype(np.int64), 1):
        if not (np.all(mark >= 0) and np.all(mark < mask.shape) and mask[tuple(mark)]):
            raise InputError(f"mark {number} lies outside the particle; move it inside.")
        seeds[tuple(mark)] = number
    if np.count_nonzero(seeds) < len(marks):
        raise InputError("two marks lie on one voxel; move one of them.")
    return seeds


def _sides(mask: Mask, distance: NDArray[np.float32], surface: SweptSurface) -> Parts:
    """Mark the voxel farthest from the surface on either side of the stroke."""
    offset = np.indices(mask.shape) - surface.middle[:, None, None, None]
    side = np.tensordot(surface.normal, offset, axes=1)
    seeds = np.zeros(mask.shape, np.int32)
    for number, there in enumerate((side < -1, side > 1), 1):
        reached = np.where(mask & there & np.isfinite(distance), distance, 0)
        farthest = np.unravel_index(np.argmax(reached), mask.shape)
        if reached[farthest] < 1:
            raise InputError("the stroke has the particle on one side only; draw it across, where two meet.")
        seeds[farthest] = number
    return seeds
