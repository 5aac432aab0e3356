"""Raw voxels without a header: shape and dtype come from the caller."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.volume import ArrayVolume, SpacingMm, Volume, check_dtype, check_shape, stem_of


def open_raw(
    path: Path, spacing_mm: SpacingMm | None, shape: Sequence[int] | None, dtype: str | np.dtype[Any] | None
) -> Volume:
    """Open ``path`` as ``shape`` voxels of ``dtype``, x fastest.

    Raises:
        InputError: if shape or dtype is missing or wrong, or does not give the file's size exactly.
    """
    if shape is None or dtype is None:
        raise InputError(
            f"{path}: a raw file does not say how it is laid out; "
            "pass --shape z,y,x and --dtype, such as --shape 100,200,200 --dtype uint16."
        )
    zyx = check_shape(shape, "shape")
    try:
        voxel = check_dtype(np.dtype(dtype), "dtype")
    except (TypeError, SyntaxError) as error:
        raise InputError(f"dtype is '{dtype}'; use a NumPy name such as uint8, uint16, float32 or >u2.") from error
    size_bytes, expected_bytes = path.stat().st_size, prod(zyx) * voxel.itemsize
    if size_bytes != expected_bytes:
        raise InputError(
            f"{path}: the file has {size_bytes} bytes, shape {zyx} of {voxel} needs {expected_bytes}; "
            "check --shape and --dtype, or copy the file again."
        )
    array = np.memmap(path, dtype=voxel, mode="r", shape=zyx)
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))
