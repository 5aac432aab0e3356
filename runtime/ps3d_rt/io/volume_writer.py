"""Save a volume in any format that can be written, slab by slab, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.errors import InputError, cannot_write
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.base import ArrayVolume, Volume
from ps3d_rt.io.names import ZARR_MARKS, ending_of, stem_of
from ps3d_rt.io.slabs import OnProgress

_WRITERS = {
    ".zarr": "zarr_volume",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".mha": "metaimage",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".npy": "npy",
    ".raw": "raw",
}
"""Ending of the name → module of this package that writes it, loaded on use."""


def write_volume(
    path: str | Path, array: np.ndarray[Any, Any], spacing_mm: float | Sequence[float] | None = None
) -> None:
    """Save an array: :func:`save_volume` of an :class:`ArrayVolume`.

    Args:
        path: as for :func:`save_volume`; must not exist.
        array: (z, y, x), image or labels, integer, float or bool.
        spacing_mm: millimetres a voxel, one number or z, y, x.

    Raises:
        InputError: if the path, the array or the spacing cannot be used.
    """
    path = Path(path)
    save_volume(ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path)), path)


def save_volume(
    volume: Volume, path: str | Path, *, overwrite: bool = False, on_progress: OnProgress = lambda _: None
) -> None:
    """Write ``volume`` with its dtype and its spacing; an ``.npy`` cannot hold the spacing.

    Args:
        volume: image or labels.
        path: its ending names the format; missing folders are made. With ``.raw``, ``.raw.json`` is written too.
        overwrite: replace what is there, at the very end: a file, or a zarr folder.
        on_progress: called after each slab with the number of its voxels.

    Raises:
        InputError: if the path is taken, the format does not hold the dtype, or ``volume`` cannot be read.
        InterruptedRun: if the disk is full, or another program has the file open; nothing is left of it.
    """
    path = Path(path)
    ending = _check_target(path)
    module = import_module(f"ps3d_rt.io.{_WRITERS[ending]}")
    try:
        with ExitStack() as files:
            voxels = files.enter_context(atomic_write(path, overwrite=overwrite))
            if ending == ".raw":
                beside = path.with_name(path.name + ".json")
                module.write_layout(files.enter_context(atomic_write(beside, overwrite=overwrite)), volume)
            module.write(voxels, volume, on_progress)
    except OSError as error:
        raise cannot_write(path, error) from error


def _check_target(path: Path) -> str:
    """Return the ending of a path that may be written."""
    ending = ending_of(path)
    if ending not in _WRITERS:
        raise InputError(f"{path}: cannot write a file of type '{path.suffix}'; use one of {', '.join(_WRITERS)}.")
    same_kind = any((path / mark).exists() for mark in ZARR_MARKS) if ending == ".zarr" else path.is_file()
    if path.exists() and not same_kind:
        raise InputError(f"{path} exists and is not a {ending}; choose another name.")
    return ending
