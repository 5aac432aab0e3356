"""Boxes of the source grid and the labels in them. The table is measured on the same labels that are written.

The labels of a box are computed twice, by :mod:`ps3d_rt.stages.table` and :mod:`ps3d_rt.stages.labels`. That is cheaper
than to store them in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from ps3d_rt.core.arrays import Array, asnumpy
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, chunks_in
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.planes import PlaneChoice
from ps3d_rt.core.resample import Zoom, smooth_labels_box
from ps3d_rt.io.base import Volume
from ps3d_rt.stages.storage import FOREGROUND_SCORE, Store, read_ids

_READ_VOXELS = 2**23
"""Normalized voxels read at a time: a small source box may lie over a large normalized one."""


@dataclass(frozen=True, kw_only=True)
class SourceGrid:
    """What every box of a run shares."""

    volume: Volume
    store: Store
    """Holds the arrays that the chunks name, and ``FOREGROUND_SCORE``."""
    grid: ChunkGrid
    """Of the chunks: its shape is the normalized volume."""
    zoom: Zoom
    bins: GrayBins | None = None
    """Of the particles' gray histograms; None: there are none."""
    planes: PlaneChoice | None = None
    """To be shown; None: none are."""


@dataclass(frozen=True)
class BoxTask:
    """A box of the source grid and the labels that lie there."""

    box: Box
    chunk_labels: tuple[ChunkLabels, ...]


def box_tasks(stage: SourceGrid, chunk_labels: list[ChunkLabels], boxes: Sequence[Box]) -> list[BoxTask]:
    """Give every box of the source grid the chunks that it and the voxels around it need."""
    whole = Box.of_shape(stage.volume.shape)
    return [
        BoxTask(box, chunks_in(stage.grid, chunk_labels, normalized_around(stage, box.grow(1, whole)))) for box in boxes
    ]


def normalized_around(stage: SourceGrid, box: Box) -> Box:
    """Voxels of the normalized grid that those in ``box`` lie between, and one more for the rounding."""
    sides = zip(box.start, box.stop, stage.zoom, stage.grid.shape, strict=True)
    (z0, z1), (y0, y1), (x0, x1) = (
        (min(max(int(a * f) - 2, 0), n - 1), min(ceil(b * f) + 2, n)) for a, b, f, n in sides
    )
    return Box((z0, y0, x0), (z1, y1, x1))


def labels_of(stage: SourceGrid, task: BoxTask) -> Array:
    """Labels of a box, uint32, made some planes at a time."""

    def read(box: Box) -> Array:
        return read_ids(stage.store, task.chunk_labels, box, np.uint32)

    def percent(box: Box) -> Array:
        return asnumpy(stage.store.read(FOREGROUND_SCORE, box))

    plane = normalized_around(stage, task.box).size / task.box.shape[0]
    step = max(1, int(_READ_VOXELS / plane))
    (first, *corner), (stop, *end) = task.box.start, task.box.stop
    out = np.empty(task.box.shape, np.uint32)
    for z in range(first, stop, step):
        box = Box((z, corner[0], corner[1]), (min(z + step, stop), end[0], end[1]))
        planes = smooth_labels_box(read, percent, box, stage.grid.shape, stage.volume.shape, zoom=stage.zoom)
        inside = stage.volume.inside(box)
        out[z - first : box.stop[0] - first] = planes if inside is None else np.where(inside, planes, 0)
    return out
