"""Particles → labels on the source grid with their final ids, and the coarser levels of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.chunks import ChunkLabels
from ps3d_rt.core.grid import Box
from ps3d_rt.stages.boxes import BoxTask, SourceGrid, box_tasks, labels_of
from ps3d_rt.stages.particles import Particles
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import LabelLevels, LabelsTarget


@dataclass(frozen=True, eq=False)
class WriteTask:
    """A box, and the final ids of what its chunks hold."""

    task: BoxTask
    final: tuple[NDArray[Any], ...]
    """For each of the task's chunks, as its ``ids``."""


def write_labels(run: Run, particles: Particles, id_map: NDArray[Any]) -> None:
    """Write the labels of all boxes, with the ids ``id_map[id]``, then each coarser level from the one before it."""
    grid, labels = run.source_grid, run.storage.labels
    levels = [labels.boxes(level) for level in range(labels.levels)]
    at_once = run.prediction.plan.memory.boxes_at_once(particles.largest)
    with run.stage("labels", sum(map(len, levels)), "boxes", at_once=at_once) as stage:
        stage.run(partial(write_box, grid, labels), write_tasks(grid, particles.chunk_labels, levels[0], id_map))
        for level, boxes in enumerate(levels[1:], start=1):
            stage.run(partial(_coarsen, labels, level), boxes)


def write_tasks(
    grid: SourceGrid, chunk_labels: list[ChunkLabels], boxes: Sequence[Box], id_map: NDArray[Any]
) -> list[WriteTask]:
    """Make the tasks; ``id_map[id]`` are the final ids."""
    final = {chunk.box: id_map[chunk.ids] for chunk in chunk_labels}  # once, for the boxes share chunks
    tasks = box_tasks(grid, chunk_labels, boxes)
    return [WriteTask(task, tuple(final[chunk.box] for chunk in task.chunk_labels)) for task in tasks]


def _coarsen(labels: LabelLevels, level: int, box: Box) -> None:
    labels.coarsen(level, box)


def write_box(stage: SourceGrid, target: LabelsTarget, task: WriteTask) -> None:
    """Write the labels of a box; without any, nothing is written: the target is 0 there already.

    A voxel between particles may go to either, and then the smaller id decides: that of the table's stage, not the
    final one, or the table would be of other labels.
    """
    chunks = task.task.chunk_labels
    if not chunks:
        return
    known = np.unique(np.concatenate([chunk.ids for chunk in chunks]))
    final = np.zeros(known.size, np.uint32)
    ranked = []
    for chunk, ids in zip(chunks, task.final, strict=True):
        ranks = np.searchsorted(known, chunk.ids).astype(chunk.ids.dtype)
        final[ranks] = ids
        ranked.append(ChunkLabels(chunk.source, chunk.box, ranks))
    target.write(task.task.box, final[labels_of(stage, BoxTask(task.task.box, tuple(ranked)))])
