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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, label_statistics
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.growth import FREE, UNCLAIMED, CountedLabels, claim, planes_to_others
from ps3d_rt.core.stitch import relabel
from ps3d_rt.errors import Ps3dError
from ps3d_rt.stages.storage import GROWN, Store
from ps3d_rt.workers import TaskMap


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


def grow(
    store: Store, grid: ChunkGrid, labels: Sequence[CountedLabels], steps: int, map_tasks: TaskMap = map
) -> list[CountedLabels]:
    """Claim all that is unclaimed.

    Args:
        store: holds the arrays that the chunks name; :data:`GROWN` are made.
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


def _unclaimed(labels: CountedLabels) -> int:
    """Count the unclaimed voxels of a chunk."""
    chunk, counted = labels
    return int(counted.volumes[chunk.ids == UNCLAIMED].sum())


def _excerpts(chunks: Sequence[CountedLabels], read: Box) -> tuple[Excerpt, ...]:
    """Choose the labels that may lie in ``read``: those near all the faces of their chunk that ``read`` comes in by."""
    found = []
    for chunk, counted in chunks:
        faces = 0
        for axis in range(3):
            faces |= (read.stop[axis] < chunk.box.stop[axis]) << 2 * axis
            faces |= (read.start[axis] > chunk.box.start[axis]) << 2 * axis + 1
        local = np.flatnonzero((counted.near & faces) == faces).astype(np.uint32)
        local = np.append(np.uint32(0), local[local > 0])
        if local.size > 1:  # else it may never have been written
            found.append(Excerpt(chunk.source, chunk.box.intersect(read), local, chunk.ids[local]))
    return tuple(found)


def grow_chunk(store: Store, task: GrowTask) -> CountedLabels | None:
    """Let the claimed voxels grow by up to ``task.steps`` steps, finish what can be, and write the chunk.

    Returns:
        What the chunk holds now, or None when that is what it held before and nothing was written.
    """
    # Ids in use here become 0..n in the same order: the kernels see uint32 whatever the ids of the volume are.
    ids = np.unique(np.concatenate([np.array([0, UNCLAIMED]), *(labels.ids for labels in task.labels)]))
    last = ids.size - 1
    padded_labels = _read_padded_labels(store, task, ids)
    xp = array_namespace(padded_labels)
    own = _inside(padded_labels)[task.chunk.relative_to(task.read).slices]
    claim(padded_labels, planes_to_others(task.chunk, task.read, task.shape), task.steps)
    xp.minimum(own, last, out=own)
    counted = label_statistics(own, last, task.chunk, task.shape, task.steps)
    if counted.volumes[last] == task.unclaimed:
        return None
    here = counted.volumes > 0
    here[0] = True
    local = (np.cumsum(here) - 1).astype(np.uint32)
    found = xp.empty(own.shape, np.uint32)
    relabel(own, local, found)
    store.write(task.target, task.chunk, found)
    return ChunkLabels(task.target, task.chunk, ids[here]), counted.take(here)


def _read_padded_labels(store: Store, task: GrowTask, ids: NDArray[np.int64]) -> Any:
    """Read the labels in ``task.read`` as places in ``ids``, uint32; a shell of 0 saves all bound checks."""
    padded_labels: Any = None
    for labels in task.labels:
        local = store.read(labels.source, labels.box)
        if padded_labels is None:
            padded_labels = array_namespace(local).zeros([n + 2 for n in task.read.shape], np.uint32)
        table = labels.table(ids)
        table[table == ids.size - 1] = FREE
        relabel(local, table, _inside(padded_labels)[labels.box.relative_to(task.read).slices])
        del local  # not to be in memory while the next one is read
    return padded_labels


def _inside(padded_labels: Any) -> Any:
    """Leave out the shell."""
    return padded_labels[1:-1, 1:-1, 1:-1]
