"""``scan.vgi`` of VGStudio: size, type and header bytes of ``[file1]``, resolution and unit of ``[geometry]``.

Little-endian voxels, x first. Source: the readers of open_iA and DREAM3D-NX, which are public.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from ps3d_rt.errors import InputError
from ps3d_rt.io.data_file import named_in
from ps3d_rt.io.ini import count_in, counts_in, ini_sections, value_in
from ps3d_rt.io.memory_map import shape_from_xyz
from ps3d_rt.io.sidecars.layout import RawLayout
from ps3d_rt.io.spacing import StatedSpacing, stated_spacing
from ps3d_rt.io.text_file import read_text
from ps3d_rt.io.units import decimal_number

_TYPES = {
    ("unsigned integer", "8"): "u1",
    ("unsigned integer", "16"): "<u2",
    ("unsigned integer", "32"): "<u4",
    ("signed integer", "8"): "i1",
    ("signed integer", "16"): "<i2",
    ("signed integer", "32"): "<i4",
    ("float", "32"): "<f4",
    ("float", "64"): "<f8",
}


def read_vgi(path: Path, data: Path | None) -> RawLayout:
    """Read the layout of the one volume in one raw file; InputError if it is another."""
    source = str(path)
    groups = re.split(r"^\{(.*)\}\s*$", read_text(path), flags=re.MULTILINE)
    sections = {name: ini_sections(text) for name, text in zip(groups[1::2], groups[2::2], strict=True)}
    volumes = [name for name in sections if re.fullmatch(r"volume\d*", name)]
    if len(volumes) != 1 or "file2" in sections[volumes[0]]:
        raise InputError(f"{path}: describes {len(volumes)} volumes; it must be one, in one file: save it by itself.")
    volume = sections[volumes[0]]
    file = {**volume.get("representation", {}), **volume.get("file1", {})}
    if file.get("fileformat", "raw").lower() != "raw":
        raise InputError(f"{path}: the data are '{file['fileformat']}'; export them as raw.")
    kind = value_in(file, "Datatype", source).lower(), value_in(file, "BitsPerElement", source)
    if kind not in _TYPES:
        allowed = ", ".join(" ".join(pair) for pair in _TYPES)
        raise InputError(f"{path}: the voxels are {' '.join(kind)} bit; the allowed types are {allowed}.")
    geometry = next(
        (group["geometry"] for group in sections.values() if "resolution" in group.get("geometry", {})), None
    )
    return RawLayout(
        said_by=path,
        data=data or named_in(path, PureWindowsPath(value_in(file, "Name", source)).name),
        shape=shape_from_xyz(counts_in(file, "Size", source), source),
        dtype=_TYPES[kind],
        offset_bytes=count_in(file, "SkipHeader", source) if "skipheader" in file else 0,
        spacing=_spacing(geometry, source),
    )


def _spacing(geometry: dict[str, str] | None, source: str) -> StatedSpacing:
    """Say how large a voxel is; millimetres if no unit is named, as VGStudio counts."""
    if geometry is None:
        return StatedSpacing()
    said = value_in(geometry, "resolution", source)
    sizes = [decimal_number(part) for part in said.split()]
    if len(sizes) not in (1, 3):
        return StatedSpacing(
            None, (f"{source}: gives '{said[:80]}' as the voxel size; it must be one number an axis.",)
        )
    return stated_spacing(
        (sizes * 3 if len(sizes) == 1 else sizes)[::-1], [geometry.get("unit")] * 3, source, usual_unit="mm"
    )
