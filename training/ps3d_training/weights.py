"""Which voxels of a training patch count more: what decides whether a particle is found, and found alone.

A loss over voxels belongs to the large particles; F1_instance counts every particle once. And two particles become one
where a handful of voxels between them are taken for core. So small particles weigh more, and so do contacts (the idea
of the weight map in U-Net, Ronneberger et al. 2015, section 3; here in a few whole steps).
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

MOST = 4
"""Weight of a contact, and of a particle under a sixteenth of the volume of one of target size."""
REACH = 5
"""Side of the cube around a voxel that decides about it: boundaries weigh on both sides, or they would move."""


def voxel_weights(instances: NDArray[Any], target_size_voxels: float) -> NDArray[np.int16]:
    """Weigh the voxels of a patch.

    Args:
        instances: (z, y, x) integers, 0 is background; negative lies outside the volume.
        target_size_voxels: mean particle diameter after particle-size normalization.

    Returns:
        (z, y, x) int16, 1 to :data:`MOST`; −1 outside the volume.

    >>> patch = np.zeros((9, 9, 9), np.int16)
    >>> patch[4, 4, :4], patch[4, 4, 4:] = 1, 2
    >>> [int(weight) for weight in voxel_weights(patch, 24)[4, 4, :3]]
    [4, 4, 4]
    """
    inside = np.maximum(instances, 0).astype(np.int32)
    sizes = np.maximum(np.bincount(inside.ravel()), 1)
    of_particle = np.clip(np.round(np.sqrt(pi / 6 * target_size_voxels**3 / sizes)), 1, MOST).astype(np.int16)
    of_particle[0] = 1
    weights: NDArray[np.int16] = maximum_filter(of_particle[inside], REACH)
    last = np.iinfo(np.int32).max
    highest = maximum_filter(inside, REACH)
    lowest = minimum_filter(np.where(inside > 0, inside, last), REACH)
    weights[(lowest < highest) & (lowest != last)] = MOST
    weights[instances < 0] = -1
    return weights
