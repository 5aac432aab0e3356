"""Particles on the normalized grid → particle table and labels on the source grid, box by box.

1. :func:`measure_box`: bring the labels of a box to the source grid and sum up its particles.
2. The sums are merged, and a particle leaves as a row after the last box that may hold it (:func:`last_boxes`);
   particles that vanished between the voxels of a coarser source grid leave no gap, because ids are given anew, in
   raster order of the first voxels on the source grid.
3. :func:`write_box`: bring the labels there again, with their final ids. To compute them twice is cheaper than to
   store them in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.core.chunks import ChunkGrid, Part, parts_in
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import partial_sums
from ps3d_rt.core.planes import PlaneChoice, cut_planes
from ps3d_rt.core.resample import Zoom, smooth_labels_box
from ps3d_rt.core.rows import MeasuredBox
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.stages.storage import FOREGROUND, Store, read_ids

Array = np.ndarray[Any, Any]

_READ_VOXELS = 2**23
"""Normalized voxels read at a time: a small source box may lie over a large normalized one."""


class LabelsTarget(Protocol):
    """Where labels on the source grid go, box by box in any order."""

    def write(self, box: Box, labels: Array) -> None:
        """Set the labels of ``box``, uint32."""


@dataclass(frozen=True, kw_only=True)
class SourceGrid:
    """What every box of a run shares."""

    volume: Volume
    store: Store
    """Holds the arrays that the parts name, and ``FOREGROUND``."""
    grid: ChunkGrid
    """Of the parts: its shape is the normalized volume."""
    zoom: Zoom
    bins: GrayBins | None = None
    """Of the particles' gray histograms; None: there are none."""
    planes: PlaneChoice | None = None
    """To be shown; None: none are."""


@dataclass(frozen=True)
class BoxTask:
    """A box of the source grid and the labels that lie there."""

    box: Box
    parts: tuple[Part, ...]


def check_label_count(particles: int) -> None:
    """Refuse more particles than labels on the source grid, which are uint32, can tell apart.

    Raises:
        InputError: if there are more than 2³² − 1.

    >>> check_label_count(2**32 - 1)
    """
    most = int(np.iinfo(np.uint32).max)
    if particles > most:
        raise InputError(
            f"{particles:,} particles were found; labels are 32 bit wide and tell {most:,} apart. "
            "Segment the scan in parts."
        )


def box_tasks(stage: SourceGrid, parts: list[Part], boxes: Sequence[Box]) -> list[BoxTask]:
    """Give every box of the source grid the parts that it and the voxels around it need."""
    whole = Box.of_shape(stage.volume.shape)
    return [BoxTask(box, parts_in(stage.grid, parts, _normalized(stage, box.grow(1, whole)))) for box in boxes]


def last_boxes(stage: SourceGrid, tasks: Sequence[BoxTask], stops: Array) -> NDArray[np.int32]:
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
        first = _normalized(stage, task.box.grow(1, whole)).start[0]
        for part in task.parts:
            last[part.ids[stops[part.ids] > first]] = number
    last[0] = -1
    return last


def _normalized(stage: SourceGrid, box: Box) -> Box:
    """Voxels of the normalized grid that those in ``box`` lie between, and one more for the rounding."""
    sides = zip(box.start, box.stop, stage.zoom, stage.grid.shape, strict=True)
    (z0, z1), (y0, y1), (x0, x1) = (
        (min(max(int(a * f) - 2, 0), n - 1), min(ceil(b * f) + 2, n)) for a, b, f, n in sides
    )
    return Box((z0, y0, x0), (z1, y1, x1))


def measure_box(stage: SourceGrid, task: BoxTask) -> MeasuredBox:
    """Sum up the particles in a box, with the gray values of the scan, and cut out the planes that are shown."""
    shape = stage.volume.shape
    around = BoxTask(task.box.grow(1, Box.of_shape(shape)), task.parts)
    labels, gray = _labels(stage, around), stage.volume.read(task.box)
    own = labels[task.box.relative_to(around.box).slices]
    return MeasuredBox(
        sums=partial_sums(labels, gray, box=task.box, shape=shape, bins=stage.bins),
        planes=() if stage.planes is None else cut_planes(stage.planes, task.box, gray, own),
    )


def write_box(stage: SourceGrid, target: LabelsTarget, task: BoxTask) -> None:
    """Write the labels of a box; without any, nothing is written: the target is 0 there already."""
    if task.parts:
        target.write(task.box, _labels(stage, task))


def _labels(stage: SourceGrid, task: BoxTask) -> Array:
    """Labels of a box, uint32, made some planes at a time."""

    def read(box: Box) -> Array:
        return read_ids(stage.store, task.parts, box, np.uint32)

    def percent(box: Box) -> Array:
        return asnumpy(stage.store.read(FOREGROUND, box))

    plane = _normalized(stage, task.box).size / task.box.shape[0]
    step = max(1, int(_READ_VOXELS / plane))
    (first, *corner), (stop, *end) = task.box.start, task.box.stop
    out = np.empty(task.box.shape, np.uint32)
    for z in range(first, stop, step):
        box = Box((z, corner[0], corner[1]), (min(z + step, stop), end[0], end[1]))
        planes = smooth_labels_box(read, percent, box, stage.grid.shape, stage.volume.shape, zoom=stage.zoom)
        inside = stage.volume.inside(box)
        out[z - first : box.stop[0] - first] = planes if inside is None else np.where(inside, planes, 0)
    return out


def renamed(parts: list[Part], names: Array) -> list[Part]:
    """Give the labels other ids: ``names[id]``."""
    return [Part(part.source, part.box, names[part.ids]) for part in parts]
