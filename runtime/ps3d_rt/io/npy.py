"""NumPy ``.npy`` files, memory-mapped. Nothing is ever unpickled, and there is no place for the spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slabs import OnProgress, write_planes

_LONGEST_HEADER = 256


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``; the file holds no spacing, so it is None unless given.

    Raises:
        InputError: if the file is cut short, holds Python objects, or is not a 3-D array.
    """
    _check_header(path)
    with read_errors(str(path), "the NumPy file"):
        array = np.lib.format.open_memmap(path, mode="r")
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))


def _check_header(path: Path) -> None:
    """Refuse what would have to be unpickled, which can run any program: dictionaries and lists."""
    with read_errors(str(path), "the NumPy file"), path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: is no NumPy file, or its start is damaged; copy or export the file again.")
        if b"'|O'" not in file.read(_LONGEST_HEADER):
            return
    what = "the _seg.npy of cellpose, a dictionary" if path.stem.endswith("_seg") else "a pickled Python object"
    raise InputError(
        f"{path}: is {what}, which is not opened, because that could run programs; save its labels as an array where "
        "you trust it: np.save('labels.npy', np.load('" + path.name + "', allow_pickle=True).item()['masks'])."
    )


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write the voxels of ``volume``."""
    header = {"descr": volume.dtype.str, "fortran_order": False, "shape": volume.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        write_planes(file, volume, volume.dtype, on_progress)
