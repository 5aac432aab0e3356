"""NRRD, attached (``.nrrd``) or with a detached header (``.nhdr``): raw, gzip or bzip2."""

from __future__ import annotations

import bz2
import gzip
from math import hypot
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume
from ps3d_rt.io.detached import named_in
from ps3d_rt.io.mapped import blocks_of, map_voxels, shape_from_xyz, unpack_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.readable import readable
from ps3d_rt.io.slabs import Tell, stored_as, write_planes
from ps3d_rt.io.units import mm_per

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
        InputError: if the file is cut short, is not 3-D, or its data are text or in several files.
    """
    source = str(path)
    with readable(source, "the NRRD header", also=(nrrd.NRRDError,)), path.open("rb") as file:
        if file.read(4) != b"NRRD":
            raise InputError(f"{path}: does not start with NRRD as a NRRD file does; check what it is.")
        file.seek(0)
        header = nrrd.read_header(file)
        start_bytes = file.tell()
        shape = shape_from_xyz([int(n) for n in header["sizes"]], source)
        dtype = _dtype_of(header, path)
        encoding = header["encoding"].lower()
        spacing = spacing_mm if spacing_mm is not None else _spacing_of(header)
        named = header.get("data file", header.get("datafile"))
        lines, skip_bytes = (int(header.get(f"{a} skip", header.get(f"{a}skip", 0))) for a in ("line", "byte"))
    data = path if named is None else named_in(path, named)
    if encoding not in _OPENERS:
        raise InputError(f"{path}: the encoding is {encoding}; read are {', '.join(_OPENERS)}: save it as raw.")
    with readable(source, "the voxels"), data.open("rb") as file:
        file.seek(start_bytes if named is None else 0)
        for _ in range(lines):
            file.readline()
        opener = _OPENERS[encoding]
        if opener is None:
            offset = -1 if skip_bytes == -1 else file.tell() + skip_bytes
            array = map_voxels(data, shape, dtype, offset_bytes=offset)
        else:
            with opener(file) as packed:
                blocks = blocks_of(packed)
                array = unpack_voxels(blocks, shape, dtype, source=str(data), skip_bytes=max(0, skip_bytes))
    return ArrayVolume(array, spacing, name=stem_of(path), source=source)


def _dtype_of(header: dict[str, Any], path: Path) -> np.dtype[Any]:
    dtype = _DTYPE_OF.get(header["type"])
    if dtype is None:
        raise InputError(f"{path}: the voxels are of type '{header['type']}'; save them as integers or floats.")
    return np.dtype(dtype).newbyteorder(">" if header.get("endian", "little").lower() == "big" else "<")


def _spacing_of(header: dict[str, Any]) -> list[float] | None:
    """Millimetres a voxel, z, y, x; None if there is no spacing, or no unit for it.

    A named space, such as left-posterior-superior, is in millimetres unless it says otherwise, as ITK takes it.
    """
    directions = header.get("space directions")
    if directions is not None:
        sizes = [hypot(*map(float, vector)) for vector in directions]
        units = header.get("space units", ["mm" if "space" in header else None] * 3)
    else:
        sizes = [float(size) for size in header.get("spacings", ())]
        units = header.get("units", [None] * 3)
    mm = [mm_per(unit) for unit in units]
    if len(sizes) != 3 or len(mm) != 3:
        return None
    x, y, z = (None if unit is None else size * unit for size, unit in zip(sizes, mm, strict=True))
    return None if z is None or y is None or x is None else [z, y, x]


def write(path: Path, volume: Volume, tell: Tell) -> None:
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
        write_planes(file, volume, dtype, tell)
