"""What the name of a file says: its format, the dataset inside, and the stem that outputs are named after."""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath

from ps3d_rt.errors import InputError

FORMATS = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "npy",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".nxs": "hdf5",
    ".he5": "hdf5",
    ".ims": "hdf5",
    ".raw": "raw",
    ".vol": "raw",
    ".vgi": "raw",
    ".pcr": "raw",
    ".info": "raw",
    ".xtekct": "raw",
    ".dcm": "dicom.reader",
    ".ima": "dicom.reader",
    ".txm": "zeiss",
    ".xrm": "zeiss",
    ".txrm": "zeiss",
    ".zarr": "zarr_volume",
}
"""File name ending → module of this package that opens it, loaded on use: zarr alone takes half a second to import."""

ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
"""A folder with one of these is zarr, whatever its name."""

_LONGEST_NAME_BYTES = 200
"""File systems take 255; what is written beside a file has a longer name."""
_INSIDE = re.compile(r"(.+\.(?:h5|hdf5|hdf|nxs|he5|ims)):(.*)", re.IGNORECASE)
"""``scan.h5:/group/data``"""


def ending_of(path: Path) -> str | None:
    """Return the ending of the name that stands for a format; None if it stands for none.

    >>> ending_of(Path("ore.NII.GZ")), ending_of(Path("ore.ome.tif")), ending_of(Path("ore.gz"))
    ('.nii.gz', '.tif', None)
    """
    return next((ending for ending in FORMATS if path.name.lower().endswith(ending)), None)


def file_and_inside(path: Path) -> tuple[Path, str]:
    """Split ``scan.h5:/group/data`` into the file and the name of the dataset; '' if there is none.

    >>> file_and_inside(Path("a/scan.h5:/t0/raw"))[1], file_and_inside(Path("scan.tif"))[1]
    ('/t0/raw', '')
    """
    match = _INSIDE.fullmatch(str(path))
    return (path, "") if match is None else (Path(match[1]), match[2].replace("\\", "/"))


def stem_of(path: Path) -> str:
    """Name without the format's endings.

    >>> stem_of(Path("data/scan.01.ome.zarr")), stem_of(Path("ore.h5:/raw")), stem_of(Path("slices.v2"))
    ('scan.01', 'ore', 'slices.v2')
    """
    path = resolved(file_and_inside(path)[0])
    ending = ending_of(path)
    return path.name if ending is None else path.name[: -len(ending)].removesuffix(".ome")


def resolved(path: Path) -> Path:
    """Follow links; one that leads to itself stays as it is, where ``Path.resolve`` has an error of Python's own."""
    return Path(os.path.realpath(path))


def as_text(path: Path) -> str:
    """Give a path as text that can be shown and stored, whatever bytes are in its name.

    >>> print(as_text(Path("ore \\udcff.tif")))
    ore \\udcff.tif
    """
    return str(path).encode("utf-8", "backslashreplace").decode()


def check_name(path: Path) -> None:
    """Refuse a path whose name is no text: tables, reports and queues could not hold it.

    Raises:
        InputError: if it is none.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{as_text(path)}: its name is no text in UTF-8; rename it.") from error


def is_plain_name(name: str) -> bool:
    """Whether a name stays inside its folder, and can be that of a file, on every operating system.

    >>> [is_plain_name(name) for name in ("fold 0.onnx", "µ", "..", "a/b", "C:a", "a\\nb", "x" * 201)]
    [True, True, False, False, False, False, False]
    """
    # Windows knows both slashes and drive letters, so what is plain there is plain everywhere.
    plain = name not in ("", ".", "..") and PureWindowsPath(name).name == name
    return plain and name.isprintable() and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME_BYTES
