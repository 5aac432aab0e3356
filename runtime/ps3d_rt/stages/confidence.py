"""Scores of the network → how sure it is of every particle, chunk by chunk.

1. :func:`score_tasks`: every chunk with particles gets their labels, and those one voxel beyond it.
2. :func:`add_up_scores`, per chunk: add up the scores by final id, over voxels and over the faces between particles.
3. :func:`ps3d_rt.core.confidence.to_confidence`, tables only: add up the chunks, and divide. It also says where every
   particle ends.

Scores are whole percent, and so are their sums: any chunks in any order give the same bytes. In memory are one chunk a
task, and 48 bytes a particle. What the means say is in docs/particle-table.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, chunks_in
from ps3d_rt.core.confidence import ParticleConfidence, ScoreSums, add_up, to_confidence
from ps3d_rt.core.grid import Box
from ps3d_rt.stages.particles import Particles
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import BORDER_CORE, CORE_SCORE, FOREGROUND_SCORE, Store, read_ids


@dataclass(frozen=True, eq=False)
class Scored:
    """What the scores say of the particles 1..N."""

    confidence: ParticleConfidence
    stops: NDArray[np.int32]
    """(N + 1,) id → one past its last plane on the normalized grid; entry 0 is 0."""


def score_particles(run: Run, particles: Particles) -> Scored:
    """Ask the network's scores how sure it is of every particle."""
    plan = run.prediction.plan
    tasks = score_tasks(plan.chunks, particles.chunk_labels)
    at_once = plan.memory.chunks_at_once(plan.particles)
    with run.stage("confidence", len(tasks), "tasks", at_once=at_once) as stage:
        sums = stage.map(partial(add_up_scores, run.storage.store), tasks)
        return Scored(*to_confidence(sums, particles.largest))


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """A chunk with particles."""

    chunk: Box
    """Its voxels, and the faces that follow them along z, y and x."""
    read: Box
    """``chunk`` and the voxels one further along the three axes."""
    chunk_labels: tuple[ChunkLabels, ...]
    """The labels in ``read``, with final ids."""


def score_tasks(grid: ChunkGrid, chunk_labels: Sequence[ChunkLabels]) -> list[ScoreTask]:
    """List the chunks with particles; ``chunk_labels`` are all, with final ids and 0 for what was dropped."""
    whole = Box.of_shape(grid.shape)
    tasks = []
    for chunk in chunk_labels:
        if chunk.ids.any():
            z, y, x = chunk.box.stop
            read = Box(chunk.box.start, (z + 1, y + 1, x + 1)).intersect(whole)
            tasks.append(ScoreTask(chunk.box, read, chunks_in(grid, chunk_labels, read)))
    return tasks


def add_up_scores(store: Store, task: ScoreTask) -> ScoreSums:
    """Add up the scores of a chunk; a face belongs to the chunk that owns the voxel with the smaller index."""
    ids = np.unique(
        np.concatenate([np.zeros(1, np.int64), *(chunk.ids.astype(np.int64) for chunk in task.chunk_labels)])
    )
    # Places in the list stand for the ids: the sums are as long as the chunk has particles, not the volume.
    placed = [
        ChunkLabels(chunk.source, chunk.box, np.searchsorted(ids, chunk.ids).astype(np.uint32))
        for chunk in task.chunk_labels
    ]
    labels = read_ids(store, placed, task.read, np.uint32)
    classes = asnumpy(store.read(BORDER_CORE, task.chunk))
    foreground, core = (asnumpy(store.read(name, task.read)) for name in (FOREGROUND_SCORE, CORE_SCORE))
    sums, stops = np.zeros((ids.size, 6), np.int64), np.zeros(ids.size, np.int32)
    add_up(labels, classes, foreground, core, sums, stops)
    there = sums.any(axis=1)
    return ScoreSums(ids[there], sums[there], np.where(stops > 0, stops + task.chunk.start[0], 0)[there])
