"""NIfTI 1 and 2, ``.nii`` and ``.nii.gz``: axes x, y, z become z, y, x; orientation in space is left aside."""

from __future__ import annotations

import gzip
from math import isfinite
from pathlib import Path
from typing import Any, final

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume, check_dtype
from ps3d_rt.io.mapped import blocks_of, map_voxels, shape_from_xyz, unpack_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.readable import readable
from ps3d_rt.io.slabs import Tell, write_planes
from ps3d_rt.io.units import mm_per

_NIFTI_1_LONGEST = 32767
"""Voxels of a side that NIfTI 1, with its 16-bit numbers, can hold."""


@final
class ScaledVolume(Volume):
    """Stored numbers that mean ``stored · slope + intercept``; float32, or float64 if 16 bits do not hold them."""

    def __init__(
        self,
        array: np.ndarray[Any, Any],
        scale: tuple[float, float],
        spacing_mm: SpacingMm | list[float] | None,
        path: Path,
    ) -> None:
        dtype = np.dtype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
        super().__init__(source=str(path), name=stem_of(path), shape=array.shape, dtype=dtype, spacing_mm=spacing_mm)
        self._array: np.ndarray[Any, Any] | None = array
        self._slope, self._intercept = scale

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        if self._array is None:
            raise InputError(f"{self.source}: the volume is closed; open it again.")
        np.multiply(self._array[box.slices], self._slope, out=out, dtype=out.dtype, casting="unsafe")
        out += self._intercept

    def close(self) -> None:
        """Let go of the file."""
        self._array = None


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``: mapped, or for ``.nii.gz`` unpacked to a temporary file first.

    Raises:
        InputError: if the file is cut short, or is not a NIfTI file of one 3-D volume.
    """
    with readable(str(path), "the NIfTI header", also=(ImageFileError, HeaderDataError, WrapStructError)):
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise InputError(f"{path}: found {type(image).__name__}; a .nii file must be NIfTI 1 or 2.")
        stored: Any = image.dataobj
        header: Any = image.header
        dtype = check_dtype(np.dtype(header.get_data_dtype()), str(path))
        shape = shape_from_xyz(stored.shape, str(path))
        scale = float(stored.slope), float(stored.inter)
        spacing = spacing_mm if spacing_mm is not None else _spacing_of(header)
        offset = int(stored.offset)
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            array = unpack_voxels(blocks_of(file), shape, dtype, source=str(path), skip_bytes=offset)
    else:
        array = map_voxels(path, shape, dtype, offset_bytes=offset)
    if scale == (1.0, 0.0):
        return ArrayVolume(array, spacing, name=stem_of(path), source=str(path))
    if not (all(map(isfinite, scale)) and scale[0]):
        raise InputError(f"{path}: the values are scaled by {scale[0]} and {scale[1]}; export the file again.")
    return ScaledVolume(array, scale, spacing, path)


def _spacing_of(header: Any) -> list[float] | None:
    """Millimetres a voxel, z, y, x; None if the header names no unit."""
    mm = mm_per(header.get_xyzt_units()[0])
    x, y, z = header.get_zooms()[:3]
    return None if mm is None else [mm * float(str(size)) for size in (z, y, x)]  # 0.01, not 0.009999999776


def write(path: Path, volume: Volume, tell: Tell) -> None:
    """Write ``volume`` as NIfTI 1, or 2 where a side is too long for it; gzipped if the name ends so; bool as uint8."""
    z, y, x = volume.shape
    kind: Any = nibabel.Nifti1Header if max(volume.shape) <= _NIFTI_1_LONGEST else nibabel.Nifti2Header
    header = kind()
    dtype = np.dtype(np.uint8 if volume.dtype == bool else volume.dtype).newbyteorder("<")
    try:
        header.set_data_dtype(dtype)
    except HeaderDataError as error:
        raise InputError(
            f"{volume.source}: NIfTI cannot hold {volume.dtype}; allowed are bool, integers, float32 and float64."
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
        write_planes(file, volume, dtype, tell)
