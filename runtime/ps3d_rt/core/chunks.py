"""A volume in chunks: which voxels a chunk owns, where its labels are stored, what they mean in the volume.

A chunk stores its labels as local ids 0..n, uint32; a table of the chunk turns them into ids of the volume, int64.
So nothing on disk depends on how many ids the volume has, and renaming ids touches tables only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import CudaKernel, KernelDispatch, array_namespace, asnumpy, compiled
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError


@dataclass(frozen=True)
class ChunkGrid:
    """Chunks that tile a volume; those at the far ends may be smaller.

    >>> grid = ChunkGrid((4, 4, 5), (4, 4, 2))
    >>> [box.stop[2] for box in grid.boxes], grid.touching(Box((0, 0, 1), (4, 4, 4)))
    ([2, 4, 5], [0, 1])
    """

    shape: Zyx
    """The volume, voxels."""
    chunk: Zyx
    """A chunk, voxels."""

    def __post_init__(self) -> None:
        if len(self.chunk) != 3 or min(self.chunk) < 1 or prod(self.chunk) > 2**31:
            raise InputError(f"a chunk of {self.chunk} voxels; three sides of 1 or more and at most 2^31 voxels.")

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """What every chunk owns, in raster order."""
        starts = [range(0, n, step) for n, step in zip(self.shape, self.chunk, strict=True)]
        volume = Box.of_shape(self.shape)
        return tuple(
            Box((z, y, x), (z + self.chunk[0], y + self.chunk[1], x + self.chunk[2])).intersect(volume)
            for z, y, x in product(*starts)
        )

    def touching(self, box: Box) -> list[int]:
        """List the chunks, as indices into :attr:`boxes`, that share a voxel with ``box``."""
        _, rows, columns = (-(-n // step) for n, step in zip(self.shape, self.chunk, strict=True))
        near = [range(a // n, -(-b // n)) for a, b, n in zip(box.start, box.stop, self.chunk, strict=True)]
        return [(z * rows + y) * columns + x for z, y, x in product(*near)]


@dataclass(frozen=True, eq=False)
class ChunkLabels:
    """The labels of one chunk."""

    source: str
    """Array of the store that holds the local ids."""
    box: Box
    """What the chunk owns."""
    ids: NDArray[Any]
    """(n + 1,) local id → id of the volume; ``ids[0]`` is 0."""


def chunks_in(grid: ChunkGrid, chunk_labels: Sequence[ChunkLabels], *boxes: Box) -> tuple[ChunkLabels, ...]:
    """Choose the chunks that have labels and share a voxel with any of ``boxes``."""
    near = sorted({k for box in boxes for k in grid.touching(box)})
    return tuple(chunk_labels[k] for k in near if chunk_labels[k].ids.size > 1)


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """What the labels of one chunk add up to, by local id; entry 0 means nothing."""

    volumes: NDArray[np.int64]
    """Voxels."""
    first_index: NDArray[np.int64]
    """Raster index, in the volume, of the first voxel; arbitrary where there is none."""
    near: NDArray[np.uint8]
    """Faces of the chunk that have a voxel near them: bits 1 and 2 for the first and last z, 4 and 8 y, 16 and 32 x."""

    def take(self, chosen: NDArray[Any]) -> LabelStatistics:
        """Keep the chosen local ids, in their order."""
        return LabelStatistics(self.volumes[chosen], self.first_index[chosen], self.near[chosen])


def label_statistics(labels: Any, count: int, box: Box, shape: Zyx, near_voxels: int = 0) -> LabelStatistics:
    """Add up the local ids 0..count of a chunk.

    Args:
        labels: of the chunk, uint32, a numpy or a CuPy array.
        count: the largest label.
        box: what the chunk owns.
        shape: the volume, voxels.
        near_voxels: a voxel is near a face of the chunk if it lies in this many planes along it.

    >>> label_statistics(np.array([[[2, 2, 1]]], np.uint32), 2, Box((9, 0, 0), (10, 1, 3)), (10, 1, 3)).first_index[1:]
    array([29, 27])
    """
    volumes, first_index, near = _label_statistics(labels, count, near_voxels)
    return LabelStatistics(volumes, raster_index(first_index, box, shape), near)


@KernelDispatch
@compiled
def _label_statistics(labels: Any, count: int, reach: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    volumes, first_index = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    near = np.zeros(count + 1, np.uint8)
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            faces = (z < reach) | (z >= depth - reach) << 1 | (y < reach) << 2 | (y >= height - reach) << 3
            stop = 0
            while stop < width:
                begin = stop
                label = labels[z, y, begin]
                while stop < width and labels[z, y, stop] == label:
                    stop += 1
                if label == 0:
                    continue
                if volumes[label] == 0:
                    first_index[label] = (z * height + y) * width + begin
                volumes[label] += stop - begin
                near[label] |= np.uint8(faces | (begin < reach) << 4 | (stop > width - reach) << 5)
    return volumes, first_index, near


@_label_statistics.on_gpu
def _label_statistics_on_gpu(labels: Any, count: int, reach: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    xp = array_namespace(labels)
    labels = xp.ascontiguousarray(labels)
    depth, height, width = labels.shape
    volumes, near = xp.zeros(count + 1, xp.int32), xp.zeros(count + 1, xp.int32)
    first_index = xp.full(count + 1, np.iinfo(np.int32).max, xp.int32)
    pieces = depth * height * -(-width // 32)
    _count_rows(pieces, labels, depth, height, width, reach, volumes, first_index, near)
    counted = asnumpy(volumes).astype(np.int64)
    return counted, np.where(counted > 0, asnumpy(first_index), 0).astype(np.int64), asnumpy(near).astype(np.uint8)


_count_rows = CudaKernel("""
// A thread takes 32 voxels of a row, and adds up whole runs in them: neighbours rarely meet at one counter.
__global__ void count_rows(long long count, const unsigned int* labels, long long depth, long long height,
                           long long width, long long reach, int* volumes, int* first_index, int* near) {
    long long i = thread(), pieces = (width + 31) / 32;
    if (i >= count) return;
    long long row = i / pieces, y = row % height, z = row / height;
    int faces = (z < reach) | (z >= depth - reach) << 1 | (y < reach) << 2 | (y >= height - reach) << 3;
    long long x = i % pieces * 32, stop = x + 32 < width ? x + 32 : width;
    while (x < stop) {
        long long begin = x, first = row * width + begin;
        unsigned int label = labels[first];
        while (x < stop && labels[row * width + x] == label) x++;
        if (label == 0) continue;
        atomicAdd(&volumes[label], (int)(x - begin));
        if (first < first_index[label]) atomicMin(&first_index[label], (int)first);
        int sides = faces | (begin < reach) << 4 | (x > width - reach) << 5;
        if (sides & ~near[label]) atomicOr(&near[label], sides);
    }
}
""")


def raster_index(inside: Any, box: Box, shape: Zyx) -> Any:
    """Turn raster indices in ``box`` into raster indices in the volume: the order stays the same.

    >>> raster_index(np.array([0, 1]), Box((4000, 0, 7), (4001, 2, 8)), (5000, 3000, 2000))
    array([24000000007, 24000002007])
    """
    rows, x = inside // box.shape[2], inside % box.shape[2]
    z, y = rows // box.shape[1], rows % box.shape[1]
    return ((z + box.start[0]) * shape[1] + y + box.start[1]) * shape[2] + x + box.start[2]
