"""Particles → labels on the source grid with their final ids, and the coarser levels of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from numpy.typing import NDArray

from ps3d_rt.core.chunks import ChunkLabels
from ps3d_rt.core.grid import Box
from ps3d_rt.stages.boxes import BoxTask, SourceGrid, box_tasks, labels_of
from ps3d_rt.stages.particles import Particles
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import LabelLevels, LabelsTarget


def write_labels(run: Run, particles: Particles, id_map: NDArray[Any]) -> None:
    """Write the labels of all boxes, with the ids ``id_map[id]``, then each coarser level from the one before it."""
    grid, labels = run.source_grid, run.storage.labels
    levels = [labels.boxes(level) for level in range(labels.levels)]
    at_once = run.prediction.plan.memory.boxes_at_once(particles.largest)
    with run.stage("labels", sum(map(len, levels)), "boxes", at_once=at_once) as stage:
        stage.run(
            partial(write_box, grid, labels), box_tasks(grid, relabelled(particles.chunk_labels, id_map), levels[0])
        )
        for level, boxes in enumerate(levels[1:], start=1):
            stage.run(partial(_coarsen, labels, level), boxes)


def _coarsen(labels: LabelLevels, level: int, box: Box) -> None:
    labels.coarsen(level, box)


def write_box(stage: SourceGrid, target: LabelsTarget, task: BoxTask) -> None:
    """Write the labels of a box; without any, nothing is written: the target is 0 there already."""
    if task.chunk_labels:
        target.write(task.box, labels_of(stage, task))


def relabelled(chunk_labels: list[ChunkLabels], id_map: NDArray[Any]) -> list[ChunkLabels]:
    """Give the labels other ids: ``id_map[id]``."""
    return [ChunkLabels(chunk.source, chunk.box, id_map[chunk.ids]) for chunk in chunk_labels]
