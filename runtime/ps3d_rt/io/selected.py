"""A volume of which only a part counts: a box, a mask, and not the constant around a reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume


@final
class Selected(Volume):
    """A volume that has one gray value wherever it does not count. It belongs to the caller, as the mask does.

    Args:
        whole: the volume.
        gray: what it has outside, rounded to its dtype: the embedding.
        roi: the box that counts; nothing outside of it is read.
        mask: a volume of the same shape; voxels that are 0 there do not count.
        constant: gray value that stands for no measurement.
    """

    def __init__(
        self,
        whole: Volume,
        *,
        gray: float = 0.0,
        roi: Box | None = None,
        mask: Volume | None = None,
        constant: float | None = None,
    ) -> None:
        super().__init__(
            source=whole.source,
            name=whole.name,
            shape=whole.shape,
            dtype=whole.dtype,
            spacing_mm=whole.spacing_mm,
            chunk=whole.chunk,
        )
        self.planes_per_read = whole.planes_per_read
        if mask is not None and mask.shape != whole.shape:
            raise InputError(
                f"{mask.source}: the mask has {mask.shape} voxels and the scan {whole.shape}; "
                "both must have the same shape."
            )
        self.warn(*whole.warnings, *(() if mask is None else mask.warnings))
        self.path = whole.path
        self.whole, self.mask = whole, mask
        self._gray, self._roi, self._constant = gray, roi, constant
        if roi is not None or mask is not None:
            box = None if roi is None else [roi.start, roi.stop]
            self.selection = {"roi": box, "mask": None if mask is None else mask.source}
        self._reopened_by = (_again, (whole, gray, roi, mask, constant))

    def with_outside(self, gray: float, constant: float | None) -> Selected:
        """Give the same selection with another gray value outside, and without a constant."""
        return Selected(self.whole, gray=gray, roi=self._roi, mask=self.mask, constant=constant)

    def inside(self, box: Box) -> Array | None:
        """Tell which voxels are in the roi and the mask."""
        if self._roi is None and self.mask is None:
            return None
        here = np.zeros(box.shape, bool)
        common = box if self._roi is None else box.intersect(self._roi)
        if common.size:
            here[common.relative_to(box).slices] = True if self.mask is None else self.mask.read(common) != 0
        return here

    def _read_into(self, out: Array, box: Box) -> None:
        common = box if self._roi is None else box.intersect(self._roi)
        gray = np.float64(self._gray).round() if self.dtype.kind != "f" else self._gray
        if common != box:
            out[...] = gray
        if not common.size:
            return
        part = out[common.relative_to(box).slices]
        part[...] = self.whole.read(common)
        if self.mask is not None:
            part[self.mask.read(common) == 0] = gray
        if self._constant is not None:
            part[part == self._constant] = gray


Roi = Sequence[tuple[int | None, int | None]]
"""First and last + 1 voxel along z, y and x; None is the face of the volume."""


def select(volume: Volume, roi: Roi | None, mask: Volume | None) -> Volume:
    """Choose the part of a volume that counts; without a choice it is the volume itself.

    Raises:
        InputError: if the roi does not lie in the volume, or the mask has another shape.
    """
    if roi is None and mask is None:
        return volume
    return Selected(volume, roi=None if roi is None else _box(roi, volume), mask=mask)


def _box(roi: Roi, volume: Volume) -> Box:
    ends = [(a or 0, n if b is None else b) for (a, b), n in zip(roi, volume.shape, strict=True)]
    if not all(0 <= a < b <= n for (a, b), n in zip(ends, volume.shape, strict=True)):
        told = ",".join(f"{a}:{b}" for a, b in ends)
        allowed = ",".join(f"0:{n}" for n in volume.shape)
        raise InputError(f"{volume.source}: the roi is {told}; it must lie inside {allowed}, z,y,x.")
    (z, d), (y, h), (x, w) = ends
    return Box((z, y, x), (d, h, w))


def _again(whole: Volume, gray: float, roi: Box | None, mask: Volume | None, constant: float | None) -> Selected:
    return Selected(whole, gray=gray, roi=roi, mask=mask, constant=constant)
