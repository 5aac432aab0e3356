"""The surface that a stroke in one slice is a section of: the stroke swept through the particle at the best tilt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.errors import InputError

COARSE_DEGREES, FINE_DEGREES, MOST_DEGREES = 15, 5, 75
STEP = 0.5
"""Voxels between places on the surface: close enough that none is missed; twice that to compare tilts."""
GRAY_WEIGHT = 1.0
"""How much more a bright voxel of the section costs than a dark one."""
SLANT_WEIGHT = 0.1
"""How much smaller than a straight section one at a tilt of 60° must be, as a share."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SweptSurface:
    """A ruled surface through a particle."""

    voxels: NDArray[np.bool_]
    """(z, y, x), those of the particle that it passes."""
    middle: Floats
    """A place on it, voxels."""
    normal: Floats
    """Its direction across, unit length, in the middle."""
    tilt_degrees: float
    """0: at right angles to the slice of the stroke."""


def sweep(mask: NDArray[np.bool_], stroke: Floats, image: NDArray[Any] | None = None) -> SweptSurface:
    """Find the surface; see :func:`ps3d_training.annotate.split.split_by_stroke`.

    Raises:
        InputError: if the stroke has no length, lies in no plane of the grid, or misses the particle.
    """
    along, up = _directions(stroke)
    across = np.cross(up, along)
    cost = _cost(mask, image)
    rough = _resampled(stroke, float(np.linalg.norm(mask.shape)), 2 * STEP)

    def price(tilt: float) -> float:
        section = _section(mask, rough, _way(up, across, tilt), 2 * STEP)
        slant = 1 + SLANT_WEIGHT * (1 / np.cos(np.radians(tilt)) - 1)
        return float(cost[tuple(section.T)].sum()) * slant if len(section) else np.inf

    tilts = np.arange(-MOST_DEGREES, MOST_DEGREES + 1, COARSE_DEGREES, dtype=np.float64)
    best = min(tilts, key=price)
    near = np.arange(best - COARSE_DEGREES + FINE_DEGREES, best + COARSE_DEGREES, FINE_DEGREES)
    tilt = min(near[np.abs(near) <= MOST_DEGREES], key=price)
    way = _way(up, across, tilt)
    section = _section(mask, _resampled(stroke, float(np.linalg.norm(mask.shape)), STEP), way, STEP)
    if not len(section):
        raise InputError("the stroke misses the particle; draw it across.")
    voxels = np.zeros(mask.shape, np.bool_)
    voxels[tuple(section.T)] = True
    return SweptSurface(voxels, stroke.mean(axis=0), np.cross(way, along), float(tilt))


def _directions(stroke: Floats) -> tuple[Floats, Floats]:
    """Give unit vectors along the stroke, and across the slice that it lies in."""
    extent = np.ptp(stroke, axis=0)
    if np.linalg.norm(stroke[-1] - stroke[0]) < 1:
        raise InputError("the stroke has no length; draw it from one edge of the contact to the other.")
    if extent.min() > 0.75:
        raise InputError("the stroke lies in no slice; draw it in one slice.")
    up: Floats = np.eye(3)[np.argmin(extent)]
    return _unit((stroke[-1] - stroke[0]) * (1 - up)), up


def _resampled(stroke: Floats, beyond: float, step: float) -> Floats:
    """Give places along the stroke, and straight on past both ends: in another slice the contact may be wider.

    Returns:
        (n, 3) places, ``step`` apart.
    """
    gone = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(stroke, axis=0), axis=1))])
    at = np.arange(0, gone[-1], step)
    line = np.stack([np.interp(at, gone, axis) for axis in stroke.T], axis=1)
    further = np.arange(step, beyond, step)[:, None]
    few = min(3, len(line) - 1)
    ends = _unit(line[0] - line[few]), _unit(line[-1] - line[-1 - few])
    return np.concatenate([(line[0] + further * ends[0])[::-1], line, line[-1] + further * ends[1]])


def _unit(vector: Floats) -> Floats:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length if length else vector, np.float64)


def _way(up: Floats, across: Floats, degrees: float) -> Floats:
    return np.asarray(up * np.cos(np.radians(degrees)) + across * np.sin(np.radians(degrees)), np.float64)


def _cost(mask: NDArray[np.bool_], image: NDArray[Any] | None) -> NDArray[np.float32]:
    """Price every voxel of a section: 1, and up to 1 more where it is bright."""
    if image is None:
        return np.ones(mask.shape, np.float32)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1.0)
    low, high = np.percentile(smooth[mask], [5, 95])
    return np.asarray(1 + GRAY_WEIGHT * np.clip((smooth - low) / max(high - low, 1e-6), 0, 1), np.float32)


def _section(mask: NDArray[np.bool_], line: Floats, way: Floats, step: float) -> NDArray[np.int64]:
    """Cut the particle along ``line`` swept by ``way``.

    Returns:
        (n, 3) voxels, some more than once: those that hang together with the largest part of the stroke.
    """
    far = float(np.linalg.norm(mask.shape))
    reach = np.arange(-np.ceil(far / step), np.ceil(far / step) + 1) * step
    places = np.rint(line[:, None, :] + reach[None, :, None] * way).astype(np.int64)
    inside = np.all((places >= 0) & (places < mask.shape), axis=2)
    inside[inside] = mask[tuple(places[inside].T)]
    pieces, _ = ndimage.label(inside)
    met = pieces[:, len(reach) // 2]
    met = met[met > 0]
    if not len(met):
        return np.empty((0, 3), np.int64)
    found: NDArray[np.int64] = places[pieces == np.bincount(met).argmax()]
    return found
