"""Particle labels as OME-Zarr 0.5: ``NAME.ome.zarr/labels/particles/0``, ``/1``, …, uint32, written shard by shard.

    create_labels(path, …)                  once: groups, metadata, empty arrays
    LabelsZarr(path).write(box, labels)     for every box of level 0
    LabelsZarr(path).coarsen(level, box)    then for every box of level 1, then of level 2, …

The boxes of a level may come in any order and from any number of workers; the files are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.io import ome
from ps3d_rt.io.base import SpacingMm
from ps3d_rt.io.zarr_writer import create_array, read_box, shape_of, shard_boxes, shard_of, write_shards

GROUP = "labels/particles"
_COARSEST = 128
"""Levels are halved until no side is longer than this."""


def create_labels(path: Path, name: str, shape: Zyx, spacing_mm: SpacingMm) -> None:
    """Create the groups with their metadata and the empty arrays, finest first.

    The root is an image too, of the same arrays, so that viewers that start at the root find something.

    Args:
        path: ends in ``.ome.zarr``; must not exist; missing folders are made.
        name: shown by viewers.
        shape: voxels z, y, x of the finest level.
        spacing_mm: millimetres a voxel, z, y, x.
    """
    shapes, spacings = [shape], [spacing_mm]
    while max(shapes[-1]) > _COARSEST:
        z, y, x = shapes[-1]
        shapes.append((-(-z // 2), -(-y // 2), -(-x // 2)))
        dz, dy, dx = spacings[-1]
        spacings.append((2 * dz, 2 * dy, 2 * dx))
    root = zarr.create_group(path, attributes=ome.image_attributes(name, spacings, folder=GROUP))
    root.create_group("labels", attributes=ome.labels_attributes(["particles"]))
    root.create_group(GROUP, attributes=ome.label_attributes("particles", spacings))
    for level, size in enumerate(shapes):
        create_array(path, f"{GROUP}/{level}", size, np.uint32)


@dataclass(frozen=True)
class LabelsZarr:
    """Labels that :func:`create_labels` made; opened on first use, shared by threads, pickled to processes.

    A coarser level keeps every second voxel. Its voxel i lies where voxel 2i of the finer one does,
    so the scale doubles and nothing shifts.
    """

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelsZarr, (self.path,)

    @property
    def shape(self) -> Zyx:
        """Voxels of the finest level, z, y, x."""
        return shape_of(self._arrays[0])

    @property
    def shard(self) -> Zyx:
        """Voxels of a shard of the finest level, z, y, x."""
        return shard_of(self._arrays[0])

    @property
    def levels(self) -> int:
        """Number of resolutions, the finest included."""
        return len(self._arrays)

    def boxes(self, level: int) -> tuple[Box, ...]:
        """Tile ``level`` with whole shards."""
        return shard_boxes(self._arrays[level])

    def write(self, box: Box, labels: NDArray[Any]) -> None:
        """Set the labels of ``box`` of the finest level, whole shards, uint32.

        Raises:
            InputError: if ``box`` cuts a shard, or the labels do not fit it or uint32.
            OSError: if the disk is full or the file cannot be written.
        """
        write_shards(self._arrays[0], box, labels)

    def coarsen(self, level: int, box: Box) -> None:
        """Fill ``box`` of ``level``, whole shards, from the level before it.

        Chunk by chunk only every second voxel is kept, so the finer voxels are never in memory together.

        Raises:
            InputError: if ``box`` cuts a shard.
            OSError: if the disk is full or the file cannot be written.
        """
        array, finer = self._arrays[level], self._arrays[level - 1]
        every_second = tuple(slice(2 * a, 2 * b, 2) for a, b in zip(box.start, box.stop, strict=True))
        write_shards(array, box, np.asarray(finer[every_second]))

    def read(self, box: Box) -> NDArray[Any]:
        """Read the labels of ``box`` of the finest level, uint32; 0 where nothing was written.

        Raises:
            InputError: if ``box`` is not inside the volume, or a file is damaged.
        """
        return read_box(self._arrays[0], box)

    @cached_property
    def _arrays(self) -> list[zarr.Array[Any]]:
        """The levels, finest first."""
        group = self.path / GROUP
        attributes = ome.ome_of(zarr.open_group(group, mode="r").attrs.asdict())
        levels = attributes["multiscales"][0]["datasets"]
        return [zarr.open_array(group / level["path"], mode="r+") for level in levels]
