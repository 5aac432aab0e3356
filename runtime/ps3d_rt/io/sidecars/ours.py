"""``scan.raw.json``: ``{"shape": [z, y, x], "dtype": "uint16", "spacing_mm": [z, y, x], "offset_bytes": 0}``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io import json_text
from ps3d_rt.io.base import SpacingMm, check_shape
from ps3d_rt.io.read_errors import parse_errors
from ps3d_rt.io.sidecars.layout import RawLayout
from ps3d_rt.io.spacing import stated_spacing

_EXAMPLE = '{"shape": [100, 200, 200], "dtype": "uint16", "spacing_mm": 0.01}'


def read_json(path: Path, data: Path | None) -> RawLayout:
    """Read the layout; InputError if it is not of this form."""
    with parse_errors(path, "JSON", f"write it again, such as {_EXAMPLE}"):
        said = json_text.read_json(path)
    known = {"shape", "dtype", "spacing_mm", "offset_bytes"}
    if not isinstance(said, dict) or not {"shape", "dtype"} <= said.keys() <= known:
        raise InputError(
            f"{path}: must hold shape and dtype, may hold spacing_mm and offset_bytes, and nothing else: {_EXAMPLE}."
        )
    shape, offset, spacing = said["shape"], said.get("offset_bytes", 0), said.get("spacing_mm")
    if not isinstance(shape, list) or not all(_is_count(n) for n in shape) or not _is_count(offset):
        raise InputError(f"{path}: shape must be three whole numbers, offset_bytes one, 0 or more: {_EXAMPLE}.")
    sizes: list[Any] = spacing if isinstance(spacing, list) else [spacing] * 3
    if spacing is not None and not (len(sizes) == 3 and all(type(size) in {int, float} for size in sizes)):
        raise InputError(f"{path}: spacing_mm must be one number, or three, z, y, x: {_EXAMPLE}.")
    return RawLayout(
        said_by=path,
        data=data or path.with_suffix(""),
        shape=check_shape(shape, str(path)),
        dtype=str(said["dtype"]),
        offset_bytes=offset,
        spacing=stated_spacing(sizes, ["mm"] * 3, str(path)),
    )


def layout_as_json(shape: Zyx, dtype: str, spacing_mm: SpacingMm | None) -> str:
    """Text of a ``.json`` sidecar."""
    said: dict[str, Any] = {"shape": shape, "dtype": dtype}
    if spacing_mm is not None:
        said["spacing_mm"] = spacing_mm
    return json.dumps(said) + "\n"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
