"""MetaImage, attached (``.mha``) or with a data file (``.mhd``), compressed or not.

Source: https://docs.itk.org/en/latest/learn/metaio.html, reference of tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume, check_shape
from ps3d_rt.io.data_file import header_text, named_in, open_several, several_names
from ps3d_rt.io.memory_map import inflated, map_voxels, unpack_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slabs import OnProgress, stored_as, write_planes
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts, stated_spacing
from ps3d_rt.io.units import decimal_number

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
_LONGEST_LIST = 2**24


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``: mapped, or if it is compressed unpacked to a temporary file first.

    Raises:
        InputError: if the file is cut short, is not 3-D gray, or its data are text, or compressed in several files.
    """
    with read_errors(str(path), "the MetaImage header"), path.open("rb") as file:
        tags, lines = _tags(file, path)
        start_bytes = file.tell()
    axes, shape = _axes_of(tags, path)
    dtype = _dtype_of(tags, path)
    stated = spacing_that_counts(spacing_mm, lambda: _spacing_of(tags, axes, path), str(path))
    header_bytes = _whole_numbers(tags.get("HeaderSize", "0"), "HeaderSize", path)[0]
    named, packed = tags["ElementDataFile"], _is_true(tags, "CompressedData")
    several = several_names(path, named, lines)
    volume: Volume
    if several is not None:
        if packed:
            raise InputError(f"{path}: the voxels lie in {len(several)} compressed files; save them as one.")
        volume = open_several(path, several, shape, dtype, stated.spacing_mm, header_bytes)
    else:
        local = named.upper() == "LOCAL"
        data, offset = (path, start_bytes) if local else (named_in(path, named), header_bytes)
        volume = ArrayVolume(
            _voxels(data, offset, shape, dtype, packed=packed), stated.spacing_mm, name=stem_of(path), source=str(path)
        )
    volume.warn(*stated.remarks, *_rescaling(tags, path))
    return volume


def _voxels(data: Path, offset: int, shape: Zyx, dtype: np.dtype[Any], *, packed: bool) -> np.ndarray[Any, Any]:
    if not packed:
        return map_voxels(data, shape, dtype, offset_bytes=offset)
    with data.open("rb") as file:
        file.seek(max(0, offset))
        return unpack_voxels(inflated(file), shape, dtype, source=str(data))


def _tags(file: IO[bytes], path: Path) -> tuple[dict[str, str], list[str]]:
    """Read ``Tag = value`` lines; ElementDataFile is the last, but for the names of a list."""
    tags: dict[str, str] = {}
    while line := file.readline(_LONGEST_LINE):
        tag, equals, value = header_text(line).partition("=")
        if not equals:
            break
        tags[tag.strip()] = value.strip()
        if tag.strip() == "ElementDataFile":
            needed = [name for name in ("DimSize", "ElementType") if name not in tags]
            if needed:
                raise InputError(f"{path}: the MetaImage header lacks {needed[0]}; correct it, or export it again.")
            is_list = tags["ElementDataFile"].upper().startswith("LIST")
            return tags, [header_text(name) for name in file.readlines(_LONGEST_LIST)] if is_list else []
    raise InputError(f"{path}: the MetaImage header has no end; it is cut short or another file: export it again.")


def _whole_numbers(text: str, tag: str, path: Path) -> list[int]:
    try:
        return [int(part) for part in text.split()] or [int("")]
    except ValueError as error:
        raise InputError(
            f"{path}: {tag} is '{text[:80]}'; it must be whole numbers: correct it, or export the file again."
        ) from error


def _axes_of(tags: Mapping[str, str], path: Path) -> tuple[list[int], Zyx]:
    """Which axes of the header are x, y, z, and the shape: those of one entry are dropped where there are more."""
    sizes = _whole_numbers(tags["DimSize"], "DimSize", path)
    axes = list(range(len(sizes)))
    for axis in reversed(range(len(sizes))):
        if len(axes) > 3 and sizes[axis] == 1:
            axes.remove(axis)
    return axes, check_shape([sizes[axis] for axis in reversed(axes)], str(path))


def _is_true(tags: Mapping[str, str], *names: str) -> bool:
    return any(tags.get(name, "").lower() in ("true", "1") for name in names)


def _dtype_of(tags: Mapping[str, str], path: Path) -> np.dtype[Any]:
    dtype, channels = _TYPES.get(tags["ElementType"]), tags.get("ElementNumberOfChannels", "1")
    if dtype is None or channels != "1":
        raise InputError(
            f"{path}: found {channels} channels of {tags['ElementType']}; a volume has one gray value per voxel, "
            f"of type {', '.join(_TYPES)}: save one channel."
        )
    if tags.get("BinaryData", "True").lower() == "false":
        raise InputError(f"{path}: the voxels are text; save them as binary data.")
    big = _is_true(tags, "ElementByteOrderMSB", "BinaryDataByteOrderMSB")
    return np.dtype(dtype).newbyteorder(">" if big else "<")


def _spacing_of(tags: Mapping[str, str], axes: list[int], path: Path) -> StatedSpacing:
    """Read the voxel size. MetaImage usually names no unit; ITK takes millimetres."""
    said = tags.get("ElementSpacing", tags.get("ElementSize"))
    if said is None:
        return StatedSpacing()
    sizes = [decimal_number(size) for size in said.split()]
    if len(sizes) <= max(axes):
        return StatedSpacing(None, (f"{path}: gives '{said[:80]}' as the voxel size; it must be one number an axis.",))
    unit = tags.get("DistanceUnits")
    stated = stated_spacing([sizes[axis] for axis in reversed(axes)], [unit] * 3, str(path), usual_unit="mm")
    size = tags.get("ElementSize", said)
    other = [decimal_number(part) for part in size.split()]
    if size == said or other == sizes or set(other) == {1.0}:  # 1 is what programs fill in
        return stated
    differs = f"{path}: ElementSpacing says {said}, ElementSize {size}: the first counts; check them."
    return StatedSpacing(stated.spacing_mm, (*stated.remarks, differs))


def _rescaling(tags: Mapping[str, str], path: Path) -> list[str]:
    """Tags that give stored numbers another meaning, which is left aside."""
    slope = tags.get("ElementToIntensityFunctionSlope", "1")
    offset = tags.get("ElementToIntensityFunctionOffset", "0")
    if decimal_number(slope) == 1 and decimal_number(offset) == 0:
        return []
    return [
        f"{path}: says that gray values are the stored ones times {slope} plus {offset}; the stored ones are taken."
    ]


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
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
        tags |= {"ElementSpacing": f"{dx!r} {dy!r} {dz!r}", "DistanceUnits": "mm"}
    tags |= {"ElementType": name, "ElementDataFile": "LOCAL"}
    with path.open("wb") as file:
        file.write("".join(f"{tag} = {value}\n" for tag, value in tags.items()).encode("ascii"))
        write_planes(file, volume, dtype, on_progress)
