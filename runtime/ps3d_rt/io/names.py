"""What the name of a file says: its format, the dataset inside, and what outputs are called after it."""

from __future__ import annotations

import re
from pathlib import Path

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

_INSIDE = re.compile(r"(.+\.(?:h5|hdf5|hdf|nxs|he5|ims)):(.*)", re.IGNORECASE)
"""``scan.h5:/group/data``"""


def ending_of(path: Path) -> str | None:
    """Give the ending of the name that tells the format; None if it tells none.

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
    path = file_and_inside(path)[0].resolve()
    ending = ending_of(path)
    return path.name if ending is None else path.name[: -len(ending)].removesuffix(".ome")
