"""How narrow a particle is between its two parts: 0 where they just touch, 1 where it has no neck.

1. Every voxel gets its distance to outside the particle, a little smoothed: hills whose height is how thick a part is.
2. The hills are flooded from the top, voxel by voxel. Where two meet, the saddle between them is half as wide as the
   neck there. Of all meetings counts the one whose lower hill stands highest above the saddle, if that hill has 0.4 of
   the height of the highest: smaller ones are corners.
3. The ratio is the height of that saddle over that of the lower hill.

It is a ratio of lengths, so large particles are looked at in every second voxel, or third … only: time and memory stay
small. A particle is put together from the parts of a volume before it is looked at, so the cutting changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.grid import Box, Zyx

LabelPart = tuple[Box, Callable[[], NDArray[Any]]]
"""A box of a label volume, and what reads its ids; it is called only if they are needed."""

_SIDE = 24
"""Voxels along a side of a cube of the particle's volume that are enough to see a neck."""
_SMOOTHING = 0.5
"""Standard deviation, voxels."""
_LEAST_HILL = 0.4


def find_necks(
    label: NDArray[np.uint64],
    voxels: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    parts: Iterable[LabelPart],
) -> NDArray[np.float64]:
    """Measure the necks of some particles, (n,).

    Args:
        label: (n,)
        voxels: (n,) their volumes.
        starts: (n, 3) first voxels of their bounding boxes, z, y, x.
        stops: (n, 3) one past the last.
        parts: boxes that tile the volume of the labels.
    """
    necks, unfinished = np.ones(len(label)), dict[int, _Shape]()
    for box, read in parts:
        here = np.flatnonzero(((starts < box.stop) & (stops > box.start)).all(axis=1))
        if not here.size:
            continue
        ids = read()
        for row in here.tolist():
            if row not in unfinished:
                own = Box(cast(Zyx, tuple(starts[row].tolist())), cast(Zyx, tuple(stops[row].tolist())))
                unfinished[row] = _Shape.of(own, int(voxels[row]))
            shape = unfinished[row]
            shape.add(box, ids, ids.dtype.type(int(label[row])))  # of one type: no detour over float64
            if not shape.missing:
                necks[row] = neck_ratio(unfinished.pop(row).inside)
    return necks


@dataclass
class _Shape:
    """The voxels of one particle in its bounding box, every ``step``-th along each axis."""

    box: Box
    step: int
    inside: NDArray[np.bool_]
    missing: int
    """Voxels of the box that no part has given yet."""

    @classmethod
    def of(cls, box: Box, voxels: int) -> _Shape:
        step = max(1, round(voxels ** (1 / 3)) // _SIDE)
        return cls(box, step, np.zeros([-(-n // step) for n in box.shape], bool), box.size)

    def add(self, part: Box, ids: NDArray[Any], label: Any) -> None:
        here = self.box.intersect(part)
        self.missing -= here.size
        first = [-(-(a - b) // self.step) for a, b in zip(here.start, self.box.start, strict=True)]
        stop = [-(-(a - b) // self.step) for a, b in zip(here.stop, self.box.start, strict=True)]
        own = tuple(slice(a, b) for a, b in zip(first, stop, strict=True))
        theirs = tuple(
            slice(b + i * self.step - p, q - p, self.step)
            for b, i, p, q in zip(self.box.start, first, part.start, here.stop, strict=True)
        )
        self.inside[own] = ids[theirs] == label


def neck_ratio(inside: NDArray[np.bool_]) -> float:
    """Measure the neck of a particle, 0 to 1; 1 where there is none.

    Args:
        inside: (z, y, x) its voxels.

    >>> two = np.zeros((9, 9, 21), bool)
    >>> two[1:8, 1:8, 1:8] = two[1:8, 1:8, 13:20] = two[4, 4, 8:13] = True
    >>> neck_ratio(two) < 0.4, neck_ratio(two[:, :, :10])
    (True, 1.0)
    """
    padded = np.pad(inside, 2)
    heights = ndimage.gaussian_filter(ndimage.distance_transform_edt(padded), _SMOOTHING)
    heights[~padded] = 0
    flat = heights.ravel()
    voxels = np.flatnonzero(flat)
    order = voxels[np.argsort(-flat[voxels], kind="stable")]
    _, rows, width = padded.shape
    near = (-1, 0, 1)
    steps = np.array([(z * rows + y) * width + x for z in near for y in near for x in near if (z, y, x) != (0, 0, 0)])
    return float(_deepest_saddle(flat, order, steps, _LEAST_HILL)) if order.size else 1.0


@compiled
def _deepest_saddle(
    heights: NDArray[np.float64], order: NDArray[np.int64], steps: NDArray[np.int64], least: float
) -> float:
    """Flood hills from the top; give saddle over hill where the hill stands highest above the saddle, 1 if nowhere.

    A hill is known by its top, at which all its voxels end that point to each other.
    """
    above = np.full(heights.size, -1, np.int64)
    deepest, ratio = 0.0, 1.0
    for voxel in order:
        above[voxel] = voxel
        for step in steps:
            if above[voxel + step] < 0:
                continue
            high, low = voxel, voxel + step
            while above[high] != high:
                above[high] = above[above[high]]
                high = above[high]
            while above[low] != low:
                above[low] = above[above[low]]
                low = above[low]
            if high == low:
                continue
            if heights[high] < heights[low] or (heights[high] == heights[low] and high > low):
                high, low = low, high
            depth = heights[low] - heights[voxel]
            if depth > deepest and heights[low] >= least * heights[order[0]]:
                deepest, ratio = depth, heights[voxel] / heights[low]
            above[low] = high
    return ratio
