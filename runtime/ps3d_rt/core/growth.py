"""Particles grow from their cores chunk by chunk, as if the volume were grown at once.

The rule: a foreground voxel joins the core it reaches first, step by step through 26-neighbours inside the
foreground; at a tie, the core of the lowest id. In other words, let d(v) be the least number of steps from v to a
core and r(v) the lowest id of the cores at that distance; then v belongs to r(v), which is the lowest r of the
neighbours of v with d = d(v) - 1.

1. Growth goes in rounds of ``steps`` steps. Before a round, all voxels with d ≤ L are claimed.
2. A chunk reads ``steps`` voxels beyond its box and takes up to ``steps`` steps there. A step moves information by
   one voxel, so what it then says about its own voxels is what the whole volume would say: d ≤ L + steps.
3. What is left in a chunk falls into 26-connected pockets. A pocket that lies along no face to another chunk has all
   its neighbours in the chunk, where they are known; so it is finished at once, however many steps that takes.
   Only the others wait for the next round.
4. Labels need not store d. Every claimed voxel next to an unclaimed one has d = L: if d were less, its neighbour's
   would be at most L; and a finished pocket has no unclaimed neighbours.
5. A round writes to another array than it reads, so chunks may run in any order or at the same time.
6. Only chunks with unclaimed voxels run, and of those only the ones that read a chunk which changed in the round
   before: the claim on a voxel with L < d ≤ L + steps comes from a voxel with d = L at most ``steps`` away.

Memory is bounded by the box that is read, however long a way is: a long way takes more rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import CudaKernel, Twins, array_namespace, compiled
from ps3d_rt.core.chunks import ChunkGrid, Part, Store, Tally, TaskMap, raster_index, tally
from ps3d_rt.core.components import component_roots
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.stitch import relabel
from ps3d_rt.errors import Ps3dError

UNCLAIMED = int(np.iinfo(np.int64).max)
"""Id of foreground that no particle has claimed yet; above all others, so that tables sorted by id end with it."""

GROWN = ("grown-0", "grown-1")
"""Arrays of the store that hold the labels after a round; every chunk alternates between them."""

Labels = tuple[Part, Tally]

_FRESH = np.uint32(2**31)
"""Inside a task ids are below this. Added to an id: claimed in this step, so a lower id may still take the voxel."""
_FREE = np.uint32(2**32 - 1)
"""Inside a task: unclaimed. Above all other values, so whoever comes first takes it."""
_WAITING = _FRESH
"""Inside a task: unclaimed, and out of reach. Below all fresh claims, so nobody takes it."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The part of a chunk's table that a task needs."""

    source: str
    """Array of the store that holds the local ids."""
    box: Box
    """What to read of it."""
    local: NDArray[np.uint32]
    """(n,) the local ids that lie in ``box``, and maybe others; ascending from 0."""
    ids: NDArray[np.int64]
    """(n,) ids of the volume."""

    def table(self, ids: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Make the table local id → place of its id in ``ids``, which are sorted."""
        table = np.zeros(int(self.local[-1]) + 1, np.uint32)
        table[self.local] = np.searchsorted(ids, self.ids)
        return table


@dataclass(frozen=True, eq=False)
class GrowTask:
    """One chunk in one round."""

    chunk: Box
    """Voxels to claim."""
    read: Box
    """``chunk`` and ``steps`` voxels around it."""
    labels: tuple[Excerpt, ...]
    """The labels in ``read``; ids are core ids or :data:`UNCLAIMED`."""
    unclaimed: int
    """Unclaimed voxels in ``chunk``."""
    target: str
    """Array to write to."""
    steps: int
    shape: Zyx
    """The volume, voxels."""


def grow(store: Store, grid: ChunkGrid, labels: Sequence[Labels], steps: int, map_tasks: TaskMap = map) -> list[Labels]:
    """Claim all that is unclaimed.

    Args:
        store: holds the arrays that the parts name; :data:`GROWN` are made.
        grid: the chunks.
        labels: what every chunk of ``grid`` holds; near, in their tallies, is ``steps`` voxels.
        steps: steps in a round and voxels read beyond a chunk, 1 or more; changes the time, never the labels.
        map_tasks: how tasks are run.

    Returns:
        What every chunk holds after growth; :data:`UNCLAIMED` is nowhere.

    Raises:
        Ps3dError: if unclaimed voxels have no way to a core.
    """
    for name in GROWN:
        store.create(name, np.uint32)
    labels = list(labels)
    volume = Box.of_shape(grid.shape)
    waiting = {k: box.grow(steps, volume) for k, box in enumerate(grid.boxes) if _unclaimed(labels[k])}
    changed = set(range(len(labels)))
    while waiting:
        active = [k for k, read in waiting.items() if not changed.isdisjoint(grid.touching(read))]
        tasks = [
            GrowTask(
                grid.boxes[k],
                waiting[k],
                _excerpts([labels[near] for near in grid.touching(waiting[k])], waiting[k]),
                _unclaimed(labels[k]),
                GROWN[1] if labels[k][0].source == GROWN[0] else GROWN[0],
                steps,
                grid.shape,
            )
            for k in active
        ]
        found = zip(active, map_tasks(partial(grow_chunk, store), tasks), strict=True)
        new = {k: result for k, result in found if result is not None}
        changed = set(new)
        if not changed:
            raise Ps3dError(f"no core reaches the foreground of {len(waiting)} chunks; were the stored labels changed?")
        for k, result in new.items():
            labels[k] = result
            if not _unclaimed(result):
                del waiting[k]
    return labels


def _unclaimed(labels: Labels) -> int:
    """Count the unclaimed voxels of a chunk."""
    part, counted = labels
    return int(counted.volumes[part.ids == UNCLAIMED].sum())


def _excerpts(chunks: Sequence[Labels], read: Box) -> tuple[Excerpt, ...]:
    """Choose the labels that may lie in ``read``: those near all the faces of their chunk that ``read`` comes in by."""
    found = []
    for part, counted in chunks:
        faces = 0
        for axis in range(3):
            faces |= (read.stop[axis] < part.box.stop[axis]) << 2 * axis
            faces |= (read.start[axis] > part.box.start[axis]) << 2 * axis + 1
        local = np.flatnonzero((counted.near & faces) == faces).astype(np.uint32)
        local = np.append(np.uint32(0), local[local > 0])
        if local.size > 1:  # else it may never have been written
            found.append(Excerpt(part.source, part.box.intersect(read), local, part.ids[local]))
    return tuple(found)


def grow_chunk(store: Store, task: GrowTask) -> Labels | None:
    """Let the claimed voxels grow by up to ``task.steps`` steps, finish what can be, and write the chunk.

    Returns:
        What the chunk holds now, or None when that is what it held before and nothing was written.
    """
    # Ids in use here become 0..n in the same order: the kernels see uint32 whatever the ids of the volume are.
    ids = np.unique(np.concatenate([np.array([0, UNCLAIMED]), *(labels.ids for labels in task.labels)]))
    last = ids.size - 1
    room = _read_room(store, task, ids)
    xp = array_namespace(room)
    own = _inside(room)[task.chunk.relative_to(task.read).slices]
    _claim(room, task)
    xp.minimum(own, last, out=own)
    counted = tally(own, last, task.chunk, task.shape, task.steps)
    if counted.volumes[last] == task.unclaimed:
        return None
    here = counted.volumes > 0
    here[0] = True
    local = (np.cumsum(here) - 1).astype(np.uint32)
    found = xp.empty(own.shape, np.uint32)
    relabel(own, local, found)
    store.write(task.target, task.chunk, found)
    return Part(task.target, task.chunk, ids[here]), counted.of(here)


def _read_room(store: Store, task: GrowTask, ids: NDArray[np.int64]) -> Any:
    """Read the labels in ``task.read`` as places in ``ids``, uint32; a shell of 0 saves all bound checks."""
    room: Any = None
    for labels in task.labels:
        local = store.read(labels.source, labels.box)
        if room is None:
            room = array_namespace(local).zeros([n + 2 for n in task.read.shape], np.uint32)
        table = labels.table(ids)
        table[table == ids.size - 1] = _FREE
        relabel(local, table, _inside(room)[labels.box.relative_to(task.read).slices])
        del local  # not to be in memory while the next one is read
    return room


def _inside(room: Any) -> Any:
    """Leave out the shell."""
    return room[1:-1, 1:-1, 1:-1]


@Twins
def _claim(room: Any, task: GrowTask) -> None:
    """Claim what is free in ``room``, which holds ``task.read`` and a shell of 0."""
    flat, neighbours = room.reshape(-1), _neighbour_steps(room.shape)
    queue = np.empty(_count_free(flat), np.int32 if flat.size < 2**31 else np.int64)
    count = _step_in(room, queue)
    first, count = _flood(flat, neighbours, queue, 0, count, task.steps - 1)
    if count < queue.size:
        _hold(flat, neighbours, _open_seeds(room, task), np.empty_like(queue[count:]))
        _flood(flat, neighbours, queue, first, count, flat.size)


@_claim.on_gpu
def _claim_on_gpu(room: Any, task: GrowTask) -> None:
    """Do the same in rounds: a round asks every free voxel, and who is claimed in it counts from the next one on."""
    xp = array_namespace(room)
    flat, neighbours = room.reshape(-1), xp.asarray(_neighbour_steps(room.shape))
    queue = xp.flatnonzero(flat == _FREE)

    def step() -> bool:
        claimed = xp.zeros(1, np.int32)
        _claim_next(queue.size, queue, flat, neighbours, claimed)
        _settle(queue.size, queue, flat)
        return bool(claimed[0])

    for _ in range(task.steps):
        if not step():
            break
    queue = queue[flat[queue] == _FREE]
    if queue.size:
        pocket = component_roots(room == _FREE, corners=True).reshape(-1)
        is_open = xp.zeros(flat.size, bool)
        is_open[pocket[_open_seeds(room, task)]] = True
        flat[queue[is_open[pocket[queue]]]] = _WAITING
        while step():
            pass


_claim_next = CudaKernel("""
// Ids are below 2^31; a claim of this round has that bit set, and so has what is free or waits.
__global__ void claim_next(long long count, const long long* queue, unsigned int* room, const long long* neighbours,
                           int* claimed) {
    long long i = thread();
    if (i >= count || room[queue[i]] != 0xffffffffu) return;
    unsigned int best = 0x80000000u;
    for (int k = 0; k < 26; k++) {
        unsigned int id = room[queue[i] + neighbours[k]];
        if (id != 0 && id < best) best = id;
    }
    if (best == 0x80000000u) return;
    room[queue[i]] = best | 0x80000000u;
    *claimed = 1;
}
""")

_settle = CudaKernel("""
__global__ void settle(long long count, const long long* queue, unsigned int* room) {
    long long i = thread();
    if (i >= count) return;
    unsigned int id = room[queue[i]];
    if (id > 0x80000000u && id != 0xffffffffu) room[queue[i]] = id ^ 0x80000000u;
}
""")


def _neighbour_steps(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """List the steps to the 26 neighbours in the flat index of an array of ``shape``."""
    side = (-1, 0, 1)
    steps = [(z * shape[1] + y) * shape[2] + x for z in side for y in side for x in side]
    return np.array([step for i, step in enumerate(steps) if i != 13], dtype=np.int64)


def _open_planes(task: GrowTask) -> Iterator[Box]:
    """List the planes of the chunk that lie along a face to another chunk, in coordinates of the room."""
    shell = Box(cast(Zyx, tuple(n - 1 for n in task.read.start)), task.read.stop)
    for axis, n in enumerate(task.shape):
        if task.chunk.start[axis] > 0:
            yield _plane(task.chunk, axis, task.chunk.start[axis]).relative_to(shell)
        if task.chunk.stop[axis] < n:
            yield _plane(task.chunk, axis, task.chunk.stop[axis] - 1).relative_to(shell)


def _plane(box: Box, axis: int, at: int) -> Box:
    z, y, x = ((at, at + 1) if i == axis else (box.start[i], box.stop[i]) for i in range(3))
    return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def _open_seeds(room: Any, task: GrowTask) -> Any:
    """List the free voxels on these planes as flat indices of ``room``."""
    xp = array_namespace(room)
    found = [xp.empty(0, np.int64)]
    for plane in _open_planes(task):
        free = xp.flatnonzero(room[plane.slices] == _FREE)
        found.append(raster_index(free, plane, cast(Zyx, room.shape)))
    return xp.concatenate(found)


@compiled
def _count_free(room: NDArray[Any]) -> int:
    count = 0
    for i in range(room.size):
        count += room[i] == _FREE
    return count


@compiled
def _step_in(room: NDArray[Any], queue: NDArray[Any]) -> int:
    """Take the first step: every free voxel takes the lowest id next to it. The claimed ones begin the queue.

    The lowest of 27 is the lowest of three columns of 9, and those are found for a whole row at a time, four to
    sixteen voxels in one instruction. An id less 1 puts 0 above all others.
    """
    depth, height, width = room.shape
    one, fresh, free = np.uint32(1), np.uint32(_FRESH), np.uint32(_FREE)
    low = np.empty(width, np.uint32)
    count = 0
    for z in range(1, depth - 1):
        for y in range(1, height - 1):
            row = room[z, y]
            left = 0
            for x in range(width):
                left += row[x] == free
            if left == 0:
                continue
            low[:] = free
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    other = room[z + dz, y + dy]
                    for x in range(width):
                        low[x] = min(low[x], np.uint32(other[x] - one))
            for x in range(1, width - 1):
                best = min(low[x - 1], low[x], low[x + 1])
                if row[x] == free and best < fresh - one:
                    row[x] = (best + one) | fresh
                    queue[count] = (z * height + y) * width + x
                    count += 1
    flat = room.reshape(-1)
    for k in range(count):
        flat[queue[k]] ^= fresh
    return count


@compiled
def _flood(
    room: NDArray[Any], neighbours: NDArray[Any], queue: NDArray[Any], first: int, count: int, steps: int
) -> tuple[int, int]:
    """Take at most ``steps`` steps from the voxels queue[first:count], which were claimed last; return the same two."""
    for _ in range(steps):
        level = count
        for k in range(first, level):
            claim = room[queue[k]] | _FRESH
            for step in neighbours:
                there = queue[k] + step
                if room[there] > claim:
                    if room[there] == _FREE:
                        queue[count] = there
                        count += 1
                    room[there] = claim
        for k in range(level, count):
            room[queue[k]] ^= _FRESH
        first = level
        if first == count:
            break
    return first, count


@compiled
def _hold(room: NDArray[Any], neighbours: NDArray[Any], seeds: NDArray[Any], queue: NDArray[Any]) -> None:
    """Make the free voxels wait that hang together with the free voxels ``seeds``."""
    count = 0
    for seed in seeds:
        if room[seed] == _FREE:
            room[seed] = _WAITING
            queue[count] = seed
            count += 1
    first = 0
    while first < count:
        for step in neighbours:
            there = queue[first] + step
            if room[there] == _FREE:
                room[there] = _WAITING
                queue[count] = there
                count += 1
        first += 1
