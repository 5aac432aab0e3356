"""Finds voxels outside the scanned circle, box or tube.

Candidates are voxels of one kind, such as one gray value. From the middle of the volume outwards, in every direction,
they must come last, and hardly any may come before something else. The scanned part may be a cylinder, a box, or a
turned box: any convex shape around the middle. If whole directions consist of the candidates, they are not outside but
the embedding of a few particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx

_CELLS = 12
"""Directions along each edge of a cube around the middle."""
_STEPS = 32
"""Between the middle and the faces of the volume."""
_RINGS = (6 * _CELLS**2, _STEPS)
_PURE = 0.98
"""Least share of the kind beyond the place where the outside begins."""
_WELL_INSIDE = 0.8
"""Of the way to that place."""
_MIDDLE_STEPS = 8
"""Of a direction: where the outside begins as near to the middle, all of the way is outside."""
_MOST_EMPTY = 0.05
"""Share of the directions that may be of the kind from the middle to the face."""
_THIN = 2
"""Every so many voxels are enough to see the shape of what lies outside."""
LEAST_OUTSIDE = 0.002
"""Share of the volume; less is no corner."""
MOST_INSIDE_DARK = 0.1
MOST_INSIDE_BRIGHT = 0.002


@dataclass(frozen=True, slots=True)
class SampledVoxels:
    """Voxels of a box of a volume, read for a look at its gray values."""

    start: Zyx
    """First voxel."""
    voxels: NDArray[np.generic]
    """(z, y, x), any real dtype."""
    inside: NDArray[np.bool_] | None = None
    """(z, y, x), which of them count; None: all."""


@dataclass(frozen=True, slots=True)
class Outside:
    """One exact gray value that stands for no measurement."""

    value: float
    share: float
    """Of the voxels looked at that have it, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Rim:
    """What a kind of voxel does outside and inside."""

    share: float
    """Of all voxels that lie outside, in [0, 1]."""
    inside: float
    """Share of the kind among the voxels well inside, in [0, 1]; 1 if there is no inside."""
    outer: NDArray[np.bool_]
    """(n,) which voxels lie outside."""
    inner: NDArray[np.bool_]
    """(n,) which lie well inside."""


def rim(
    kind: NDArray[np.bool_],
    grids: Sequence[tuple[Zyx, Zyx, Zyx]],
    shape: Zyx,
    *,
    counts: NDArray[np.bool_] | None = None,
    pure: float = _PURE,
) -> Rim:
    """Tell how much of a kind of voxel lies outside, and how much of it is found well inside too.

    Args:
        kind: (n,) whether a voxel, or a larger cube, is of the kind: in raster order, one grid after the other.
        grids: first voxel, number of cubes along each axis, and the sides of a cube.
        shape: of the volume, voxels.
        counts: (n,) False for voxels that are outside for another reason; None: all count.
        pure: least share of the kind beyond the place where the outside begins, in each direction.
    """
    counted = np.ones(len(kind), bool) if counts is None else counts
    passing = kind | ~counted
    ring = _directions(grids, shape, passing)
    rings = np.ravel_multi_index(ring, _RINGS)

    def per_ring(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(rings[mask], minlength=_RINGS[0] * _RINGS[1]).reshape(_RINGS)

    passed, total = per_ring(passing), per_ring(np.ones(len(kind), bool))
    found, of = per_ring(kind & counted), per_ring(counted)
    # Every ring on the way out must be of the kind, and so must all that follow it.
    outer = np.logical_and.accumulate((passed >= pure * total)[:, ::-1], axis=1)[:, ::-1] & (total > 0)
    begin = np.where(outer.any(axis=1), outer.argmax(axis=1), _STEPS)
    within = np.arange(_STEPS) < _WELL_INSIDE * begin[:, None]
    known = total[:, :_MIDDLE_STEPS].any(axis=1)
    empty = begin[known] <= _MIDDLE_STEPS
    scanned = of[within].any() and empty.sum() <= _MOST_EMPTY * known.sum()
    inside = found[within].sum() / of[within].sum() if scanned else 1.0
    return Rim(float(found[outer].sum() / max(1, of.sum())), float(inside), outer[ring], within[ring])


def _directions(
    grids: Sequence[tuple[Zyx, Zyx, Zyx]], shape: Zyx, kind: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the direction of each cube, seen from the middle of those not of the kind, and its step to the faces."""
    places = np.concatenate([_places(*grid) for grid in grids])
    middle = places[~kind].mean(axis=0) if not kind.all() else np.asarray(shape) / 2
    at = (places - middle) / np.where(places < middle, middle, np.asarray(shape) - middle)
    radius, face = np.abs(at).max(axis=1), np.abs(at).argmax(axis=1)
    rows = np.arange(len(at))
    others = at[rows[:, None], (face[:, None] + [1, 2]) % 3] / np.maximum(radius, 1e-9)[:, None]
    u, v = np.clip(((others + 1) / 2 * _CELLS).astype(np.int64), 0, _CELLS - 1).T
    cell = ((face * 2 + (at[rows, face] > 0)) * _CELLS + u) * _CELLS + v
    return cell, np.clip((radius * _STEPS).astype(np.int64), 0, _STEPS - 1)


def _places(start: Zyx, counts: Zyx, sides: Zyx) -> NDArray[np.float64]:
    """Middles of the cubes of a grid, (n, 3) voxels of the volume."""
    axes = [a + (np.arange(count) + 0.5) * side for a, count, side in zip(start, counts, sides, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def leave_out_constant(parts: Sequence[SampledVoxels], shape: Zyx) -> tuple[list[SampledVoxels], Outside | None]:
    """Leave out the one exact gray value that fills what lies outside the scanned circle or box, if there is one.

    Such a value is outside in the sense of :func:`rim`. Where it is darker than most of the sample, one voxel in ten
    may have it inside too; a bright one must be rare there, or it is what saturated particles have.

    Args:
        parts: boxes of the volume that reach its faces.
        shape: of the volume.

    Returns:
        The parts without voxels of that value, wherever they are, and what it is.
    """
    value = _constant(parts, shape)
    if value is None:
        return list(parts), None
    left, count = [], 0
    for part in parts:
        here = part.voxels != value
        left.append(replace(part, inside=here if part.inside is None else here & part.inside))
        count += here.size - int(np.count_nonzero(here))
    inside = [part.voxels[part.inside] for part in left if part.inside is not None and part.inside.any()]
    if not inside or min(some.min() for some in inside) == max(some.max() for some in inside):
        return list(parts), None  # a drawing in two gray values has no outside
    return left, Outside(value, count / sum(part.voxels.size for part in parts))


def _constant(parts: Sequence[SampledVoxels], shape: Zyx) -> float | None:
    alike = np.concatenate([part.voxels[_like_their_neighbours(part.voxels)] for part in parts])
    if len(alike) < LEAST_OUTSIDE * sum(part.voxels.size for part in parts):
        return None
    candidates, counts = np.unique(alike, return_counts=True)
    value = candidates[counts.argmax()]
    thinned = [part.voxels[::_THIN, ::_THIN, ::_THIN] for part in parts]
    grids = [(part.start, some.shape, (_THIN,) * 3) for part, some in zip(parts, thinned, strict=True)]
    values = np.concatenate([some.ravel() for some in thinned])
    found = rim(values == value, grids, shape)
    dark = np.count_nonzero(values < value) <= np.count_nonzero(values > value)
    allowed = MOST_INSIDE_DARK if dark else MOST_INSIDE_BRIGHT
    return float(value) if found.share >= LEAST_OUTSIDE and found.inside <= allowed else None


def _like_their_neighbours(voxels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark the voxels that have exactly the value of the next along every axis."""
    alike = np.ones(voxels.shape, bool)
    for axis in range(3):
        same = np.diff(voxels, axis=axis) == 0 if voxels.dtype != bool else ~np.diff(voxels, axis=axis)
        first = [slice(None)] * 3
        first[axis] = slice(0, -1)
        alike[tuple(first)] &= same
    return alike
