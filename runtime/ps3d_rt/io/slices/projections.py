"""Whether a folder of images holds projections, which look like slices: said by the scanner's file beside them.

scan.xtekct   Nikon        ``[XTekCT]`` DetectorPixelsX, DetectorPixelsY, Projections
scan.pca      Phoenix      ``[Detector]`` NrPixelsX, NrPixelsY
"""

from __future__ import annotations

from collections.abc import Sequence
from configparser import Error as ConfigError
from pathlib import Path

from ps3d_rt.errors import InputError
from ps3d_rt.io.ini import ini_sections
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.text_file import read_text

_DETECTORS = {".xtekct": ("xtekct", "detectorpixels"), ".pca": ("detector", "nrpixels")}
"""Ending of the scanner's file → section and key of the detector's sides, in lower case, without x and y."""


def check_projections(folder: Path, names: Sequence[str], *, count: int, shape: tuple[int, ...]) -> str | None:
    """Say so if the images are as large as the detector of the scan that is described beside them.

    Args:
        folder: of the images.
        names: of its files.
        count: number of images.
        shape: of one, y, x.

    Raises:
        InputError: if there are also as many images as projections.
    """
    for name in names:
        if Path(name).suffix.lower() not in _DETECTORS:
            continue
        part, key = _DETECTORS[Path(name).suffix.lower()]
        with read_errors(str(folder / name), "the scanner's file"):
            text = read_text(folder / name)
        try:
            said = ini_sections(text).get(part, {})
        except ConfigError:
            continue
        if [said.get(key + axis, "").strip() for axis in "yx"] != [str(side) for side in shape]:
            continue
        if said.get("projections", "").strip() == str(count):
            raise InputError(
                f"{folder}: {name} says that a scan has {count} projections of {shape}, as these images are; "
                "reconstruct them, and give the folder of the result."
            )
        return f"the images are as large as the detector of {name}; check that they are slices, not projections."
    return None
