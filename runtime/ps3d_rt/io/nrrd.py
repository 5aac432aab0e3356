"""NRRD, attached (``.nrrd``) or with a detached header (``.nhdr``): raw, gzip or bzip2."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume, check_shape
from ps3d_rt.io.data_file import named_in, open_several, several_names
from ps3d_rt.io.memory_map import blocks_of, map_voxels, unpack_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.nrrd_header import Axis, NrrdHeader, read_header, spatial_axes
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slabs import OnProgress, stored_as, write_planes
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts, stated_spacing

_NAMES = {
    "i1": ("int8", "int8_t", "signed char"),
    "u1": ("uint8", "uint8_t", "uchar", "unsigned char"),
    "i2": ("int16", "int16_t", "short", "short int", "signed short", "signed short int"),
    "u2": ("uint16", "uint16_t", "ushort", "unsigned short", "unsigned short int"),
    "i4": ("int32", "int32_t", "int", "signed int"),
    "u4": ("uint32", "uint32_t", "uint", "unsigned int"),
    "i8": ("int64", "int64_t", "longlong", "long long", "long long int", "signed long long", "signed long long int"),
    "u8": ("uint64", "uint64_t", "ulonglong", "unsigned long long", "unsigned long long int"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPE_OF = {name: dtype for dtype, names in _NAMES.items() for name in names}
_OPENERS = {"raw": None, "gzip": gzip.open, "gz": gzip.open, "bzip2": bz2.open, "bz2": bz2.open}


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``: mapped, or if it is compressed unpacked to a temporary file first.

    Raises:
        InputError: if the file is cut short, is not 3-D, or its data are text, or compressed in several files.
    """
    with read_errors(str(path), "the NRRD header"), path.open("rb") as file:
        header = read_header(file, path)
        start_bytes = file.tell()
    axes = spatial_axes(header.axes(), path)
    shape = check_shape((axes[2].size, axes[1].size, axes[0].size), str(path))
    dtype, encoding = _dtype_of(header), header.text("encoding")
    if encoding not in _OPENERS:
        raise InputError(
            f"{path}: the encoding is {encoding}; the supported ones are {', '.join(_OPENERS)}: save it as raw."
        )
    stated = spacing_that_counts(spacing_mm, lambda: _spacing_of(header, axes), str(path))
    named = header.fields.get("datafile")
    several = None if named is None else several_names(path, named, header.lines)
    lines, skip_bytes = header.whole("lineskip"), header.whole("byteskip")
    volume: Volume
    if several is not None:
        if encoding != "raw" or lines:
            raise InputError(
                f"{path}: the voxels lie in {len(several)} files of encoding {encoding} with {lines} lines to skip; "
                "several files are read raw and without lines: save them as one."
            )
        volume = open_several(path, several, shape, dtype, stated.spacing_mm, skip_bytes)
    else:
        data, offset = (path, start_bytes) if named is None else (named_in(path, named), 0)
        array = _voxels(data, encoding, shape, dtype, skip=(offset, lines, skip_bytes))
        volume = ArrayVolume(array, stated.spacing_mm, name=stem_of(path), source=str(path))
    volume.warn(*stated.remarks)
    return volume


def _voxels(
    data: Path, encoding: str, shape: Zyx, dtype: np.dtype[Any], *, skip: tuple[int, int, int]
) -> np.ndarray[Any, Any]:
    """Map or unpack the voxels behind the bytes, lines and bytes to ``skip``, the last of them unpacked ones."""
    start_bytes, lines, skip_bytes = skip
    with read_errors(str(data), "the voxels"), data.open("rb") as file:
        file.seek(start_bytes)
        for _ in range(lines):
            if not file.readline():
                break
        opener = _OPENERS[encoding]
        if opener is None:
            offset = -1 if skip_bytes == -1 else file.tell() + skip_bytes
            return map_voxels(data, shape, dtype, offset_bytes=offset)
        with opener(file) as packed:
            blocks = blocks_of(packed)
            return unpack_voxels(blocks, shape, dtype, source=str(data), skip_bytes=max(0, skip_bytes))


def _dtype_of(header: NrrdHeader) -> np.dtype[Any]:
    dtype = _DTYPE_OF.get(header.text("type"))
    if dtype is None:
        raise InputError(
            f"{header.path}: the voxels are of type '{header.fields['type']}'; save them as integers or floats."
        )
    return np.dtype(dtype).newbyteorder(">" if header.fields.get("endian", "little").lower() == "big" else "<")


def _spacing_of(header: NrrdHeader, axes: list[Axis]) -> StatedSpacing:
    """Say how large a voxel is.

    A named space, such as left-posterior-superior, is in millimetres unless it says otherwise, as ITK takes it.
    """
    x, y, z = axes
    usual = "mm" if "space" in header.fields and "spacedirections" in header.fields else None
    return stated_spacing([z.step, y.step, x.step], [z.unit, y.unit, x.unit], str(header.path), usual_unit=usual)


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write ``volume`` with an attached header, raw, with ``space units`` mm; bool as uint8."""
    dtype, names = stored_as(volume, _NAMES, "NRRD")
    z, y, x = volume.shape
    lines = ["NRRD0005", f"type: {names[0]}", "dimension: 3"]
    if volume.spacing_mm is not None:
        dz, dy, dx = volume.spacing_mm
        lines += ["space dimension: 3", f"sizes: {x} {y} {z}"]
        lines += [f"space directions: ({dx!r},0,0) (0,{dy!r},0) (0,0,{dz!r})", 'space units: "mm" "mm" "mm"']
        lines += ["kinds: domain domain domain", "space origin: (0,0,0)"]
    else:
        lines += [f"sizes: {x} {y} {z}"]
    lines += ["endian: little", "encoding: raw", "", ""]
    with path.open("wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        write_planes(file, volume, dtype, on_progress)
