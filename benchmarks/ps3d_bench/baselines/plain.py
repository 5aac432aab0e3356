"""Border-core map → particles as one would write it with scipy and scikit-image: on the whole volume, no chunks.

The rules are ours (``ps3d_rt.core.border_core.to_instances``). A watershed of a constant image floods step by step,
which is the growth; where two cores reach a voxel in the same step, it decides by the order of its queue.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.fragments import BACKGROUND, CORE

CUBE = np.ones((3, 3, 3), np.bool_)


def particles(border_core: Array, *, min_relative_volume: float = 0.005) -> Array:
    """Turn a border-core map into one label per particle.

    Args:
        border_core: (z, y, x) uint8, 0 background, 1 core, 2 border.
        min_relative_volume: share of the mean particle volume below which a particle is removed.

    Returns:
        (z, y, x) int32 ids, 0 is background; ids have gaps.
    """
    foreground = border_core != BACKGROUND
    cores, count = _large_cores(border_core == CORE)
    labels = watershed(np.zeros(cores.shape, np.uint8), cores, connectivity=CUBE, mask=foreground)
    coreless, more = ndimage.label(foreground & (labels == 0), CUBE)
    labels = np.where(coreless > 0, coreless + count, labels)
    volumes = np.bincount(labels.ravel(), minlength=count + more + 1)
    volumes[0] = 0
    keep = volumes * np.count_nonzero(volumes) >= min_relative_volume * volumes.sum()
    return np.where(keep[labels], labels, 0)


def _large_cores(core: Array) -> tuple[Array, int]:
    """Cores that stay, with their ids, and the largest id there was."""
    cores, count = ndimage.label(core)
    if count == 0 or core.all():
        return cores, count
    distance = ndimage.distance_transform_edt(core)
    ids = np.arange(count + 1)
    shallow = ndimage.mean(distance <= 1, cores, ids)
    deepest = ndimage.maximum(distance, cores, ids)
    keep = (shallow < 0.95) | (deepest >= 3)
    keep[0] = True
    return np.where(keep[cores], cores, 0), count
