"""Particles on the normalized grid → particle table, box by box of the source grid.

1. :func:`measure_box`: bring the labels of a box to the source grid and sum up its particles.
2. The sums are merged. A particle becomes a row after the last box that may hold it (:func:`last_boxes`).
3. Ids are given again, in raster order of the first voxels on the source grid. So there are no gaps, although a
   particle may have no voxel on a source grid that is coarser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.confidence import ParticleConfidence
from ps3d_rt.core.dropped import DroppedParticles, list_dropped
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.measure import PartialSums, Spacing, partial_sums, to_table
from ps3d_rt.core.open_sums import NOWHERE, OpenSums, ids_in_raster_order
from ps3d_rt.core.planes import PlaneTile, Slices, cut_planes, join_planes
from ps3d_rt.core.rows import MeasuredBox
from ps3d_rt.stages.boxes import BoxTask, SourceGrid, box_tasks, labels_of, normalized_around
from ps3d_rt.stages.confidence import Scored
from ps3d_rt.stages.particles import Particles
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import Rows


@dataclass(frozen=True, eq=False)
class Measured:
    """The particles as the source grid shows them."""

    id_map: NDArray[Any]
    """(N + 1,) id on the normalized grid → final id, 0 for particles that vanished between its voxels."""
    rows: Rows
    """All rows, not yet finished."""
    dropped: DroppedParticles
    slices: list[Slices] | None
    """Planes for the report, with final ids; None if none were asked for."""


def measure_particles(run: Run, particles: Particles, scored: Scored) -> Measured:
    """Measure every particle on the source grid, with the gray values of the scan.

    Raises:
        InputError: if the scan cannot be read.
    """
    plan = run.prediction.plan
    grid, boxes = run.source_grid, run.storage.labels.boxes(0)
    tasks, rows = box_tasks(grid, particles.chunk_labels, boxes), run.storage.rows(particles.largest)
    tiles: list[PlaneTile] = []
    at_once = plan.memory.boxes_at_once(particles.largest)
    with run.stage("table", len(boxes), "boxes", at_once=at_once) as stage:
        found = _sums(stage.map(partial(measure_box, grid), tasks), tiles)
        last = last_boxes(grid, tasks, scored.stops)
        id_map = stream_rows(found, last, plan.source, run.prediction.config.spacing_mm, scored.confidence, rows)
    planes = grid.planes
    slices = None if planes is None else join_planes(planes, (tile.relabelled(id_map) for tile in tiles))
    dropped = list_dropped(
        particles.census,
        id_map,
        zoom=plan.zoom,
        source=plan.source,
        spacing_mm=run.prediction.config.spacing_mm,
    )
    return Measured(id_map, rows, dropped, slices)


def _sums(boxes: Iterable[MeasuredBox], tiles: list[PlaneTile]) -> Iterator[PartialSums]:
    """Pass on the sums of boxes, and keep their tiles of planes."""
    for box in boxes:
        tiles += box.planes
        yield box.sums


def measure_box(stage: SourceGrid, task: BoxTask) -> MeasuredBox:
    """Sum up the particles in a box, with the gray values of the scan, and cut out the planes that are shown."""
    shape = stage.volume.shape
    around = BoxTask(task.box.grow(1, Box.of_shape(shape)), task.chunk_labels)
    labels, gray = labels_of(stage, around), stage.volume.read(task.box)
    own = labels[task.box.relative_to(around.box).slices]
    return MeasuredBox(
        sums=partial_sums(labels, gray, box=task.box, shape=shape, bins=stage.bins),
        planes=() if stage.planes is None else cut_planes(stage.planes, task.box, gray, own),
    )


def last_boxes(stage: SourceGrid, tasks: Sequence[BoxTask], stops: NDArray[Any]) -> NDArray[np.int32]:
    """Find the last task that may meet a particle.

    Args:
        stage: what the boxes share.
        tasks: in raster order.
        stops: (N + 1,) id → one past its last plane of the normalized grid.

    Returns:
        (N + 1,) id → number of the task; −1 for ids that none meets.
    """
    whole = Box.of_shape(stage.volume.shape)
    last = np.full(stops.size, -1, np.int32)
    for number, task in enumerate(tasks):
        first = normalized_around(stage, task.box.grow(1, whole)).start[0]
        for chunk in task.chunk_labels:
            last[chunk.ids[stops[chunk.ids] > first]] = number
    last[0] = -1
    return last


def stream_rows(
    parts: Iterable[PartialSums],
    last: NDArray[np.int32],
    shape: Zyx,
    spacing_mm: Spacing,
    confidence: ParticleConfidence,
    rows: Rows,
) -> NDArray[Any]:
    """Add up the parts of a volume, and hand on every particle as soon as it is complete.

    Args:
        parts: of the volume, in raster order.
        last: (N + 1,) id → number of the last part that may hold it, −1 if none may.
        shape: of the volume, voxels.
        spacing_mm: voxel size along z, y, x.
        confidence: of the ids 1..N.
        rows: get the rows, with the ids that the parts have.

    Returns:
        (N + 1,) id → final id, in raster order of the first voxels; 0 where there are none.
    """
    sums, first_index = OpenSums(last), np.full(last.size, NOWHERE)
    for part in parts:
        done = sums.add(part)
        first_index[done.label.astype(np.int64)] = done.first
        rows.add(to_table(done, shape, spacing_mm, confidence.take(done.label)), done.first)
    return ids_in_raster_order(first_index)
