"""Open a volume: which format a path is of, and the reader for it, loaded on use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, Volume, check_spacing
from ps3d_rt.io.names import FORMATS, ZARR_MARKS, ending_of, file_and_inside


def open_volume(
    path: str | Path,
    *,
    spacing_mm: float | Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    dtype: str | np.dtype[Any] | None = None,
) -> Volume:
    """Open a scan or a label volume; voxels are read when asked for.

    Args:
        path: see ``docs/formats.md``; a dataset of an HDF5 file is ``scan.h5:/group/data``.
        spacing_mm: millimetres a voxel, one number or z, y, x; wins over what the file says.
        shape: voxels z, y, x; for raw files, which do not say.
        dtype: NumPy name such as ``uint16``, or ``>u2`` for big endian; for raw files without a description.

    Raises:
        InputError: if the file is missing, broken, of an unknown format, or not a single-channel 3-D volume.
    """
    path = Path(path)
    spacing = None if spacing_mm is None else check_spacing(spacing_mm, "spacing")
    file, _ = file_and_inside(path)
    if not file.exists():
        raise InputError(f"{file}: there is no such file or folder; check the path.")
    volume = _open(path, spacing, shape, dtype)
    volume._reopened_by = _reopen, (path.absolute(), spacing, None if shape is None else tuple(shape), dtype)
    return volume


@lru_cache(maxsize=2)
def _reopen(path: Path, spacing: SpacingMm | None, shape: tuple[int, ...] | None, dtype: Any) -> Volume:
    """Open what was pickled: tasks follow each other fast, and a scan may have thousands of pages to check."""
    return open_volume(path, spacing_mm=spacing, shape=shape, dtype=dtype)


def _open(
    path: Path, spacing: SpacingMm | None, shape: Sequence[int] | None, dtype: str | np.dtype[Any] | None
) -> Volume:
    module = _format_of(file_and_inside(path)[0])
    if module == "raw":
        from ps3d_rt.io.raw import open_raw  # noqa: PLC0415

        return open_raw(path, spacing, shape, dtype)
    if shape is not None or dtype is not None:
        raise InputError(f"{path}: the file knows its shape and dtype; both options are for raw files: leave them out.")
    return cast(Volume, import_module(f"ps3d_rt.io.{module}").open_file(path, spacing))


def _format_of(path: Path) -> str:
    if path.is_dir():
        is_zarr = path.suffix == ".zarr" or any((path / mark).exists() for mark in ZARR_MARKS)
        return "zarr_volume" if is_zarr else "slices.folder"
    ending = ending_of(path)
    if ending is None or ending == ".zarr":
        allowed = ", ".join(FORMATS)
        raise InputError(
            f"{path}: a file of type '{path.suffix}' cannot be read; allowed are {allowed} (a folder) "
            "and a folder of TIFF slices: convert it to one of them."
        )
    return FORMATS[ending]
