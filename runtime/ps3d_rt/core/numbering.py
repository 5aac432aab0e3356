"""Which particles are kept, and their final ids: 1..N in raster order of the first voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.dropped import Census
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.growth import CountedLabels
from ps3d_rt.core.particle_filter import ParticleFilter, Reason


def number(
    labels: Sequence[CountedLabels],
    shape: Zyx,
    rules: ParticleFilter,
    foreground: Sequence[NDArray[np.int64]] | None = None,
) -> Census:
    """Give the particles that no rule drops their numbers, of :func:`label_dtype`.

    Args:
        labels: of every chunk, after growth.
        shape: the volume, voxels.
        rules: in voxels of the volume.
        foreground: of every chunk, sum of the score over each local id, percent; None drops no unsure particle.
    """
    volumes = joined([counted.volumes for _, counted in labels])
    ids, first_index = joined([part.ids for part, _ in labels]), joined([counted.first_index for _, counted in labels])
    some = volumes > 0
    ids = ids[some]
    volume = np.zeros(ids.max(initial=0) + 1, np.int64)
    first = np.full(volume.size, np.iinfo(np.int64).max)
    np.add.at(volume, ids, volumes[some])
    np.minimum.at(first, ids, first_index[some])
    score = None
    if foreground is not None:
        score = np.zeros(volume.size, np.int64)
        np.add.at(score, ids, joined(foreground)[some])
    reasons = rules.reasons(volume, score)
    order = np.flatnonzero((volume > 0) & (reasons == Reason.KEPT))
    numbers = np.zeros(volume.size, label_dtype(order.size))
    numbers[order[np.argsort(first[order])]] = np.arange(1, order.size + 1)
    return Census(shape, volume, first, score, reasons, numbers)


def label_dtype(count: int) -> np.dtype[Any]:
    """Choose the type of the final ids: uint32, uint64 past 2^32.

    >>> label_dtype(2**32 - 1), label_dtype(2**32)
    (dtype('uint32'), dtype('uint64'))
    """
    return np.dtype(np.uint32 if count <= np.iinfo(np.uint32).max else np.uint64)


def joined(columns: Sequence[NDArray[Any]], dtype: DTypeLike = np.int64) -> NDArray[Any]:
    """Put the tables of all chunks one after the other, with a single entry 0."""
    return np.concatenate([np.zeros(1, dtype), *(column[1:] for column in columns)])


@compiled
def sum_by_label(labels: NDArray[Any], values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Add up the values over the labels 0..count - 1."""
    sums = np.zeros(count, np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                sums[labels[z, y, x]] += values[z, y, x]
    return sums
