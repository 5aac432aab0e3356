"""What a segmented scan looks like, in a few numbers: noise, blur, contrasts, sizes, how full it is, what touches.

1. Thin tiles spread over the volume are looked at, the same ones whatever made it (:func:`tiles_of`).
2. :func:`measure_tile` adds up what a tile shows. Clear of particles is what lies farther than two voxels from any; the
   inside of a particle is farther than two from all else; an edge is sure if three voxels on either side belong to it.
3. :func:`to_statistics` makes the numbers of all tiles together.

Everything is measured on the normalized grid and on the gray scale of the model: what its network is shown. Noise is
half the mean square of differences over 1, 3 and 8 voxels: pixel noise is the same over any distance, grainy noise and
slow changes grow with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.core.grid import Box, Zyx

LAYERS, DEPTH = 3, 8
"""Groups of planes that are looked at, and how many planes each has: few, for files are decoded in planes."""
SIDE, ACROSS = 64, 3
"""Of a tile in its plane, voxels, and how many tiles lie along a side at most."""
AROUND = 2
"""Voxels around a tile whose labels are needed."""
LAGS = (1, 3, 8)
"""Distances over which gray values are compared, voxels."""
LEAST_INSIDE = 20
"""Voxels of the inside of a particle whose mean is a level."""
FAR_OFF = 6.0
"""Noise deviations from the embedding that count as darker or brighter than it."""
LEAST_WHOLE = 5
"""Whole particles without which their sizes are not known."""
LEAST_PAIRS = 200
"""Pairs of voxels without which a noise is not known."""

Floats = NDArray[np.float64]
Pairs = tuple[float, float]
"""Sum of the squares of differences, and how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class TileSums:
    """What one tile shows; tiles are added up."""

    voxels: int
    foreground: int
    clear: int
    """Voxels clear of particles."""
    clear_sum: float
    dark: int
    """Of those, how many are far darker than the tile's median, and how many far brighter."""
    bright: int
    noise: Floats
    """(3, 2) of pairs over :data:`LAGS` in the plane, clear of particles: sum of squared differences, number."""
    noise_along_z: Floats
    """(2,) the same over one voxel across the planes."""
    texture: Floats
    """(2,) the same over one voxel in the plane, inside of particles."""
    edges: Floats
    """(3,) over sure edges: sum of the steps from three voxels outside to three inside, of the part that lies between
    the two voxels at the edge, and between the four."""
    contact_faces: int
    """Voxel faces between two particles, and between a particle and none."""
    free_faces: int
    levels: Floats
    """(n,) mean of the inside of every particle."""


def tiles_of(shape: Zyx) -> list[Box]:
    """Choose the tiles of a volume, in raster order.

    >>> [box.start for box in tiles_of((20, 64, 200))][:3]
    [(6, 0, 1), (6, 0, 68), (6, 0, 134)]
    >>> len(tiles_of((400, 400, 400)))
    27
    """
    z = _spread(shape[0], DEPTH, LAYERS if shape[0] >= LAYERS * DEPTH else 1)
    y, x = (_spread(side, SIDE, ACROSS) for side in shape[1:])
    corners = product(z, y, x)
    return [Box((a, b, c), (a + DEPTH, b + SIDE, c + SIDE)).intersect(Box.of_shape(shape)) for a, b, c in corners]


def _spread(length: int, side: int, most: int) -> list[int]:
    """Give the starts of up to ``most`` parts, in the middles of as many equal parts of ``length``."""
    count = max(1, min(most, length // side))
    return [max(0, int((2 * k + 1) * length / (2 * count) - side / 2)) for k in range(count)]


def measure_tile(image: NDArray[np.floating[Any]], labels: NDArray[Any], inside: Box) -> TileSums:
    """Add up what a tile shows.

    Args:
        image: (z, y, x) the tile on the gray scale of the model.
        labels: of the tile and, where the volume goes on, of :data:`AROUND` voxels around it; 0 is no particle.
        inside: where the tile lies in ``labels``.
    """
    here = inside.slices
    own, voxels = labels[here], np.asarray(image, np.float64)
    clear = ~ndimage.maximum_filter(labels != 0, 2 * AROUND + 1)[here]
    lowest, highest = (f(labels, 2 * AROUND + 1)[here] for f in (ndimage.minimum_filter, ndimage.maximum_filter))
    solid = (lowest == highest) & (own != 0)
    noise = np.array([_differences(voxels, clear, lag, (1, 2)) for lag in LAGS])
    away = voxels[clear] - np.median(voxels[clear]) if clear.any() else np.empty(0)
    limit = FAR_OFF * np.sqrt(noise[0, 0] / max(1.0, 2 * noise[0, 1]))
    contact, free = _faces(own)
    return TileSums(
        voxels=own.size,
        foreground=int(np.count_nonzero(own)),
        clear=int(np.count_nonzero(clear)),
        clear_sum=float(voxels[clear].sum()),
        dark=int(np.count_nonzero(away < -limit)),
        bright=int(np.count_nonzero(away > limit)),
        noise=noise,
        noise_along_z=np.array(_differences(voxels, clear, 1, (0,))),
        texture=np.array(_differences(voxels, solid, 1, (1, 2))),
        edges=_edges(voxels, own),
        contact_faces=contact,
        free_faces=free,
        levels=_levels(voxels, np.where(solid, own, 0)),
    )


def _pairs(array: NDArray[Any], lag: int, axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the voxels that have another ``lag`` further on, and those others."""
    length = array.shape[axis]
    first, last = [slice(None)] * 3, [slice(None)] * 3
    first[axis], last[axis] = slice(0, max(0, length - lag)), slice(min(lag, length), None)
    return array[tuple(first)], array[tuple(last)]


def _differences(voxels: Floats, where: NDArray[np.bool_], lag: int, axes: tuple[int, ...]) -> Pairs:
    total, count = 0.0, 0
    for axis in axes:
        (a, b), (u, v) = _pairs(voxels, lag, axis), _pairs(where, lag, axis)
        apart = (b - a)[u & v]
        total += float(np.sum(apart * apart))
        count += apart.size
    return total, float(count)


def _faces(own: NDArray[Any]) -> tuple[int, int]:
    contact = free = 0
    for axis in range(3):
        a, b = _pairs(own, 1, axis)
        differ = a != b
        both = differ & (a != 0) & (b != 0)
        contact += int(np.count_nonzero(both))
        free += int(np.count_nonzero(differ)) - int(np.count_nonzero(both))
    return contact, free


def _edges(voxels: Floats, own: NDArray[Any]) -> Floats:
    """Add up the steps over edges in the plane, from a particle to where there is none, and the other way."""
    sums = np.zeros(3)
    for axis in (1, 2):
        for backwards in (False, True):
            ids, gray = (np.flip(a, axis) if backwards else a for a in (own, voxels))
            n = ids.shape[axis] - 5
            if n < 1:
                continue
            at = [(slice(None),) * axis + (slice(k, k + n),) for k in range(6)]
            p = ids[at[0]]
            sure = (p != 0) & (ids[at[1]] == p) & (ids[at[2]] == p)
            for k in (3, 4, 5):
                sure &= ids[at[k]] == 0
            for k, (near, far) in enumerate(((0, 5), (2, 3), (1, 4))):
                sums[k] += float(np.sum(gray[at[near]][sure] - gray[at[far]][sure]))
    return sums


def _levels(voxels: Floats, inner: NDArray[Any]) -> Floats:
    ids, where = np.unique(inner, return_inverse=True)
    counts = np.bincount(where.ravel())
    means = np.bincount(where.ravel(), voxels.ravel()) / counts
    return np.asarray(means[(ids != 0) & (counts >= LEAST_INSIDE)])


def to_statistics(tiles: Iterable[TileSums], diameters: Floats) -> dict[str, float]:
    """Make the numbers of a scan; what its tiles do not show is not among them.

    Args:
        tiles: of the scan.
        diameters: (n,) equivalent diameters of its whole particles, voxels of the normalized grid.
    """
    tiles = list(tiles)
    return {name: value for name, value in _statistics(tiles, diameters) if np.isfinite(value)}


def _statistics(tiles: list[TileSums], diameters: Floats) -> Iterator[tuple[str, float]]:
    def total(name: str) -> Any:
        return sum(getattr(tile, name) for tile in tiles)

    clear, voxels = total("clear"), total("voxels")
    noise = [_half_mean(pairs) for pairs in total("noise")]
    background = total("clear_sum") / clear if clear else np.nan
    yield "background", background
    yield "noise", float(np.sqrt(noise[0]))
    yield "noise_over_3", _ratio(noise[1], noise[0])
    yield "noise_over_8", _ratio(noise[2], noise[0])
    yield "noise_across_planes", _ratio(_half_mean(total("noise_along_z")), noise[0])
    yield "dark_share", total("dark") / clear if clear else np.nan
    yield "bright_share", total("bright") / clear if clear else np.nan
    levels = np.concatenate([tile.levels for tile in tiles])
    if levels.size:
        for name, value in zip(("p10", "p50", "p90"), np.quantile(levels, (0.1, 0.5, 0.9)), strict=True):
            yield f"level_{name}", float(value) - background
    yield "texture", float(np.sqrt(_half_mean(total("texture"))))
    step, between_two, between_four = total("edges")
    if step > 0:
        yield "edge_over_1", between_two / step
        yield "edge_over_3", between_four / step
    yield "fill", total("foreground") / voxels
    contact, free = total("contact_faces"), total("free_faces")
    yield "contact_share", contact / (contact + free) if contact + free else np.nan
    if diameters.size >= LEAST_WHOLE:
        yield "size", float(np.median(diameters))
        yield "size_spread", float(np.std(np.log(diameters)))


def _half_mean(pairs: Floats) -> float:
    return float(pairs[0] / pairs[1] / 2) if pairs[1] >= LEAST_PAIRS else np.nan


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else np.nan


def measure_volume(image: NDArray[np.floating[Any]], labels: NDArray[Any]) -> dict[str, float]:
    """Measure a volume in memory, as a run measures its scan.

    Args:
        image: (z, y, x) on the normalized grid and the gray scale of a model.
        labels: the same shape, particle ids; 0 is none.
    """
    shape: Zyx = (image.shape[0], image.shape[1], image.shape[2])
    sums = []
    for tile in tiles_of(shape):
        around = tile.grow(AROUND, Box.of_shape(shape))
        sums.append(measure_tile(image[tile.slices], labels[around.slices], tile.relative_to(around)))
    return to_statistics(sums, whole_diameters(labels))


def whole_diameters(labels: NDArray[Any]) -> Floats:
    """Give the equivalent diameters of the particles that no face of the volume cuts, (n,) voxels."""
    ids, counts = np.unique(labels, return_counts=True)
    cut = np.unique(np.concatenate([np.take(labels, (0, -1), axis).ravel() for axis in range(3)]))
    whole = (ids != 0) & ~np.isin(ids, cut)
    diameters: Floats = np.cbrt(6 / np.pi * counts[whole].astype(np.float64))
    return diameters
