"""How particles grow inside one array: step by step from their cores, the lowest id first.

A round of :func:`ps3d_rt.stages.growth.grow` takes some steps in every chunk, then finishes the pockets that no other
chunk can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import CudaKernel, KernelDispatch, array_namespace, compiled
from ps3d_rt.core.chunks import ChunkLabels, LabelStatistics, raster_index
from ps3d_rt.core.components import component_roots
from ps3d_rt.core.grid import Box, Zyx

UNCLAIMED = int(np.iinfo(np.int64).max)
"""Id of foreground that no particle has claimed yet; above all others, so that tables sorted by id end with it."""

CountedLabels = tuple[ChunkLabels, LabelStatistics]

FRESH = np.uint32(2**31)
"""Inside a task ids are below this. Added to an id: claimed in this step, so a lower id may still take the voxel."""
FREE = np.uint32(2**32 - 1)
"""Inside a task: unclaimed. Above all other values, so whoever comes first takes it."""
_WAITING = FRESH
"""Inside a task: unclaimed, and out of reach. Below all fresh claims, so nobody takes it."""


@KernelDispatch
def claim(padded_labels: Any, open_planes: Sequence[Box], steps: int) -> None:
    """Claim what is free.

    Args:
        padded_labels: (z, y, x) uint32 of NumPy or CuPy, changed in place: ids below 2³¹, :data:`FREE`, and a shell of
            0.
        open_planes: of ``padded_labels``, from :func:`planes_to_others`. After the steps, free voxels that are
            connected to one of these planes wait; all others are claimed, however far they are.
        steps: to take, 1 or more.
    """
    flat, neighbours = padded_labels.reshape(-1), _neighbour_steps(padded_labels.shape)
    queue = np.empty(_count_free(flat), np.int32 if flat.size < 2**31 else np.int64)
    count = _step_in(padded_labels, queue)
    first, count = _flood(flat, neighbours, queue, 0, count, steps - 1)
    if count < queue.size:
        _hold(flat, neighbours, _open_seeds(padded_labels, open_planes), np.empty_like(queue[count:]))
        _flood(flat, neighbours, queue, first, count, flat.size)


@claim.on_gpu
def _claim_on_gpu(padded_labels: Any, open_planes: Sequence[Box], steps: int) -> None:
    """Do the same in rounds: a round asks every free voxel, and who is claimed in it counts from the next one on."""
    xp = array_namespace(padded_labels)
    flat, neighbours = padded_labels.reshape(-1), xp.asarray(_neighbour_steps(padded_labels.shape))
    queue = xp.flatnonzero(flat == FREE)

    def step() -> bool:
        claimed = xp.zeros(1, np.int32)
        _claim_next(queue.size, queue, flat, neighbours, claimed)
        _settle(queue.size, queue, flat)
        return bool(claimed[0])

    for _ in range(steps):
        if not step():
            break
    queue = queue[flat[queue] == FREE]
    if queue.size:
        pocket = component_roots(padded_labels == FREE, corners=True).reshape(-1)
        is_open = xp.zeros(flat.size, bool)
        is_open[pocket[_open_seeds(padded_labels, open_planes)]] = True
        flat[queue[is_open[pocket[queue]]]] = _WAITING
        while step():
            pass


_claim_next = CudaKernel("""
// Ids are below 2^31; a claim of this round has that bit set, and so has what is free or waits.
__global__ void claim_next(long long count, const long long* queue, unsigned int* padded_labels,
                           const long long* neighbours, int* claimed) {
    long long i = thread();
    if (i >= count || padded_labels[queue[i]] != 0xffffffffu) return;
    unsigned int best = 0x80000000u;
    for (int k = 0; k < 26; k++) {
        unsigned int id = padded_labels[queue[i] + neighbours[k]];
        if (id != 0 && id < best) best = id;
    }
    if (best == 0x80000000u) return;
    padded_labels[queue[i]] = best | 0x80000000u;
    *claimed = 1;
}
""")

_settle = CudaKernel("""
__global__ void settle(long long count, const long long* queue, unsigned int* padded_labels) {
    long long i = thread();
    if (i >= count) return;
    unsigned int id = padded_labels[queue[i]];
    if (id > 0x80000000u && id != 0xffffffffu) padded_labels[queue[i]] = id ^ 0x80000000u;
}
""")


def _neighbour_steps(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """List the steps to the 26 neighbours in the flat index of an array of ``shape``."""
    side = (-1, 0, 1)
    steps = [(z * shape[1] + y) * shape[2] + x for z in side for y in side for x in side]
    return np.array([step for i, step in enumerate(steps) if i != 13], dtype=np.int64)


def planes_to_others(chunk: Box, read: Box, shape: Zyx) -> list[Box]:
    """List the planes of a chunk that lie along a face to another chunk.

    Args:
        chunk: in the volume.
        read: ``chunk`` and what is read around it.
        shape: the volume, voxels.

    Returns:
        Planes in coordinates of an array that holds ``read`` and a shell of one voxel.
    """
    shell = Box(cast(Zyx, tuple(n - 1 for n in read.start)), read.stop)
    planes = []
    for axis, n in enumerate(shape):
        if chunk.start[axis] > 0:
            planes.append(_plane(chunk, axis, chunk.start[axis]).relative_to(shell))
        if chunk.stop[axis] < n:
            planes.append(_plane(chunk, axis, chunk.stop[axis] - 1).relative_to(shell))
    return planes


def _plane(box: Box, axis: int, at: int) -> Box:
    z, y, x = ((at, at + 1) if i == axis else (box.start[i], box.stop[i]) for i in range(3))
    return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def _open_seeds(padded_labels: Any, open_planes: Sequence[Box]) -> Any:
    """List the free voxels on these planes as flat indices of ``padded_labels``."""
    xp = array_namespace(padded_labels)
    found = [xp.empty(0, np.int64)]
    for plane in open_planes:
        free = xp.flatnonzero(padded_labels[plane.slices] == FREE)
        found.append(raster_index(free, plane, cast(Zyx, padded_labels.shape)))
    return xp.concatenate(found)


@compiled
def _count_free(padded_labels: NDArray[Any]) -> int:
    count = 0
    for i in range(padded_labels.size):
        count += padded_labels[i] == FREE
    return count


@compiled
def _step_in(padded_labels: NDArray[Any], queue: NDArray[Any]) -> int:
    """Take the first step: every free voxel takes the lowest id next to it. The claimed ones begin the queue.

    The lowest of 27 is the lowest of three columns of 9, and those are found for a whole row at a time, four to
    sixteen voxels in one instruction. An id less 1 puts 0 above all others.
    """
    depth, height, width = padded_labels.shape
    one, fresh, free = np.uint32(1), np.uint32(FRESH), np.uint32(FREE)
    low = np.empty(width, np.uint32)
    count = 0
    for z in range(1, depth - 1):
        for y in range(1, height - 1):
            row = padded_labels[z, y]
            left = 0
            for x in range(width):
                left += row[x] == free
            if left == 0:
                continue
            low[:] = free
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    other = padded_labels[z + dz, y + dy]
                    for x in range(width):
                        low[x] = min(low[x], np.uint32(other[x] - one))
            for x in range(1, width - 1):
                best = min(low[x - 1], low[x], low[x + 1])
                if row[x] == free and best < fresh - one:
                    row[x] = (best + one) | fresh
                    queue[count] = (z * height + y) * width + x
                    count += 1
    flat = padded_labels.reshape(-1)
    for k in range(count):
        flat[queue[k]] ^= fresh
    return count


@compiled
def _flood(
    padded_labels: NDArray[Any], neighbours: NDArray[Any], queue: NDArray[Any], first: int, count: int, steps: int
) -> tuple[int, int]:
    """Take at most ``steps`` steps from the voxels queue[first:count], which were claimed last; return the same two."""
    for _ in range(steps):
        level = count
        for k in range(first, level):
            claim = padded_labels[queue[k]] | FRESH
            for step in neighbours:
                there = queue[k] + step
                if padded_labels[there] > claim:
                    if padded_labels[there] == FREE:
                        queue[count] = there
                        count += 1
                    padded_labels[there] = claim
        for k in range(level, count):
            padded_labels[queue[k]] ^= FRESH
        first = level
        if first == count:
            break
    return first, count


@compiled
def _hold(padded_labels: NDArray[Any], neighbours: NDArray[Any], seeds: NDArray[Any], queue: NDArray[Any]) -> None:
    """Make the free voxels wait that hang together with the free voxels ``seeds``."""
    count = 0
    for seed in seeds:
        if padded_labels[seed] == FREE:
            padded_labels[seed] = _WAITING
            queue[count] = seed
            count += 1
    first = 0
    while first < count:
        for step in neighbours:
            there = queue[first] + step
            if padded_labels[there] == FREE:
                padded_labels[there] = _WAITING
                queue[count] = there
                count += 1
        first += 1
