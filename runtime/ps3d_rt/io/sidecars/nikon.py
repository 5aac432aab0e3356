"""``scan.xtekct`` of Nikon Metrology (XTek): ``VoxelsX`` and ``VoxelSizeX`` of ``[XTekCT]``, beside ``scan.vol``.

The type is that of the data's size: float, 16 or 8 bit, little-endian. Source: such files in public repositories.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ps3d_rt.io.data_file import named_in
from ps3d_rt.io.ini import count_in, ini_sections, section_in, size_in
from ps3d_rt.io.memory_map import shape_from_xyz
from ps3d_rt.io.sidecars.layout import RawLayout, dtype_by_size
from ps3d_rt.io.spacing import stated_spacing
from ps3d_rt.io.text_file import read_text

_TYPES = {4: "float32", 2: "uint16", 1: "uint8"}


def read_xtekct(path: Path, data: Path | None) -> RawLayout:
    """Read the layout; InputError if the size of the data is none of a known type."""
    source = str(path)
    said = section_in(ini_sections(read_text(path)), "XTekCT", source)
    shape = shape_from_xyz([count_in(said, f"Voxels{axis}", source) for axis in "XYZ"], source)
    sizes = [size_in(said, f"VoxelSize{axis}") for axis in "ZYX"]
    raw = data or named_in(path, path.with_suffix(".vol").name)
    dtype, remark = dtype_by_size(raw, shape, _TYPES, path)
    return RawLayout(
        said_by=path,
        data=raw,
        shape=shape,
        dtype=np.dtype(dtype).newbyteorder("<"),
        spacing=stated_spacing(sizes, [said.get("units") or None] * 3, source, usual_unit="mm"),
        remark=remark,
    )
