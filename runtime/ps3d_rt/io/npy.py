"""NumPy ``.npy`` files, memory-mapped. Nothing is ever unpickled, and there is no place for the spacing."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slabs import OnProgress, write_planes

_LONGEST_HEADER = 256
_KNOWN_VERSION = (3, 0)
"""The last; only the text of names of fields differs from the second."""


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``; the file holds no spacing, so it is None unless given.

    Raises:
        InputError: if the file is cut short, holds Python objects, or is not a 3-D array.
    """
    _check_header(path)
    with read_errors(str(path), "the NumPy header"):
        _check_size(path)
        array = np.lib.format.open_memmap(path, mode="r")
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))


def _check_header(path: Path) -> None:
    """Refuse what would have to be unpickled, which can run any program: dictionaries and lists."""
    with read_errors(str(path), "the NumPy header"), path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: is not a NumPy file, or its start is damaged; copy or export the file again.")
        if b"'|O'" not in file.read(_LONGEST_HEADER):
            return
    what = "the _seg.npy of cellpose, a dictionary" if path.stem.endswith("_seg") else "a pickled Python object"
    raise InputError(
        f"{path}: is {what}, which is not opened, because that could run programs; save its labels as an array where "
        "you trust it: np.save('labels.npy', np.load('" + path.name + "', allow_pickle=True).item()['masks'])."
    )


def _check_size(path: Path) -> None:
    """Refuse a file that ends before its voxels do."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version > _KNOWN_VERSION:
            raise InputError(
                f"{path}: is of version {version[0]}.{version[1]} of the format; save it with NumPy again."
            )
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        needed, size_bytes = file.tell() + prod(shape) * dtype.itemsize, path.stat().st_size
    if size_bytes < needed:
        raise InputError(
            f"{path}: {shape} voxels of {dtype} need {needed} bytes, the file has {size_bytes}: it is cut short; copy "
            "or export it again."
        )


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write the voxels of ``volume``."""
    header = {"descr": volume.dtype.str, "fortran_order": False, "shape": volume.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        write_planes(file, volume, volume.dtype, on_progress)
