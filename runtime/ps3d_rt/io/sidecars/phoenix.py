"""``scan.pcr`` of GE Phoenix|x-ray datos|x: ``[VolumeData]``; the voxel size may stand in ``scan.pca``.

Little-endian voxels, x first. Source: the readers of pi2 and SlicerMorph, which are public.
"""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from ps3d_rt.errors import InputError
from ps3d_rt.io.data_file import named_in
from ps3d_rt.io.ini import count_in, ini_sections, section_in, size_in, value_in
from ps3d_rt.io.memory_map import shape_from_xyz
from ps3d_rt.io.sidecars.layout import RawLayout
from ps3d_rt.io.spacing import stated_spacing
from ps3d_rt.io.text_file import read_text

_TYPES = {"1": "u1", "3": "u1", "5": "<u2", "10": "<f4"}
"""Sources disagree whether 1 or 3 is 8 bit; the file's size decides, because it must fit."""


def read_pcr(path: Path, data: Path | None) -> RawLayout:
    """Read the layout; InputError if it is of a type that is not known."""
    source = str(path)
    said = section_in(ini_sections(read_text(path)), "VolumeData", source)
    code = value_in(said, "Format", source)
    if code not in _TYPES:
        raise InputError(
            f"{path}: the voxels have Format={code}; the known ones are 1 and 3 (8 bit), 5 (16 bit), 10 (float): "
            "pass --shape and --dtype with the .vol file."
        )
    named = PureWindowsPath(said.get("vol_file", "")).name or path.with_suffix(".vol").name
    return RawLayout(
        said_by=path,
        data=data or named_in(path, named),
        shape=shape_from_xyz([count_in(said, f"Volume_Size{axis}", source) for axis in "XYZ"], source),
        dtype=_TYPES[code],
        spacing=stated_spacing([_size_mm(path, said)] * 3, ["mm"] * 3, source),
    )


def _size_mm(path: Path, said: dict[str, str]) -> float | None:
    if "voxelsizerec" in said:
        return size_in(said, "VoxelSizeRec")
    acquisition = path.with_suffix(".pca")
    if not acquisition.is_file():
        return None
    geometry = ini_sections(read_text(acquisition)).get("geometry", {})
    return size_in(geometry, "VoxelSizeX")
