"""MetaImage, attached (``.mha``) or with a data file (``.mhd``), compressed or not.

Source: https://docs.itk.org/en/latest/learn/metaio.html, reference of tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume
from ps3d_rt.io.detached import named_in
from ps3d_rt.io.mapped import inflated, map_voxels, shape_from_xyz, unpack_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.readable import readable
from ps3d_rt.io.slabs import Tell, stored_as, write_planes
from ps3d_rt.io.units import mm_per

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_TYPE_OF = {dtype: name for name, dtype in reversed(_TYPES.items())}
_LONGEST_LINE = 4096


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``: mapped, or if it is compressed unpacked to a temporary file first.

    Raises:
        InputError: if the file is cut short, is not 3-D gray, or its data are text or in several files.
    """
    source = str(path)
    with readable(source, "the MetaImage header"), path.open("rb") as file:
        tags = _tags(file, path)
        start_bytes = file.tell()
        shape = shape_from_xyz([int(n) for n in tags["DimSize"].split()], source)
        dtype = _dtype_of(tags, path)
        spacing = spacing_mm if spacing_mm is not None else _spacing_of(tags)
        header_bytes = int(tags.get("HeaderSize", 0))
    if tags["ElementDataFile"] == "LOCAL":
        data, offset = path, start_bytes
    else:
        data, offset = named_in(path, tags["ElementDataFile"]), header_bytes
    if _is_true(tags, "CompressedData"):
        with data.open("rb") as file:
            file.seek(max(0, offset))
            array = unpack_voxels(inflated(file), shape, dtype, source=str(data))
    else:
        array = map_voxels(data, shape, dtype, offset_bytes=offset)
    return ArrayVolume(array, spacing, name=stem_of(path), source=source)


def _tags(file: IO[bytes], path: Path) -> dict[str, str]:
    """Read ``Tag = value`` lines; ElementDataFile is the last."""
    tags: dict[str, str] = {}
    while line := file.readline(_LONGEST_LINE):
        tag, equals, value = line.decode("latin-1").partition("=")
        if not equals:
            break
        tags[tag.strip()] = value.strip()
        if tag.strip() == "ElementDataFile":
            return tags
    raise InputError(f"{path}: the MetaImage header has no end; it is cut short or another file: export it again.")


def _is_true(tags: Mapping[str, str], *names: str) -> bool:
    return any(tags.get(name, "").lower() in ("true", "1") for name in names)


def _dtype_of(tags: Mapping[str, str], path: Path) -> np.dtype[Any]:
    dtype, channels = _TYPES.get(tags["ElementType"]), tags.get("ElementNumberOfChannels", "1")
    if dtype is None or channels != "1":
        raise InputError(
            f"{path}: found {channels} channels of {tags['ElementType']}; a volume has one gray value a voxel, "
            f"of type {', '.join(_TYPES)}: save one channel."
        )
    if tags.get("BinaryData", "True").lower() == "false":
        raise InputError(f"{path}: the voxels are text; save them as binary data.")
    big = _is_true(tags, "ElementByteOrderMSB", "BinaryDataByteOrderMSB")
    return np.dtype(dtype).newbyteorder(">" if big else "<")


def _spacing_of(tags: Mapping[str, str]) -> list[float] | None:
    """Millimetres a voxel, z, y, x. MetaImage has no unit as a rule and ITK takes millimetres."""
    said = tags.get("ElementSpacing", tags.get("ElementSize"))
    mm = mm_per(tags.get("DistanceUnits", "mm"))
    if said is None or mm is None:
        return None
    x, y, z = (float(size) * mm for size in said.split())
    return [z, y, x]


def write(path: Path, volume: Volume, tell: Tell) -> None:
    """Write ``volume`` with an attached header, not compressed; bool as uint8."""
    dtype, name = stored_as(volume, _TYPE_OF, "MHA")
    z, y, x = volume.shape
    tags = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "DimSize": f"{x} {y} {z}",
    }
    if volume.spacing_mm is not None:
        dz, dy, dx = volume.spacing_mm
        tags["ElementSpacing"] = f"{dx!r} {dy!r} {dz!r}"
    tags |= {"ElementType": name, "ElementDataFile": "LOCAL"}
    with path.open("wb") as file:
        file.write("".join(f"{tag} = {value}\n" for tag, value in tags.items()).encode("ascii"))
        write_planes(file, volume, dtype, tell)
