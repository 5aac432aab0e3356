"""NumPy ``.npy`` files, memory-mapped. Nothing is ever unpickled, and there is no place for the spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.readable import readable
from ps3d_rt.io.slabs import Tell, write_planes


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``; the file holds no spacing, so it is None unless given."""
    with readable(str(path), "the file"):
        array = np.lib.format.open_memmap(path, mode="r")
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))


def write(path: Path, volume: Volume, tell: Tell) -> None:
    """Write the voxels of ``volume``."""
    header = {"descr": volume.dtype.str, "fortran_order": False, "shape": volume.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        write_planes(file, volume, volume.dtype, tell)
