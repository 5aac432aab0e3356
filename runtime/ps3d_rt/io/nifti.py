"""NIfTI 1 and 2, ``.nii`` and ``.nii.gz``: axes x, y, z become z, y, x; orientation in space is left aside."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume, check_dtype
from ps3d_rt.io.converted import rescaled
from ps3d_rt.io.memory_map import blocks_of, check_gzip, map_voxels, shape_from_xyz, unpack_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.read_errors import read_errors, words_of
from ps3d_rt.io.slabs import OnProgress, write_planes
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts, stated_spacing

_NIFTI_1_LONGEST = 32767
"""Voxels of a side that NIfTI 1, with its 16-bit numbers, can hold."""


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``: mapped, or for ``.nii.gz`` unpacked to a temporary file first.

    Raises:
        InputError: if the file is cut short, or is not a NIfTI file of one 3-D volume.
    """
    is_packed = path.suffix.lower() == ".gz"
    if is_packed:
        check_gzip(path)
    with read_errors(str(path), "the NIfTI header", also=(ImageFileError, HeaderDataError, WrapStructError)):
        with _without_repairs():
            try:
                image = nibabel.load(path)
            except ImageFileError as error:
                raise InputError(
                    f"{path}: is not a NIfTI file, or its start is damaged; copy or export it again{words_of(error)}."
                ) from error
        if not isinstance(image, nibabel.Nifti1Image):
            raise InputError(f"{path}: found {type(image).__name__}; a .nii file must be NIfTI 1 or 2.")
        stored: Any = image.dataobj
        dtype = check_dtype(np.dtype(stored.dtype), str(path))
        shape = shape_from_xyz(stored.shape, str(path))
        slope, intercept = float(stored.slope), float(stored.inter)
        kind = type(image).header_class
        stated = spacing_that_counts(spacing_mm, lambda: _spacing_of(kind, path), str(path))
        offset = int(stored.offset)
    if not (isfinite(slope) and isfinite(intercept) and slope):
        raise InputError(f"{path}: the values are scaled by {slope} and {intercept}; export the file again.")
    if is_packed:
        with gzip.open(path) as file:
            array = unpack_voxels(blocks_of(file), shape, dtype, source=str(path), skip_bytes=offset)
    else:
        array = map_voxels(path, shape, dtype, offset_bytes=offset)
    volume: Volume = ArrayVolume(array, stated.spacing_mm, name=stem_of(path), source=str(path))
    volume.warn(*stated.remarks)
    return volume if (slope, intercept) == (1, 0) else rescaled(volume, slope, intercept)


@contextmanager
def _without_repairs() -> Iterator[None]:
    """Silence what nibabel says of headers that it repairs: what matters here is read from the file itself."""
    logger = nibabel.imageglobals.logger
    was = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = was


def _spacing_of(kind: Any, path: Path) -> StatedSpacing:
    """Read the voxel size from the stored header: nibabel turns a size of 0 into 1."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        header = kind.from_fileobj(file, check=False)
    x, y, z = (float(str(size)) for size in header["pixdim"][1:4])  # 0.01, not 0.009999999776
    unit = header.get_xyzt_units()[0]
    return stated_spacing([z, y, x], [None if unit == "unknown" else unit] * 3, str(path))


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write ``volume`` as NIfTI 1, or 2 where a side is too long for it; gzipped if the name ends so; bool as uint8."""
    z, y, x = volume.shape
    kind: Any = nibabel.Nifti1Header if max(volume.shape) <= _NIFTI_1_LONGEST else nibabel.Nifti2Header
    header = kind()
    dtype = np.dtype(np.uint8 if volume.dtype == bool else volume.dtype).newbyteorder("<")
    try:
        header.set_data_dtype(dtype)
    except HeaderDataError as error:
        raise InputError(
            f"{volume.source}: NIfTI cannot hold {volume.dtype}; the allowed types are bool, integers, "
            "float32 and float64."
        ) from error
    header.set_data_shape((x, y, z))
    if volume.spacing_mm is not None:
        dz, dy, dx = volume.spacing_mm
        header.set_zooms((dx, dy, dz))
        header.set_xyzt_units("mm")
        header.set_sform(np.diag([dx, dy, dz, 1.0]), code=1)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    packed = path.name.removesuffix(".partial").lower().endswith(".gz")
    with path.open("wb") as out, gzip.GzipFile("", "wb", 1, out, 0) if packed else out as file:
        file.write(header.binaryblock)
        file.write(bytes(header.single_vox_offset - len(header.binaryblock)))
        write_planes(file, volume, dtype, on_progress)
