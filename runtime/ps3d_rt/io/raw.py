"""Raw voxels: shape and dtype come from the caller, or from a file beside them (:mod:`ps3d_rt.io.sidecar`)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume, check_dtype, check_shape
from ps3d_rt.io.mapped import map_voxels
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.sidecar import layout_as_json, layout_beside, read_layout
from ps3d_rt.io.slabs import Tell, write_planes

_DESCRIPTIONS = (".vgi", ".pcr")


def open_raw(
    path: Path, spacing_mm: SpacingMm | None, shape: Sequence[int] | None, dtype: str | np.dtype[Any] | None
) -> Volume:
    """Open ``path`` as ``shape`` voxels of ``dtype``, x fastest; without both, as its sidecar says.

    Args:
        path: the raw file, or its ``.vgi`` or ``.pcr``.
        spacing_mm: wins over what a sidecar says.
        shape: voxels z, y, x.
        dtype: NumPy name.

    Raises:
        InputError: if shape or dtype is missing or wrong, or does not give the file's size exactly.
    """
    described = path.suffix.lower() in _DESCRIPTIONS
    if described and (shape is not None or dtype is not None):
        raise InputError(f"{path}: says shape and dtype itself; give the raw file to say otherwise.")
    data, offset_bytes, by, check = path, 0, "shape", "check --shape and --dtype"
    if shape is None and dtype is None:
        layout = read_layout(path) if described else layout_beside(path)
        if layout is not None:
            data, shape, dtype, offset_bytes = layout.data, layout.shape, layout.dtype, layout.offset_bytes
            spacing_mm = spacing_mm if spacing_mm is not None else layout.spacing_mm
            by, check = f"{layout.said_by.name} says shape", f"correct {layout.said_by.name}"
    if shape is None or dtype is None:
        raise InputError(
            f"{path}: a raw file does not say how it is laid out, and there is no .vgi, .pcr or .json beside it; "
            "pass --shape z,y,x and --dtype, such as --shape 100,200,200 --dtype uint16."
        )
    zyx = check_shape(shape, "shape")
    try:
        voxel = check_dtype(np.dtype(dtype), "dtype")
    except (TypeError, SyntaxError) as error:
        raise InputError(f"dtype is '{dtype}'; use a NumPy name such as uint8, uint16, float32 or >u2.") from error
    size_bytes, expected_bytes = data.stat().st_size, offset_bytes + prod(zyx) * voxel.itemsize
    if size_bytes != expected_bytes:
        raise InputError(
            f"{data}: the file has {size_bytes} bytes, {by} {zyx} of {voxel} needs {expected_bytes}; "
            f"{check}, or copy the file again."
        )
    array = map_voxels(data, zyx, voxel, offset_bytes=offset_bytes)
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))


def write(path: Path, volume: Volume, tell: Tell) -> None:
    """Write the voxels of ``volume``, little-endian."""
    with path.open("wb") as file:
        write_planes(file, volume, volume.dtype.newbyteorder("<"), tell)


def write_layout(path: Path, volume: Volume) -> None:
    """Write the ``.json`` that goes with what :func:`write` writes."""
    path.write_text(
        layout_as_json(volume.shape, volume.dtype.newbyteorder("<").str, volume.spacing_mm), encoding="utf-8"
    )
