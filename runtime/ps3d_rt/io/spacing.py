"""The size of a voxel: what a file states, and whether two sources agree.

Formats and libraries fill in a size where none is known. Such a default is told from a statement here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isclose, isfinite

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.units import mm_per

_SAME_WITHIN = 0.005
"""What people round away; by this much a volume is off by 1.5 %."""


@dataclass(frozen=True, slots=True)
class StatedSpacing:
    """What was found.

    Attributes:
        spacing_mm: millimetres a voxel, z, y, x; None if it is not known.
        remarks: why it is not known or not sure, a sentence each, for :meth:`ps3d_rt.io.base.Volume.warn`.
    """

    spacing_mm: SpacingMm | None = None
    remarks: tuple[str, ...] = ()


def stated_spacing(
    sizes: Sequence[float | None], units: Sequence[str | None], source: str, *, usual_unit: str | None = None
) -> StatedSpacing:
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
        return StatedSpacing()
    said = f"{source}: gives {', '.join(f'{size:g}' for size in known)} as the voxel size"
    if not all(isfinite(size) and size > 0 for size in known):
        return StatedSpacing(None, (f"{said}, which is none: it is taken as not known.",))
    is_default = set(known) == {1.0}
    if None in units and is_default:
        return StatedSpacing(None, (f"{said} and no unit, as programs do that do not know it: pass --spacing in mm.",))
    mm = [mm_per(usual_unit if unit is None else unit) for unit in units]
    z, y, x = (None if factor is None else size * factor for size, factor in zip(known, mm, strict=True))
    if z is None or y is None or x is None:
        named = ", ".join(repr(unit) for unit in dict.fromkeys(units) if unit is not None)
        unit = f"the unit {named}, which is not a length" if named else "no unit"
        return StatedSpacing(None, (f"{said} and {unit}: pass --spacing in mm.",))
    warning = f"{said} in {units[0]}, as programs do that do not know it: check it, or pass --spacing in mm."
    return StatedSpacing((z, y, x), (warning,) if is_default else ())


def contradiction(one: SpacingMm | None, by: str, other: SpacingMm | None, by_other: str) -> str | None:
    """Say how two spacings differ, the start of a sentence; None if they agree, or one is not known.

    Args:
        one: millimetres a voxel, z, y, x.
        by: who says so.
        other: as ``one``.
        by_other: who says so.

    >>> contradiction((0.01, 0.01, 0.01), "--spacing", (0.02, 0.01, 0.01), "a.tif")
    '--spacing says 0.01 mm a voxel, a.tif 0.02,0.01,0.01'
    >>> contradiction((0.01, 0.01, 0.01), "--spacing", (0.01001, 0.01, 0.01), "a.tif")
    """
    if one is None or other is None:
        return None
    if all(isclose(a, b, rel_tol=_SAME_WITHIN) for a, b in zip(one, other, strict=True)):
        return None
    return f"{by} says {_text(one)} mm a voxel, {by_other} {_text(other)}"


def contradicted(used: SpacingMm | None, by: str, other: SpacingMm | None, by_other: str) -> tuple[str, ...]:
    """Give the warning that two sources of a spacing, of which the first counts, contradict each other; () if not."""
    said = contradiction(used, by, other, by_other)
    return () if said is None else (f"{said}: {by} counts; check which is right.",)


def spacing_that_counts(given: SpacingMm | None, read: Callable[[], StatedSpacing], by: str) -> StatedSpacing:
    """Choose between what the caller says, which counts, and what a file states, which is compared with it.

    If the caller gives it, a broken statement in the file does no harm.

    Args:
        given: by the caller; None: the file counts.
        read: reads what the file states.
        by: the file that states it.

    >>> spacing_that_counts((0.01,) * 3, lambda: StatedSpacing((0.02,) * 3), "a.tif").remarks
    ('--spacing says 0.01 mm a voxel, a.tif 0.02: --spacing counts; check which is right.',)
    """
    if given is None:
        return read()
    try:
        with read_errors(by, "the voxel size"):
            stated = read().spacing_mm
    except InputError:
        stated = None
    return StatedSpacing(given, contradicted(given, "--spacing", stated, by))


def _text(spacing_mm: SpacingMm) -> str:
    sides = [f"{side:.4g}" for side in spacing_mm]
    return sides[0] if len(set(sides)) == 1 else ",".join(sides)
