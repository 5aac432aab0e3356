"""What the numbers in a TIFF mean: tags and ImageJ's calibration that turn them into others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.io.converted import ConvertedVolume, rescaled
from ps3d_rt.io.units import decimal_number

_STRAIGHT_LINE, _NONE = 0, 20
"""ImageJ's numbers of functions that turn stored numbers into values: ij.measure.Calibration."""


_WRITES_MASKS_SO = "tifffile.py"
"""What tifffile writes into the tag Software."""


@dataclass(frozen=True, slots=True)
class Inversion:
    """White is 0 in the file: ``largest - stored`` is the gray value."""

    largest: int

    def __call__(self, stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Turn black and white round."""
        return ~stored if stored.dtype == bool else np.subtract(self.largest, stored, dtype=stored.dtype)


INVERTED = "says that white is 0 (WhiteIsZero): its gray values are turned round, as viewers show them."


def inversion_of(page: Any, source: str) -> Inversion | None:
    """Return how the numbers of a page become gray values; None if they are gray values.

    tifffile marks every mask as WhiteIsZero unless it is told otherwise, and reads it as it was given: so do we.

    Raises:
        InputError: if white is 0 and the numbers have no largest one to count from.
    """
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE:
        return None
    dtype = np.dtype(page.dtype)
    if dtype.kind == "b" and page.software == _WRITES_MASKS_SO:
        return None
    if dtype.kind not in "bu":
        raise InputError(
            f"{source}: says that white is 0 (WhiteIsZero), with voxels of {dtype}, where no number is black; "
            "save it as BlackIsZero (in ImageJ, Image > Lookup Tables > Grays)."
        )
    return Inversion(2 ** min(int(page.bitspersample), 8 * dtype.itemsize) - 1)


def palette_remark(page: Any) -> str:
    """Say so if the numbers count colours of a palette, unless they are a scale of gray from dark to bright."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE:
        return ""
    colours = None if page.colormap is None else np.asarray(page.colormap).astype(int)
    if colours is not None and not np.ptp(colours, axis=0).any() and (np.diff(colours[0]) >= 0).all():
        return ""
    return (
        "stores numbers of colours, which are taken as gray values; if its colours are more than a display of them, "
        "save it as gray (in ImageJ, Image > Lookup Tables > Grays)."
    )


def calibrated(volume: Volume, imagej: Mapping[str, Any] | None) -> Volume:
    """Apply ImageJ's calibration of gray values: signed 16 bit, which it stores as unsigned, or another straight line.

    Other curves are left aside, and said.
    """
    function = decimal_number(str((imagej or {}).get("cf", _NONE)))
    if imagej is None or function == _NONE:
        return volume
    intercept, slope = decimal_number(str(imagej.get("c0", "0"))), decimal_number(str(imagej.get("c1", "1")))
    if function != _STRAIGHT_LINE or not np.isfinite([intercept, slope]).all() or not slope:
        volume.warn(
            f"{volume.source}: ImageJ gives the gray values a calibration that is not linear; the stored numbers "
            "are taken."
        )
        return volume
    if (intercept, slope) == (0, 1):
        return volume
    if volume.dtype == np.uint16 and (intercept, slope) == (-(2**15), 1):
        return ConvertedVolume(volume, np.dtype(np.int16), lambda stored: (stored ^ 0x8000).view(np.int16))
    return rescaled(volume, slope, intercept)
