"""Raw voxels: shape and dtype come from the caller, or from a file beside them (:mod:`ps3d_rt.io.sidecars`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume, check_dtype, check_shape
from ps3d_rt.io.memory_map import map_voxels
from ps3d_rt.io.names import ending_of, stem_of
from ps3d_rt.io.sidecars.find import DESCRIPTIONS, descriptions_beside, read_layout
from ps3d_rt.io.sidecars.layout import RawLayout
from ps3d_rt.io.sidecars.ours import layout_as_json
from ps3d_rt.io.slabs import OnProgress, write_planes
from ps3d_rt.io.spacing import spacing_that_counts

_HEADERS = {".mhd": "metaimage", ".nhdr": "nrrd"}
"""Endings of headers that may describe a raw file too → module that reads them."""
_HEADER_BYTES = 2**16


def open_raw(
    path: Path,
    spacing_mm: SpacingMm | None,
    shape: Sequence[int] | None,
    dtype: str | np.dtype[Any] | None,
    offset_bytes: int | None = None,
) -> Volume:
    """Open ``path`` as ``shape`` voxels of ``dtype``, x fastest; without both, as the description beside it says.

    Args:
        path: the raw file, or a description of it.
        spacing_mm: wins over what a description says.
        shape: voxels z, y, x.
        dtype: NumPy name.
        offset_bytes: of a header in front of the voxels; only with shape and dtype.

    Raises:
        InputError: if shape or dtype is missing or wrong, or does not give the file's size exactly.
    """
    described = path.suffix.lower() in DESCRIPTIONS
    if shape is not None or dtype is not None or offset_bytes is not None:
        if described:
            raise InputError(f"{path}: this file states shape and dtype; to use others, open the raw file itself.")
        if shape is None or dtype is None:
            raise InputError(f"{path}: {_PASS_BOTH}.")
        return _mapped(RawLayout(None, path, check_shape(shape, "shape"), dtype, offset_bytes or 0), path, spacing_mm)
    warnings: list[str] = []
    layout = read_layout(path) if described else _layout_beside(path, warnings)
    if layout is not None:
        stated = spacing_that_counts(spacing_mm, lambda: layout.spacing, str(layout.said_by))
        volume = _mapped(layout, path, stated.spacing_mm)
        volume.warn(*stated.remarks, *[layout.remark] * bool(layout.remark), *warnings)
        return volume
    header = _header_beside(path)
    if header is None:
        raise InputError(
            f"{path}: a raw file does not say how it is laid out, and no description lies beside it (.json, .info, "
            f".vgi, .pcr, .xtekct, .mhd or .nhdr); {_PASS_BOTH}."
        )
    return cast(Volume, import_module(f"ps3d_rt.io.{_HEADERS[header.suffix.lower()]}").open_file(header, spacing_mm))


_PASS_BOTH = "pass --shape z,y,x and --dtype, such as --shape 100,200,200 --dtype uint16"


def is_described(data: Path) -> bool:
    """Whether a file that says how ``data`` is laid out lies beside it."""
    return bool(descriptions_beside(data)) or _header_beside(data) is not None


def bare_layout(path: Path, shape: Sequence[int], dtype: str) -> dict[str, Any]:
    """Say how to open a raw file again that was opened with ``shape`` and ``dtype``; {} for files that know it.

    The size of a header is not needed: the voxels are the end of the file.
    """
    if not path.is_file() or ending_of(path) not in (None, ".raw", ".vol") or is_described(path):
        return {}
    header_bytes = path.stat().st_size - prod(shape) * np.dtype(dtype).itemsize
    return {"shape": shape, "dtype": dtype, "offset_bytes": max(0, header_bytes)}


def _layout_beside(data: Path, warnings: list[str]) -> RawLayout | None:
    """Read the first description beside ``data``; where others contradict it, a sentence goes to ``warnings``."""
    beside = descriptions_beside(data)
    if not beside:
        return None
    layout, believed = read_layout(beside[0], data), f"{data}: {beside[0].name} is believed"
    for path in beside[1:]:
        try:
            other = read_layout(path, data)
        except InputError as error:
            warnings.append(f"{believed}; {error}")
            continue
        if layout.spacing.spacing_mm is None:
            layout = replace(layout, spacing=other.spacing)
        if differing := _differences(layout, other):
            warnings.append(f"{believed}, {path.name} says {differing} instead: remove the wrong one.")
    return layout


def _differences(layout: RawLayout, other: RawLayout) -> str:
    ours, theirs = np.dtype(layout.dtype), np.dtype(other.dtype)
    found = [f"shape {other.shape}"] * (layout.shape != other.shape) + [f"{theirs}"] * (ours != theirs)
    spacing, another = layout.spacing.spacing_mm, other.spacing.spacing_mm
    if spacing and another and not np.allclose(spacing, another, rtol=1e-3):
        found.append(f"a spacing of {', '.join(f'{side:g}' for side in another)} mm")
    return ", ".join(found)


def _header_beside(data: Path) -> Path | None:
    """Find a MetaImage or NRRD header beside ``data`` that names it."""
    for ending in _HEADERS:
        header = data.with_suffix(ending)
        if header != data and header.is_file():
            with header.open("rb") as file:
                if data.name in file.read(_HEADER_BYTES).decode("latin-1"):
                    return header
    return None


def _mapped(layout: RawLayout, path: Path, spacing_mm: SpacingMm | None) -> ArrayVolume:
    data, shape, offset_bytes = layout.data, layout.shape, layout.offset_bytes
    try:
        voxel = np.dtype(layout.dtype)
    except (TypeError, SyntaxError, ValueError) as error:
        said_by = "--dtype" if layout.said_by is None else f"{layout.said_by}: dtype"
        raise InputError(
            f"{said_by} is '{layout.dtype}'; use a NumPy name such as uint8, uint16, float32 or >u2."
        ) from error
    check_dtype(voxel, str(layout.said_by or "--dtype"))
    if offset_bytes < 0:
        said_by = "--offset is" if layout.said_by is None else f"{layout.said_by}: the header takes"
        raise InputError(f"{said_by} {offset_bytes}; it must be a number of bytes, 0 or more.")
    size_bytes, voxel_bytes = data.stat().st_size, prod(shape) * voxel.itemsize
    if size_bytes != offset_bytes + voxel_bytes:
        by = "" if layout.said_by is None else f"{layout.said_by.name} says "
        header = f" after {offset_bytes} bytes" if offset_bytes else ""
        raise InputError(
            f"{data}: the file has {size_bytes} bytes, {by}shape {shape} of {voxel}{header} "
            f"needs {offset_bytes + voxel_bytes}; {_check(layout, size_bytes - voxel_bytes)}, or copy the file again."
        )
    array = map_voxels(data, shape, voxel, offset_bytes=offset_bytes)
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))


def _check(layout: RawLayout, header_bytes: int) -> str:
    if layout.said_by is not None:
        return f"correct {layout.said_by.name}"
    header = f"pass --offset {header_bytes} if it begins with a header, " if header_bytes > 0 else ""
    return f"{header}check --shape and --dtype"


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write the voxels of ``volume``, little-endian."""
    with path.open("wb") as file:
        write_planes(file, volume, volume.dtype.newbyteorder("<"), on_progress)


def write_layout(path: Path, volume: Volume) -> None:
    """Write the ``.json`` that goes with what :func:`write` writes."""
    path.write_text(
        layout_as_json(volume.shape, volume.dtype.newbyteorder("<").str, volume.spacing_mm), encoding="utf-8"
    )
