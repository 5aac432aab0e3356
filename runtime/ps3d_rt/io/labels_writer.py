"""Particle labels as OME-Zarr 0.5: ``NAME.ome.zarr/labels/particles/0``, ``/1``, …, uint32, written slab by slab."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io import ome
from ps3d_rt.io.volume import SpacingMm, check_shape, check_spacing
from ps3d_rt.io.whole import written_whole
from ps3d_rt.io.zarr_writer import CHUNK, create_level

LABEL = np.dtype(np.uint32)
GROUP = "labels/particles"
_COARSEST = 128
"""Levels are halved until no side is longer than this."""


def write_labels(
    folder: Path,
    name: str,
    labels: np.ndarray[Any, Any] | Iterable[np.ndarray[Any, Any]],
    spacing_mm: SpacingMm,
    *,
    shape: Zyx | None = None,
) -> Path:
    """Write ``folder/name.ome.zarr`` and return its path.

    At any time one slab of 64 slices of each level is in memory, about 4/3 of one at full resolution.

    Args:
        folder: made if it is missing.
        name: of the scan; ``.ome.zarr`` is added.
        labels: (z, y, x) integers 0..2^32-1, or slabs of slices of any depth, in order, that make up ``shape``.
        spacing_mm: millimetres a voxel, z, y, x.
        shape: voxels of the whole; needed for slabs.

    Raises:
        InputError: if the output exists, the slabs do not make up the shape, or a label does not fit.
    """
    if isinstance(labels, np.ndarray):
        shape, labels = check_shape(labels.shape, "labels"), [labels]
    if shape is None:
        raise InputError("labels are given as slabs without the shape of the whole; pass shape.")
    if not name or Path(name).name != name:
        raise InputError(f"the name of the labels is '{name}'; it must be a file name without folders.")
    path = folder / f"{name}.ome.zarr"
    with written_whole(path) as partial:
        finest = _Level(create_labels(partial, name, shape, check_spacing(spacing_mm, "spacing")))
        for slab in labels:
            finest.add(_as_labels(slab))
        finest.finish()
    return path


def create_labels(path: Path, name: str, shape: Zyx, spacing_mm: SpacingMm) -> list[zarr.Array[Any]]:
    """Create the groups with their metadata and the empty arrays, finest first.

    The root is an image too, of the same arrays, so that viewers that start at the root find something.
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
    return [create_level(path, f"{GROUP}/{level}", shapes[level], LABEL) for level in range(len(shapes))]


class _Level:
    """One level and, behind it, all coarser ones: takes slices in order, writes whole shards.

    A coarser level keeps every second voxel. Its voxel i lies where voxel 2i of the finer one does,
    so the scale doubles and nothing shifts.
    """

    def __init__(self, arrays: list[zarr.Array[Any]]) -> None:
        self._array = arrays[0]
        self._coarser = _Level(arrays[1:]) if len(arrays) > 1 else None
        self._held = np.empty((0, *self._array.shape[1:]), LABEL)
        self._written = 0

    def add(self, slab: np.ndarray[Any, Any]) -> None:
        """Take the next slices, any number of them."""
        missing = self._array.shape[0] - self._written - len(self._held)
        if slab.shape[1:] != self._array.shape[1:] or len(slab) > missing:
            raise InputError(
                f"a slab of labels is {slab.shape}; what is missing is {missing} slices of {self._array.shape[1:]}."
            )
        if len(self._held):
            head = CHUNK - len(self._held)
            self._held, slab = np.concatenate([self._held, slab[:head]]), slab[head:]
            if len(self._held) < CHUNK:
                return
            self._write(self._held)
        whole = len(slab) // CHUNK * CHUNK
        for z in range(0, whole, CHUNK):
            self._write(slab[z : z + CHUNK])
        self._held = slab[whole:].copy()  # a view would keep the whole slab alive

    def finish(self) -> None:
        """Write what is held: the last, thinner slab."""
        if len(self._held):
            self._write(self._held)
        if self._written != self._array.shape[0]:
            raise InputError(f"the slabs of labels end at slice {self._written} of {self._array.shape[0]}.")
        if self._coarser:
            self._coarser.finish()

    def _write(self, slab: np.ndarray[Any, Any]) -> None:
        self._array[self._written : self._written + len(slab)] = slab
        self._written += len(slab)
        if self._coarser:
            self._coarser.add(slab[::2, ::2, ::2])


def _as_labels(slab: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert to uint32; InputError if an id is not a whole number in 0..2^32-1."""
    if slab.dtype == LABEL:
        return slab
    if slab.dtype.kind not in "biu":
        raise InputError(f"labels are {slab.dtype}; they must be integers: convert them.")
    low, high = (int(slab.min()), int(slab.max())) if slab.size else (0, 0)
    if low < 0 or high > np.iinfo(LABEL).max:
        raise InputError(f"labels run from {low} to {high}; allowed are 0 to {np.iinfo(LABEL).max}: renumber them.")
    return slab.astype(LABEL)
