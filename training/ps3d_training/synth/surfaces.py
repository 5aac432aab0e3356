"""Where the surfaces and the contacts of grains are: all that gray values need to know of grains, however made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array

REACH = 3
"""Distances are measured up to this many voxels: no effect at a surface or a contact is wider."""
_SMOOTH = 0.7
"""Sigma, voxels: takes the steps of labels off a surface, and moves it by less than half a voxel."""


@dataclass(frozen=True)
class Surfaces:
    """All arrays have the sample's shape."""

    owner: Array
    """Unsigned: id of the grain that a voxel lies in or beside, 0 where none is near."""
    level: Array
    """float32: about the distance to the owner's surface, voxels; negative inside."""
    apart: Array
    """float32: about twice the distance to the nearest contact with another grain, voxels; large far from any."""
    count: int
    """No id is larger."""


def surfaces_of(labels: Array) -> Surfaces:
    """Measure the surfaces of ``labels``: (z, y, x) uint32, 0 between the grains; left as they are."""
    grains = labels > 0
    distance = distance_to_other(labels) - np.float32(0.5)
    level = ndimage.gaussian_filter(np.where(grains, -distance, distance), _SMOOTH, mode="nearest", truncate=3)
    contact = _contacts(labels)
    to_contact = np.where(contact, np.float32(0), distance_to_other(contact))
    # A grain's rim of partial volume lies just outside of it.
    owner = np.where(grains, labels, ndimage.maximum_filter(labels, 5, mode="nearest"))
    return Surfaces(owner, level, 2 * to_contact + 1, int(labels.max(initial=0)))


def distance_to_other(labels: Array, reach: int = REACH) -> Array:
    """Distance from each voxel's centre to the nearest one with another label, at most ``reach`` + 1; float32, voxels.

    Exact up to ``reach``: squared distances are minima along z, then of those along y, then along x; a voxel with
    another label starts at 0, whatever it has found itself.
    """
    best = np.full(labels.shape, (reach + 1) ** 2, np.float32)
    for axis in range(labels.ndim):
        before = best.copy()
        for step in range(1, min(reach, labels.shape[axis] - 1) + 1):
            low = tuple(slice(None, -step) if a == axis else slice(None) for a in range(labels.ndim))
            high = tuple(slice(step, None) if a == axis else slice(None) for a in range(labels.ndim))
            same = labels[low] == labels[high]
            for here, there in ((low, high), (high, low)):
                found = before[there] * same
                found += np.float32(step * step)
                np.minimum(best[here], found, out=best[here])
    return np.sqrt(best, out=best)


def _contacts(labels: Array) -> Array:
    """Voxels of a grain that share a face with another grain: bool."""
    contact = np.zeros(labels.shape, bool)
    for axis in range(3):
        low = np.moveaxis(labels, axis, 0)[:-1]
        high = np.moveaxis(labels, axis, 0)[1:]
        meet = (low != high) & (low > 0) & (high > 0)
        marked = np.moveaxis(contact, axis, 0)
        marked[:-1] |= meet
        marked[1:] |= meet
    return contact
