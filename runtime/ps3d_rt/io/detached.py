"""Data files that a header names."""

from __future__ import annotations

from pathlib import Path

from ps3d_rt.errors import InputError


def named_in(header: Path, name: str) -> Path:
    """Return the file called ``name`` in the folder of ``header``, or below.

    Raises:
        InputError: if it lies elsewhere or is not there, or several files are named.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{header}: the voxels lie in several files ('{name}'); save them as one.")
    folder = header.parent.resolve()
    file = (folder / name.replace("\\", "/")).resolve()
    if not file.is_relative_to(folder):
        raise InputError(f"{header}: names the data file '{name}', outside of its folder; put both into one folder.")
    if not file.is_file():
        raise InputError(f"{header}: names the data file '{name}', which is not there; copy it to {folder}.")
    return file
