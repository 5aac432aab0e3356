"""Which voxels of a volume to look at before a run: few, spread over all of it, and cheap to read.

Files are decoded in chunks or planes, so whole chunks or planes are sampled. The choice depends on the volume and its
file only, not on the chunks or workers of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import cast

from ps3d_rt.core.grid import Box, Zyx

SMALL_VOXELS = 2**21
"""A volume of as many voxels is looked at whole."""
SHARE = 0.02
"""Of the voxels of a larger one, but at least as many as of a small one."""
MOST_VOXELS = 2**24
"""That are kept of all that was read."""
_DEPTH, _SIDE, _TILE = 4, 32, 64
_STEPS = tuple(1.2207440846057596**-power for power in (1, 2, 3))
"""Of an additive sequence whose points, in three dimensions, are spread evenly whatever their number (Roberts 2018)."""


@dataclass(frozen=True, slots=True)
class SampledBox:
    """A box to read, and the boxes in it to keep."""

    read: Box
    keep: tuple[Box, ...]


def sampled_boxes(shape: Zyx, chunk: Zyx) -> list[SampledBox]:
    """Choose boxes of a volume.

    Args:
        shape: of the volume.
        chunk: voxels that are decoded together; chunks start at multiples of it.

    >>> len(sampled_boxes((100, 100, 100), (64, 64, 64)))
    1
    >>> chosen = sampled_boxes((1000, 2000, 2000), (1, 2000, 2000))
    >>> len(chosen), chosen[0].read.shape, len(chosen[0].keep)
    (5, (4, 2000, 2000), 225)
    """
    voxels = prod(shape)
    if voxels <= SMALL_VOXELS:
        whole = Box.of_shape(shape)
        return [SampledBox(whole, (whole,))]
    in_planes = chunk[1:] == shape[1:]
    least = (_DEPTH if in_planes else _SIDE, _SIDE, _SIDE)
    unit = cast(Zyx, tuple(min(n, ceil(a / c) * c) for n, c, a in zip(shape, chunk, least, strict=True)))
    counts = [ceil(n / u) for n, u in zip(shape, unit, strict=True)]
    wanted = min(prod(counts), ceil(max(SMALL_VOXELS, SHARE * voxels) / prod(unit)))
    places: dict[tuple[int, ...], None] = {}
    step = 0
    while len(places) < wanted:
        places[tuple(int((0.5 + step * a) % 1 * n) for a, n in zip(_STEPS, counts, strict=True))] = None
        step += 1
    thinned = max(1.0, wanted * prod(unit) / MOST_VOXELS)
    return [_sampled_box(place, unit, shape, thinned) for place in places]


def _sampled_box(place: tuple[int, ...], unit: Zyx, shape: Zyx, thinned: float) -> SampledBox:
    start = cast(Zyx, tuple(i * u for i, u in zip(place, unit, strict=True)))
    stop = cast(Zyx, tuple(min(a + u, n) for a, u, n in zip(start, unit, shape, strict=True)))
    sides = [b - a for a, b in zip(start, stop, strict=True)]
    wide = sum(side > _TILE for side in sides)
    pitch = ceil(_TILE * thinned ** (1 / wide)) if wide and thinned > 1 else max(sides)
    length = _TILE if wide and thinned > 1 else max(sides)
    corners = product(*(range(a, b, pitch) for a, b in zip(start, stop, strict=True)))
    tiles = (Box((z, y, x), (z + length, y + length, x + length)).intersect(Box(start, stop)) for z, y, x in corners)
    # A sliver at the end has no inside.
    keep = tuple(tile for tile in tiles if min(tile.shape) >= min(2, *sides))
    return SampledBox(Box(start, stop), keep)
