"""Small text files that say how a raw volume is laid out: ours (``.json``), VGStudio's and Phoenix|x-ray's.

    scan.raw.json or scan.json   {"shape": [z, y, x], "dtype": "uint16", "spacing_mm": [z, y, x], "offset_bytes": 0}
    scan.vgi    VGStudio          size, type and header bytes of ``[file1]``, resolution and unit of ``[geometry]``
    scan.pcr    GE Phoenix|x-ray  ``[VolumeData]``; voxel size from ``[Geometry]`` of ``scan.pca`` if it lacks it

Sources: the readers of open_iA (.vgi), DREAM3D-NX (.vgi), pi2 and SlicerMorph (.pcr, .pca), which are public.
The last two are text with ``[sections]`` and ``key = value`` lines, sizes x first, little-endian voxels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, check_shape, check_spacing
from ps3d_rt.io.detached import named_in
from ps3d_rt.io.mapped import shape_from_xyz
from ps3d_rt.io.readable import readable
from ps3d_rt.io.units import mm_per

_VGI_TYPES = {
    ("unsigned integer", "8"): "u1",
    ("unsigned integer", "16"): "<u2",
    ("unsigned integer", "32"): "<u4",
    ("signed integer", "8"): "i1",
    ("signed integer", "16"): "<i2",
    ("signed integer", "32"): "<i4",
    ("float", "32"): "<f4",
    ("float", "64"): "<f8",
}
_PCR_TYPES = {"1": "u1", "3": "u1", "5": "<u2", "10": "<f4"}
"""Sources disagree whether 1 or 3 is 8 bit; the file's size decides, because it must fit."""


@dataclass(frozen=True, slots=True)
class RawLayout:
    """How a raw file is laid out, and where that is said."""

    said_by: Path
    data: Path
    shape: Zyx
    dtype: str
    offset_bytes: int = 0
    spacing_mm: SpacingMm | None = None


def layout_beside(data: Path) -> RawLayout | None:
    """Read the first sidecar that lies beside ``data``; None if there is none."""
    for path in (data.with_name(data.name + ".json"), *(data.with_suffix(ending) for ending in _READERS)):
        if path.is_file():
            return read_layout(path, data)
    return None


def read_layout(path: Path, data: Path | None = None) -> RawLayout:
    """Read a sidecar; ``data`` is the file it lies beside, if that was given, else the one it names.

    Raises:
        InputError: if it is broken, or names a file that is not there.
    """
    with readable(str(path), "the description of the raw file", also=(ConfigError,)):
        return _READERS[path.suffix.lower()](path, data)


def layout_as_json(shape: Zyx, dtype: str, spacing_mm: SpacingMm | None) -> str:
    """Text of a ``.json`` sidecar."""
    said: dict[str, Any] = {"shape": shape, "dtype": dtype}
    if spacing_mm is not None:
        said["spacing_mm"] = spacing_mm
    return json.dumps(said) + "\n"


def _read_json(path: Path, data: Path | None) -> RawLayout:
    said = json.loads(path.read_text(encoding="utf-8"))
    known = {"shape", "dtype", "spacing_mm", "offset_bytes"}
    if not isinstance(said, dict) or not {"shape", "dtype"} <= said.keys() <= known:
        raise InputError(f"{path}: must hold shape and dtype, may hold spacing_mm and offset_bytes, and nothing else.")
    spacing = said.get("spacing_mm")
    return RawLayout(
        said_by=path,
        data=data or path.with_suffix(""),
        shape=check_shape([int(n) for n in said["shape"]], str(path)),
        dtype=str(said["dtype"]),
        offset_bytes=int(said.get("offset_bytes", 0)),
        spacing_mm=None if spacing is None else check_spacing(spacing, str(path)),
    )


def _read_vgi(path: Path, data: Path | None) -> RawLayout:
    groups = re.split(r"^\{(.*)\}\s*$", path.read_text(encoding="latin-1"), flags=re.MULTILINE)
    named = dict(zip(groups[1::2], groups[2::2], strict=True))
    volumes = [name for name in named if re.fullmatch(r"volume\d*", name)]
    sections = {name: _sections(text) for name, text in named.items()}
    if len(volumes) != 1 or "file2" in sections[volumes[0]]:
        raise InputError(f"{path}: describes {len(volumes)} volumes; it must be one, in one file: save it by itself.")
    file = {**sections[volumes[0]].get("representation", {}), **sections[volumes[0]]["file1"]}
    if file.get("fileformat", "raw").lower() != "raw":
        raise InputError(f"{path}: the data are '{file['fileformat']}'; export them as raw.")
    kind = file["datatype"].lower(), file["bitsperelement"]
    if kind not in _VGI_TYPES:
        allowed = ", ".join(" ".join(pair) for pair in _VGI_TYPES)
        raise InputError(f"{path}: the voxels are {' '.join(kind)} bit; allowed are {allowed}.")
    found = (group["geometry"] for group in sections.values() if "resolution" in group.get("geometry", {}))
    geometry = next(found, None)
    return RawLayout(
        said_by=path,
        data=data or named_in(path, PureWindowsPath(file["name"]).name),
        shape=shape_from_xyz([int(n) for n in file["size"].split()], str(path)),
        dtype=_VGI_TYPES[kind],
        offset_bytes=int(file.get("skipheader", 0)),
        spacing_mm=None if geometry is None else _vgi_spacing(geometry, str(path)),
    )


def _vgi_spacing(geometry: dict[str, str], source: str) -> SpacingMm | None:
    """Side lengths of a voxel; millimetres if no unit is named, as VGStudio counts."""
    mm = mm_per(geometry.get("unit", "mm"))
    return None if mm is None else _spacing_from_xyz([mm * float(n) for n in geometry["resolution"].split()], source)


def _read_pcr(path: Path, data: Path | None) -> RawLayout:
    said = _sections(path.read_text(encoding="latin-1"))["volumedata"]
    if said["format"] not in _PCR_TYPES:
        raise InputError(
            f"{path}: the voxels have Format={said['format']}; known are 1 and 3 (8 bit), 5 (16 bit), 10 (float): "
            "pass --shape and --dtype with the .vol file."
        )
    size = said.get("voxelsizerec")
    acquisition = path.with_suffix(".pca")
    if size is None and acquisition.is_file():
        size = _sections(acquisition.read_text(encoding="latin-1"))["geometry"].get("voxelsizex")
    named = PureWindowsPath(said.get("vol_file", "")).name or path.with_suffix(".vol").name
    return RawLayout(
        said_by=path,
        data=data or named_in(path, named),
        shape=shape_from_xyz([int(said[f"volume_size{axis}"]) for axis in "xyz"], str(path)),
        dtype=_PCR_TYPES[said["format"]],
        spacing_mm=None if size is None else check_spacing(float(size), str(path)),
    )


def _spacing_from_xyz(sizes: Sequence[float], source: str) -> SpacingMm:
    x, y, z = sizes if len(sizes) == 3 else [sizes[0]] * 3
    return check_spacing((z, y, x), source)


def _sections(text: str) -> dict[str, dict[str, str]]:
    """Section → key → value, sections and keys in lower case."""
    parser = ConfigParser(interpolation=None, strict=False, delimiters=("=",), allow_no_value=True)
    parser.read_string("\n".join(["[ ]", *(line.strip() for line in text.splitlines())]))
    return {name.lower(): {key: value or "" for key, value in parser[name].items()} for name in parser.sections()}


_READERS: dict[str, Callable[[Path, Path | None], RawLayout]] = {
    ".json": _read_json,
    ".vgi": _read_vgi,
    ".pcr": _read_pcr,
}
