"""HDF5: a dataset, ``scan.h5:/group/data``, or the only one with three axes; sizes from ``element_size_um``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import PLANES_PER_READ, SpacingMm, Volume, planes_per_read
from ps3d_rt.io.names import file_and_inside, stem_of
from ps3d_rt.io.readable import readable
from ps3d_rt.io.slabs import Tell, shard_boxes, slabs

_CHUNK = 64
_NAME = "data"
"""Of the dataset, in files that we write."""
_MOST_LISTED = 10


@final
class Hdf5Volume(Volume):
    """A dataset whose other axes, if any, have one entry; owns its file."""

    def __init__(self, dataset: h5py.Dataset, axes: Zyx, spacing_mm: SpacingMm | list[float] | None, path: Path):
        super().__init__(
            source=str(path),
            name=stem_of(path),
            shape=tuple(dataset.shape[axis] for axis in axes),
            dtype=dataset.dtype,
            spacing_mm=spacing_mm,
            planes_per_read=planes_per_read(dataset.chunks[axes[0]]) if dataset.chunks else PLANES_PER_READ,
        )
        self._dataset = dataset
        self._axes = axes

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        if not self._dataset:
            raise InputError(f"{self.source}: the volume is closed; open it again.")
        if not out.size:
            return
        where: list[int | slice] = [0] * self._dataset.ndim
        for axis, part in zip(self._axes, box.slices, strict=True):
            where[axis] = part
        stored = sorted(self._axes)
        with readable(self.source, f"a chunk between {box.start} and {box.stop}"):
            # Into ``out`` as the file has it: a second copy of a slab would count against the memory promise.
            if self._axes == tuple(stored):
                self._dataset.read_direct(out, source_sel=tuple(where))
            else:
                voxels = self._dataset[tuple(where)]
                out[...] = voxels.transpose([stored.index(axis) for axis in self._axes])

    def close(self) -> None:
        """Close the file."""
        if self._dataset:
            self._dataset.file.close()


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open the dataset that ``path`` names after a colon, or the only one there.

    Raises:
        InputError: if the file is broken, the dataset is not there or not 3-D, or its voxels lie in other files.
    """
    file_path, inside = file_and_inside(path)
    with readable(str(file_path), "the HDF5 file"):
        file = h5py.File(file_path, "r")
    try:
        with readable(str(path), "the dataset"):
            dataset = _find(file, file_path, inside)
            axes = _axes_of(dataset, path)
            spacing = spacing_mm if spacing_mm is not None else _spacing_of(dataset, axes, path)
            return Hdf5Volume(dataset, axes, spacing, path)
    except BaseException:
        file.close()
        raise


def _find(file: h5py.File, path: Path, inside: str) -> h5py.Dataset:
    names: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 3:
            names.append(f"/{name}")

    file.visititems(note)
    inside = inside or (names[0] if len(names) == 1 else "")
    dataset = file.get(inside) if inside else None
    if not isinstance(dataset, h5py.Dataset):
        listed = ", ".join([*names[:_MOST_LISTED], *(["…"] if len(names) > _MOST_LISTED else [])]) or "none"
        what = f"there is no dataset {inside}" if inside else f"{len(names)} datasets have three axes"
        raise InputError(f"{path}: {what}; give one as {path.name}:/NAME. Found are: {listed}.")
    if dataset.file.filename != file.filename or dataset.is_virtual or dataset.external:
        raise InputError(f"{path}: the voxels of {inside} lie in other files; copy them into this one (h5repack).")
    return dataset


def _axes_of(dataset: h5py.Dataset, path: Path) -> Zyx:
    """Where z, y and x are: as ilastik's ``axistags`` say, else the last three."""
    tags = dataset.attrs.get("axistags")
    keys = [axis["key"] for axis in json.loads(tags)["axes"]] if tags is not None else list("zyx")
    if tags is None:
        keys = ["?"] * (dataset.ndim - 3) + keys
    others = [n for key, n in zip(keys, dataset.shape, strict=True) if key not in "zyx"]
    if not {"z", "y", "x"} <= set(keys) or any(n != 1 for n in others):
        raise InputError(
            f"{path}: the dataset has shape {dataset.shape}, axes {', '.join(keys)}; it must have z, y, x, "
            "and all others must have one entry: save one channel and one time point."
        )
    return keys.index("z"), keys.index("y"), keys.index("x")


def _spacing_of(dataset: h5py.Dataset, axes: Zyx, path: Path) -> list[float] | None:
    """Millimetres a voxel from ``element_size_um``, in the order of the dataset's axes, as ImageJ has it.

    Source: https://imswitch.readthedocs.io/en/stable/Hdf5datafile.html
    """
    if "element_size_um" not in dataset.attrs:
        return None
    sizes = [float(size) / 1000 for size in np.ravel(dataset.attrs["element_size_um"])]
    if len(sizes) == 3:  # one for each axis of space, whatever other axes there are
        return [sizes[sorted(axes).index(axis)] for axis in axes]
    if len(sizes) == dataset.ndim:
        return [sizes[axis] for axis in axes]
    raise InputError(f"{path}: element_size_um has {len(sizes)} numbers; it must have one an axis: pass --spacing.")


def write(path: Path, volume: Volume, tell: Tell) -> None:
    """Write ``volume`` as the dataset ``/data``, in compressed chunks, with ``element_size_um``."""
    z, y, x = volume.shape
    chunk = (min(_CHUNK, z), min(_CHUNK, y), min(_CHUNK, x))
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            _NAME, volume.shape, volume.dtype, chunks=chunk, compression="gzip", compression_opts=1, shuffle=True
        )
        if volume.spacing_mm is not None:
            dataset.attrs["element_size_um"] = [1000 * size for size in volume.spacing_mm]
        for box, voxels in slabs(volume, shard_boxes(volume.shape, volume.dtype.itemsize, chunk), tell):
            dataset[box.slices] = voxels
