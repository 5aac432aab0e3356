"""Spacings that contradict each other: two files, or a file and what the caller says."""

from __future__ import annotations

from math import isclose

from ps3d_rt.io.base import SpacingMm

_AS_GOOD_AS_EQUAL = 0.005
"""What people round away; by this much a volume is off by 1.5 %."""


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
    if all(isclose(a, b, rel_tol=_AS_GOOD_AS_EQUAL) for a, b in zip(one, other, strict=True)):
        return None
    return f"{by} says {_text(one)} mm a voxel, {by_other} {_text(other)}"


def contradicted(used: SpacingMm | None, by: str, other: SpacingMm | None, by_other: str) -> tuple[str, ...]:
    """Give the warning that two sources of a spacing, of which the first counts, contradict each other; () if not."""
    said = contradiction(used, by, other, by_other)
    return () if said is None else (f"{said}: {by} counts; check which is right.",)


def _text(spacing_mm: SpacingMm) -> str:
    sides = [f"{side:.4g}" for side in spacing_mm]
    return sides[0] if len(set(sides)) == 1 else ",".join(sides)
