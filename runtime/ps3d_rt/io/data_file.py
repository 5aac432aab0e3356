"""Data files that a header names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, Volume
from ps3d_rt.io.memory_map import map_voxels
from ps3d_rt.io.names import resolved
from ps3d_rt.io.slices.volume import SliceFiles, SlicesVolume

_PATTERN = re.compile(r"(.*?)%(0?)(\d{0,2})d(.*?)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d+)?")
"""``slice_%03d.raw 0 99 1``: first, last and step, and in NRRD how many axes a file has."""
_MOST_FILES = 10**6


def header_text(line: bytes) -> str:
    """Decode a line of a header: UTF-8, or Latin-1 as older programs write.

    >>> header_text(b"\\xb5m"), header_text("µm".encode())
    ('µm', 'µm')
    """
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def named_in(header: Path, name: str) -> Path:
    """Return the file called ``name`` in the folder of ``header``, or below.

    Raises:
        InputError: if it lies elsewhere, is not there, or the name is none.
    """
    if not name.isprintable() or not name:
        raise InputError(f"{header}: names the data file {name!r}, which is not a valid file name; correct the header.")
    folder = resolved(header.parent)
    try:
        file = resolved(folder / name.replace("\\", "/"))
        is_there = file.is_file()
    except OSError as error:
        raise InputError(
            f"{header}: names the data file '{name[:80]}', which is not a valid path; correct the header "
            f"— {error.strerror}."
        ) from error
    if not file.is_relative_to(folder):
        raise InputError(f"{header}: names the data file '{name}', outside of its folder; put both into one folder.")
    if not is_there:
        raise InputError(f"{header}: names the data file '{name}', which is not there; copy it to {folder}.")
    return file


def several_names(header: Path, named: str, lines: Sequence[str]) -> list[str] | None:
    """List the data files where a header names more than one; None if ``named`` is one file.

    Args:
        header: for messages.
        named: what the header says: ``LIST`` with the names in ``lines``, or a pattern with first, last and step.
        lines: what follows in the header.

    Raises:
        InputError: if a list is empty, or a pattern cannot be understood.
    """
    if re.fullmatch(r"LIST(\s+\d+)?", named, re.IGNORECASE):
        if names := [line.strip() for line in lines if line.strip()]:
            return names
        raise InputError(f"{header}: promises a list of data files, but none follows; correct the header.")
    if "%" not in named:
        return None
    match = _PATTERN.fullmatch(named)
    first, last, step = map(int, match.groups()[4:]) if match else (0, 0, 0)
    count = (last - first) // step + 1 if step else 0
    if match is None or not 0 < count <= _MOST_FILES:
        raise InputError(
            f"{header}: names the data files '{named[:80]}'; a pattern such as 'slice_%03d.raw 0 99 1' has a name, the "
            "first and last number, and the step: correct the header."
        )
    before, zero, digits, after = match.groups()[:4]
    width = int(digits or 0)
    numbers = (str(first + step * index) for index in range(count))
    return [f"{before}{text.zfill(width) if zero else text.rjust(width)}{after}" for text in numbers]


def open_several(
    header: Path, names: Sequence[str], shape: Zyx, dtype: np.dtype[Any], spacing_mm: SpacingMm | None, skip_bytes: int
) -> Volume:
    """Open raw files that follow each other along z, each with the same number of slices.

    Args:
        header: names the files.
        names: of the files, from the first slice to the last.
        shape: voxels z, y, x of all files together.
        dtype: of the voxels.
        spacing_mm: millimetres a voxel, z, y, x.
        skip_bytes: in front of the voxels in every file; -1: they are the end of the file.

    Raises:
        InputError: if a file is not there or cut short, or their number does not fit the shape.
    """
    depth, left = divmod(shape[0], len(names))
    if left or not depth:
        raise InputError(f"{header}: {shape[0]} slices do not lie in {len(names)} files of equal size; correct it.")
    files = [named_in(header, name) for name in names]
    for file in dict.fromkeys(files):
        map_voxels(file, (depth, *shape[1:]), dtype, offset_bytes=skip_bytes)

    def decode(place: tuple[Path, int]) -> np.ndarray[Any, Any]:
        file, plane = place
        voxels = map_voxels(file, (depth, *shape[1:]), dtype, offset_bytes=skip_bytes)
        return np.asarray(voxels[plane])

    places = [(file, plane) for file in files for plane in range(depth)]
    return SlicesVolume(SliceFiles(places, decode, shape[1:], dtype), spacing_mm, header)
