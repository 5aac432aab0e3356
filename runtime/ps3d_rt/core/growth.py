"""Particles grow from their cores chunk by chunk, as if the volume were grown at once.

The rule: a foreground voxel joins the core it reaches first, step by step through 26-neighbours inside the
foreground; at a tie, the core of the lowest id. In other words, let d(v) be the least number of steps from v to a
core and r(v) the lowest id of the cores at that distance; then v belongs to r(v).

1. Growth goes in rounds of ``steps`` steps. Before a round, exactly the voxels with d ≤ L are claimed.
2. A chunk reads ``steps`` voxels beyond its box and takes up to ``steps`` steps there. A step moves information by
   one voxel, so what it then says about its own voxels is what the whole volume would say: d ≤ L + steps.
3. Labels need not store d. Every claimed voxel next to an unclaimed one has d = L: if d were less, its neighbour's
   would be at most L. All of them start in the order of their ids, a queue keeps that order, and so the first claim
   on a voxel at d = k + 1 is the lowest r of its neighbours at d = k. That is its own r: the next voxel on a
   shortest way to r(v) has d = k and reaches r(v) in k steps.
4. A round writes to another array than it reads, so chunks may run in any order or at the same time.
5. Only chunks with unclaimed voxels run, and of those only the ones that read a chunk which changed in the round
   before: the claim on a voxel with L < d ≤ L + steps comes from a voxel with d = L at most ``steps`` away.

Memory is bounded by the box that is read, however long a way is: a long way takes more rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ps3d_rt.core.border_core import flood, neighbour_steps, rim_of
from ps3d_rt.core.chunks import ChunkGrid, Part, Store, Tally, TaskMap, parts_in, read_ids, tally
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import Ps3dError

UNCLAIMED = int(np.iinfo(np.int64).max)
"""Id of foreground that no particle has claimed yet; above all others, so that tables sorted by id end with it."""

GROWN = ("grown-0", "grown-1")
"""Arrays of the store that hold the labels after a round; every chunk alternates between them."""

Labels = tuple[Part, Tally]


@dataclass(frozen=True, eq=False)
class GrowTask:
    """One chunk in one round."""

    chunk: Box
    """Voxels to claim."""
    read: Box
    """``chunk`` and ``steps`` voxels around it."""
    parts: tuple[Part, ...]
    """The labels in ``read``; ids are core ids or :data:`UNCLAIMED`."""
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
        labels: what every chunk of ``grid`` holds.
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
    waiting = {k: box.grow(steps, volume) for k, box in enumerate(grid.boxes) if _is_waiting(labels[k])}
    changed = set(range(len(labels)))
    while waiting:
        parts = [part for part, _ in labels]
        active = [k for k, read in waiting.items() if not changed.isdisjoint(grid.touching(read))]
        tasks = [
            GrowTask(
                grid.boxes[k],
                waiting[k],
                parts_in(grid, parts, waiting[k]),
                GROWN[1] if parts[k].source == GROWN[0] else GROWN[0],
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
            if not _is_waiting(result):
                del waiting[k]
    return labels


def _is_waiting(labels: Labels) -> bool:
    return bool(np.any(labels[0].ids == UNCLAIMED))


def grow_chunk(store: Store, task: GrowTask) -> Labels | None:
    """Let the claimed voxels grow by up to ``task.steps`` steps and write the chunk, unless nothing changed.

    Returns:
        What the chunk holds now, or None when that is what it held before.
    """
    # Ids in use here become 0..n in the same order: the kernels see uint32 whatever the ids of the volume are.
    ids = np.unique(np.concatenate([np.array([0, UNCLAIMED]), *(part.ids for part in task.parts)]))
    parts = [replace(part, ids=np.searchsorted(ids, part.ids).astype(np.uint32)) for part in task.parts]
    unclaimed = np.uint32(ids.size - 1)
    room = np.pad(read_ids(store, parts, task.read, np.uint32), 1)  # a shell of 0 saves all bound checks
    own = room[1:-1, 1:-1, 1:-1][task.chunk.relative_to(task.read).slices]
    before = np.count_nonzero(own == unclaimed)
    flat, neighbours = room.reshape(-1), neighbour_steps(room.shape)
    rim = rim_of(flat, neighbours, unclaimed)
    flood(flat, rim[np.argsort(flat[rim], kind="stable")], neighbours, unclaimed, task.steps)
    if np.count_nonzero(own == unclaimed) == before:
        return None
    counted = tally(np.ascontiguousarray(own), ids.size - 1, task.chunk, task.shape)
    here = counted.volumes > 0
    here[0] = True
    local = (np.cumsum(here) - 1).astype(np.uint32)
    store.write(task.target, task.chunk, local[own])
    return Part(task.target, task.chunk, ids[here]), Tally(counted.volumes[here], counted.firsts[here])
