"""The published way from a border-core map to particles, written from its description.

1. cores: 6-connected fragments of class core; a core is dropped, and becomes border, when at least 95 % of its voxels
   have distance ≤ 1 to outside the core and none has ≥ 3: one distance transform a core, on the crop that holds it;
2. groups: 26-connected fragments of the foreground, one after the other on the crop that holds it;
3. the cores of a group are dilated by a 3×3×3 cube inside the group until its border is used up; a group without a
   core is one particle;
4. particles under ``min_relative_volume`` of the mean are removed.

What the description leaves open is settled as in ours, so that both must give the same particles to the voxel: beyond
the volume's faces is not outside, and where two cores reach a voxel in the same step the first one in raster order
wins. Where speed is open, the faster way is taken: the dilation is scipy's separable filter. The published code itself
was seen at 0.5 Mvoxel/s on two cores; this one is faster.

Source: Gotkowski et al., Powder Technology 434 (2024) 119286.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.fragments import BACKGROUND, CORE
from ps3d_rt.core.grid import Box

CUBE = np.ones((3, 3, 3), np.bool_)


def resample(volume: Array, shape: tuple[int, int, int], *, order: int) -> Array:
    """Resize a volume by scipy, voxel centres aligned: linear (order 1) for a scan, nearest (0) for labels."""
    zoom = [want / have for want, have in zip(shape, volume.shape, strict=True)]
    resized: Array = ndimage.zoom(volume, zoom, order=order, mode="nearest", grid_mode=True)
    return resized


def particles(border_core: Array, *, min_relative_volume: float = 0.005) -> Array:
    """Turn a border-core map into one label per particle.

    Args:
        border_core: (z, y, x) uint8, 0 background, 1 core, 2 border.
        min_relative_volume: share of the mean particle volume below which a particle is removed.

    Returns:
        (z, y, x) int32 ids, 0 is background; ids have gaps.
    """
    cores, count = ndimage.label(border_core == CORE)
    _drop_small_cores(cores)
    cores = np.where(cores > 0, count + 1 - cores, 0)  # the largest id wins a tie: let that be the first core
    groups, _ = ndimage.label(border_core != BACKGROUND, CUBE)
    labels = np.zeros_like(cores)
    for number, crop in enumerate(ndimage.find_objects(groups), start=1):
        inside = groups[crop] == number
        found = _grown(np.where(inside, cores[crop], 0), inside)
        if not found.any():
            count += 1
            found = np.where(inside, count, 0)
        labels[crop][inside] = found[inside]
    return _without_small(labels, min_relative_volume)


def _drop_small_cores(cores: Array) -> None:
    """Set the cores that step 1 drops to 0, in place."""
    whole = Box.of_shape(cores.shape)
    for number, crop in enumerate(ndimage.find_objects(cores), start=1):
        start, stop = zip(*((side.start, side.stop) for side in crop), strict=True)
        wide = cores[Box(start, stop).grow(1, whole).slices]
        core = wide == number
        if core.all():  # no voxel outside: the volume is one core
            continue
        distance = ndimage.distance_transform_edt(core)[core]
        if np.mean(distance <= 1) >= 0.95 and distance.max() < 3:
            wide[core] = 0


def _grown(cores: Array, inside: Array) -> Array:
    """Dilate ``cores`` until they fill ``inside``, one 26-connected group; nothing grows from nothing."""
    labels = cores
    border = inside & (cores == 0)
    while labels.any() and border.any():
        dilated = ndimage.maximum_filter(labels, size=3)
        labels = np.where(border, dilated, labels)
        border &= labels == 0
    return labels


def _without_small(labels: Array, min_relative_volume: float) -> Array:
    volumes = np.bincount(labels.ravel())
    volumes[0] = 0
    keep = volumes * np.count_nonzero(volumes) >= min_relative_volume * volumes.sum()
    return np.where(keep[labels], labels, 0)
