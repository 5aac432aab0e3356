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
from ps3d_rt.io.names import FORMATS, ZARR_MARKS, check_name, ending_of, file_and_inside
from ps3d_rt.io.remote import address_of

_PACKED = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
_PAIR = {".hdr", ".img"}
_PAIR_STARTS = {(348).to_bytes(4, "little"), (348).to_bytes(4, "big")}
"""Bytes of the header of Analyze 7.5, and of NIfTI that takes its place."""


def open_volume(
    path: str | Path,
    *,
    spacing_mm: float | Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    dtype: str | np.dtype[Any] | None = None,
    offset_bytes: int | None = None,
) -> Volume:
    """Open a scan or a label volume; voxels are read when asked for.

    Args:
        path: see ``docs/formats.md``; a dataset of an HDF5 file is ``scan.h5:/group/data``; zarr may lie at an address
            that fsspec opens, such as ``s3://bucket/scan.zarr``.
        spacing_mm: millimetres a voxel, one number or z, y, x; wins over what the file says.
        shape: voxels z, y, x; for raw files, which do not say.
        dtype: NumPy name such as ``uint16``, or ``>u2`` for big endian; for raw files without a description.
        offset_bytes: of a header in front of the voxels of a raw file; None is 0.

    Raises:
        InputError: if the file is missing, broken, of an unknown format, or not a single-channel 3-D volume.
    """
    spacing = None if spacing_mm is None else check_spacing(spacing_mm, "spacing")
    address = address_of(path)
    if address is not None:
        _refuse_layout(address, shape, dtype, offset_bytes)
        remote = cast(Volume, import_module("ps3d_rt.io.zarr_volume").open_address(address, spacing))
        remote._reopened_by = _reopen, (address, spacing, None, None, None)
        return remote
    path = Path(path)
    check_name(path)
    file, _ = file_and_inside(path)
    try:
        is_there = file.exists()
    except OSError as error:  # a name that is none here
        raise InputError(f"{file}: is not a valid path; check the path — {error.strerror}.") from error
    if not is_there:
        raise InputError(f"{file}: there is no such file or folder; check the path.")
    if file.is_file() and not file.stat().st_size:
        raise InputError(f"{file}: is empty, a file of 0 bytes; copy or export it again.")
    volume = _open(path, spacing, shape, dtype, offset_bytes)
    sides = None if shape is None else tuple(shape)
    volume.path = path.absolute()
    volume._reopened_by = _reopen, (volume.path, spacing, sides, dtype, offset_bytes)
    return volume


@lru_cache(maxsize=2)
def _reopen(
    path: str | Path, spacing: SpacingMm | None, shape: tuple[int, ...] | None, dtype: Any, offset_bytes: int | None
) -> Volume:
    """Open what was pickled: tasks follow each other fast, and a scan may have thousands of pages to check."""
    return open_volume(path, spacing_mm=spacing, shape=shape, dtype=dtype, offset_bytes=offset_bytes)


def _open(
    path: Path,
    spacing: SpacingMm | None,
    shape: Sequence[int] | None,
    dtype: str | np.dtype[Any] | None,
    offset_bytes: int | None,
) -> Volume:
    file = file_and_inside(path)[0]
    module = "raw" if _is_raw(file, laid_out=shape is not None and dtype is not None) else _format_of(file)
    if module == "raw":
        from ps3d_rt.io.raw import open_raw  # noqa: PLC0415

        return open_raw(path, spacing, shape, dtype, offset_bytes)
    _refuse_layout(path, shape, dtype, offset_bytes)
    return cast(Volume, import_module(f"ps3d_rt.io.{module}").open_file(path, spacing))


def _refuse_layout(path: str | Path, *layout: object) -> None:
    if any(said is not None for said in layout):
        raise InputError(
            f"{path}: the file knows its shape and dtype; --shape, --dtype and --offset are for raw files: "
            "leave them out."
        )


def _is_raw(path: Path, *, laid_out: bool) -> bool:
    """Whether a file whose name tells no format holds raw voxels, because the caller or a file beside it says how."""
    if path.is_dir() or ending_of(path) is not None:
        return False
    from ps3d_rt.io.raw import is_described  # noqa: PLC0415

    return laid_out or is_described(path)


def _format_of(path: Path) -> str:
    if path.is_dir():
        is_zarr = path.suffix == ".zarr" or any((path / mark).exists() for mark in ZARR_MARKS)
        return "zarr_volume" if is_zarr else "slices.folder"
    ending = ending_of(path)
    if path.suffix.lower() in _PACKED and ending is None:
        raise InputError(f"{path}: is an archive; unpack it, and give what is inside.")
    if ending == ".zarr":
        raise InputError(f"{path}: is a file; a zarr volume is a folder: copy the whole folder, or unpack it.")
    if path.suffix.lower() == ".npz":
        raise InputError(
            f"{path}: is a NumPy archive, which holds arrays by name; save the volume alone, in Python: "
            f"numpy.save('{path.stem}.npy', numpy.load('{path.name}')['NAME'])."
        )
    if path.suffix.lower() in _PAIR and _has_pair_header(path.with_suffix(".hdr" if path.suffix.islower() else ".HDR")):
        raise InputError(
            f"{path}: is half of an image in two files, {path.stem}.hdr and {path.stem}.img (Analyze 7.5 or NIfTI); "
            f"save it as one file, in Python: nibabel.save(nibabel.load('{path.name}'), '{path.stem}.nii')."
        )
    if ending is None:
        allowed = ", ".join(FORMATS)
        raise InputError(
            f"{path}: a file of type '{path.suffix}' cannot be read; readable types are {allowed} (a folder) "
            "and a folder of slices: convert it to one of them. If it holds raw voxels, pass --shape and --dtype."
        )
    return FORMATS[ending]


def _has_pair_header(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _PAIR_STARTS
