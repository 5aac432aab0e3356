"""How large a voxel is, as a file states it: what a format or library fills in by itself is told from a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from ps3d_rt.io.base import SpacingMm
from ps3d_rt.io.units import mm_per


@dataclass(frozen=True, slots=True)
class Stated:
    """What was found.

    Attributes:
        spacing_mm: millimetres a voxel, z, y, x; None if it is not known.
        remarks: why it is not known or not sure, a sentence each, for :meth:`ps3d_rt.io.base.Volume.warn`.
    """

    spacing_mm: SpacingMm | None = None
    remarks: tuple[str, ...] = ()


def stated_spacing(
    sizes: Sequence[float | None], units: Sequence[str | None], source: str, *, usual_unit: str | None = None
) -> Stated:
    """Judge the sides of a voxel, z, y, x, and their units.

    Zero, NaN and infinity are no sizes, a sign is a direction. Exactly 1 on every axis is what programs write who do
    not know: without a unit it counts for nothing, with one it is kept and doubted.

    Args:
        sizes: as the file has them; None for an axis of which it says nothing.
        units: of each size, None if the file names none.
        source: file, for the remarks.
        usual_unit: what the tools of the format take where no unit is named.

    >>> stated_spacing([20, 10, 10], ["µm"] * 3, "a.nrrd").spacing_mm
    (0.02, 0.01, 0.01)
    >>> stated_spacing([0, 0, 0], ["mm"] * 3, "a.nii").spacing_mm is None
    True
    """
    known = [abs(size) for size in sizes if size is not None]
    if len(known) != 3:
        return Stated()
    said = f"{source}: gives {', '.join(f'{size:g}' for size in known)} as the voxel size"
    if not all(isfinite(size) and size > 0 for size in known):
        return Stated(None, (f"{said}, which is none: it is taken as not known.",))
    is_default = set(known) == {1.0}
    if None in units and is_default:
        return Stated(None, (f"{said} and no unit, as programs do that do not know it: pass --spacing in mm.",))
    mm = [mm_per(usual_unit if unit is None else unit) for unit in units]
    z, y, x = (None if factor is None else size * factor for size, factor in zip(known, mm, strict=True))
    if z is None or y is None or x is None:
        named = ", ".join(repr(unit) for unit in dict.fromkeys(units) if unit is not None)
        unit = f"the unit {named}, which is no length" if named else "no unit"
        return Stated(None, (f"{said} and {unit}: pass --spacing in mm.",))
    doubt = f"{said} in {units[0]}, as programs do that do not know it: check it, or pass --spacing in mm."
    return Stated((z, y, x), (doubt,) if is_default else ())


def number(text: str) -> float:
    """Read a number whose decimal mark may be a comma, as programs of many countries write it; NaN if it is none.

    >>> number(" 0,0125 "), number("1e-2"), number("big")
    (0.0125, 0.01, nan)
    """
    try:
        return float(text.strip() if "." in text else text.strip().replace(",", ".", 1))
    except ValueError:
        return float("nan")
