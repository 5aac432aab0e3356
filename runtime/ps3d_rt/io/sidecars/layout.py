"""How a raw volume is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.spacing import StatedSpacing


@dataclass(frozen=True, slots=True)
class RawLayout:
    """How a raw file is laid out, and which description says so; None if the caller does."""

    said_by: Path | None
    data: Path
    shape: Zyx
    dtype: str | np.dtype[Any]
    offset_bytes: int = 0
    spacing: StatedSpacing = field(default_factory=StatedSpacing)
    remark: str = ""
    """What a person should check beside the spacing, a sentence; '' for nothing."""


def dtype_by_size(data: Path, shape: Zyx, types: dict[int, str], said_by: Path) -> tuple[str, str]:
    """Infer the type of voxels from the bytes that ``data`` has for each, where the description does not give it.

    Args:
        data: the raw file.
        shape: voxels z, y, x.
        types: bytes a voxel → NumPy name, the usual one first.
        said_by: the description, for messages.

    Returns:
        The NumPy name, and a remark if it is not the usual one: a file cut in half would have it too.

    Raises:
        InputError: if the size fits none of ``types``.
    """
    size_bytes = data.stat().st_size
    each, rest = divmod(size_bytes, prod(shape))
    if rest or each not in types:
        allowed = " or ".join(f"{prod(shape) * size} ({name})" for size, name in types.items())
        raise InputError(
            f"{data}: the file has {size_bytes} bytes, {said_by.name} says shape {shape}, which needs {allowed}; "
            f"copy it again, or correct {said_by.name}."
        )
    usual = next(iter(types))
    if each == usual:
        return types[each], ""
    return types[each], (
        f"{data}: {said_by.name} does not say the type of the voxels; the size of the file is that of {types[each]}, "
        f"not of {types[usual]} as usual: check it."
    )
