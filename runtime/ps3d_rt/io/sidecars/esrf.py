"""``scan.vol.info`` of PyHST, the reconstruction of the ESRF: ``NUM_X``, ``NUM_Y``, ``NUM_Z``, ``voxelSize`` in µm.

The type is not said: PyHST writes float, converted volumes have 8 or 16 bit. Source: files that nabu and tomwer write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.data_file import named_in
from ps3d_rt.io.ini import count_in, ini_sections, size_in
from ps3d_rt.io.memory_map import shape_from_xyz
from ps3d_rt.io.sidecars.layout import RawLayout, dtype_by_size
from ps3d_rt.io.spacing import stated_spacing
from ps3d_rt.io.text_file import read_text

_TYPES = {4: "float32", 2: "uint16", 1: "uint8"}
_ORDERS: dict[str, Literal["<", ">"]] = {"LOWBYTEFIRST": "<", "HIGHBYTEFIRST": ">"}


def read_info(path: Path, data: Path | None) -> RawLayout:
    """Read the layout; InputError if the size of the data is none of a known type."""
    source = str(path)
    lines = [line for line in read_text(path).splitlines() if not line.lstrip().startswith("!")]
    said = ini_sections("\n".join(lines))[" "]
    order = said.get("byteorder", "LOWBYTEFIRST").strip().upper()
    if order not in _ORDERS:
        raise InputError(f"{path}: BYTEORDER is '{order}'; it must be {' or '.join(_ORDERS)}.")
    shape = shape_from_xyz([count_in(said, f"NUM_{axis}", source) for axis in "XYZ"], source)
    raw = data or named_in(path, path.name[: -len(path.suffix)])
    dtype, remark = dtype_by_size(raw, shape, _TYPES, path)
    return RawLayout(
        said_by=path,
        data=raw,
        shape=shape,
        dtype=np.dtype(dtype).newbyteorder(_ORDERS[order]),
        spacing=stated_spacing([size_in(said, "voxelSize")] * 3, ["µm"] * 3, source),
        remark=remark,
    )
