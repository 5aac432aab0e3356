"""Which entries of a folder are scans, by their names and without reading more than a header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ps3d_rt.errors import InputError
from ps3d_rt.io.names import FORMATS, ZARR_MARKS, ending_of, stem_of

MOST_LEVELS = 3
"""Folders below folders that are looked into."""
_SLICES = frozenset({".tif", ".tiff", ".png", ".bmp", ".jp2", ".j2k", ".jpg", ".jpeg", ".dcm", ".ima"})
"""Files of which several in one folder are one scan."""
_STACKS = frozenset({".tif", ".tiff"})
"""Those that may hold a whole scan each."""
_HEADERS = (".vgi", ".pcr", ".info", ".xtekct", ".nhdr", ".mhd")
_DATA = (".raw", ".vol", ".zraw", ".img", ".bin")
PAIRED = (*_HEADERS, *_DATA, ".json")
"""Endings of files that belong together if the rest of their names is one."""
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")


def scans_in(folder: Path, levels: int = MOST_LEVELS) -> list[Path]:
    """List the scans in a folder and in the folders below it, sorted; none if the folder is one scan itself.

    A folder of slices and a zarr are one scan each. Of a description and the raw file beside it, the description is
    listed. Hidden entries, and those with names of files that are still being copied, are left out. A folder below that
    cannot be listed counts as a scan: whoever opens it says why it cannot be, and the others are found.

    Raises:
        InputError: if the folder itself cannot be read.
    """
    return [] if is_scan(folder) else list(_below(folder, levels))


def is_scan(path: Path) -> bool:
    """Whether a path is one scan: a file of a format that is read, a zarr, or a folder of slices."""
    if not path.is_dir():
        return ending_of(path) is not None
    if path.suffix == ".zarr" or any((path / mark).exists() for mark in ZARR_MARKS):
        return True
    names = [entry.name for entry in _entries(path) if _is_file(entry)]
    endings = [_ending(name) for name in names]
    slices = [name for name, ending in zip(names, endings, strict=True) if ending in _SLICES]
    if len(slices) < 2 or any(ending in FORMATS and ending not in _SLICES for ending in endings):
        return False
    return not (_ending(slices[0]) in _STACKS and _holds_planes(path / slices[0]))


def _below(folder: Path, levels: int) -> Iterator[Path]:
    entries = _entries(folder)
    files = [folder / entry.name for entry in entries if _is_file(entry) and ending_of(Path(entry.name)) is not None]
    described = {stem_of(path).lower() for path in files if path.suffix.lower() in _HEADERS}
    for entry in entries:
        path = folder / entry.name
        if _is_file(entry):
            data = path.suffix.lower() in _DATA and stem_of(path).lower() in described
            if ending_of(path) is not None and not data:
                yield path
        else:
            try:
                yield from [path] if is_scan(path) else list(_below(path, levels - 1)) if levels > 1 else []
            except InputError:
                yield path


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List what is neither hidden nor still being written, by name."""
    try:
        with os.scandir(folder) as found:
            entries = [e for e in found if not e.name.startswith(".") and not e.name.lower().endswith(_UNFINISHED)]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed; look after it – {error.strerror or error}") from error
    return sorted(entries, key=lambda entry: entry.name)


def _ending(name: str) -> str:
    return ending_of(Path(name)) or Path(name).suffix.lower()


def _holds_planes(path: Path) -> bool:
    """Whether a TIFF has more than one page; a damaged one counts as one that has not."""
    import tifffile  # noqa: PLC0415 - for folders of TIFF files alone

    try:
        with tifffile.TiffFile(path) as file:
            return len(file.pages) > 1 or bool(file.shaped_metadata and len(file.series[0].shape) > 2)
    except (OSError, ValueError, tifffile.TiffFileError):
        return False
