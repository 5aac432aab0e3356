"""Parallel-beam projection and back-projection, slice by slice, for all slices of a slab at once.

The innermost axis of every array is the one that slices (and basis materials) lie on, so that each step along a ray is
one run over neighbouring numbers. Lengths are in pixels. A ray's detector coordinate is
``(x - middle) · cos θ + (y - middle) · sin θ``; the middle of the detector is the axis of rotation.
"""

from __future__ import annotations

import numba
import numpy as np

from ps3d_rt.core.arrays import Array


def view_angles(views: int) -> Array:
    """Spread ``views`` angles evenly over half a turn, radians."""
    return np.arange(views) * (np.pi / views)


def project(image: Array, angles: Array, bins: int, *, object_radius: float | None = None) -> Array:
    """Integrate along the rays of every view (Joseph's method).

    Args:
        image: (y, x, n) float32, y and x of equal length.
        angles: (views,) radians.
        bins: detector pixels, one pixel of the image wide.
        object_radius: pixels; with it the image goes on outside, mirrored at its sides, within that radius.

    Returns:
        (views, bins, n) float32, in values of the image times pixels.
    """
    side = image.shape[0]
    radius = 0.75 * side if object_radius is None else object_radius
    reach = int(np.ceil(radius)) + 1
    steps = np.arange(-reach, reach + side)
    # Where a pixel outside lies in the image: mirrored, or nowhere.
    mirrored = np.abs((steps + side) % (2 * side) - side + 0.5) - 0.5
    inside = (steps >= 0) & (steps < side)
    lookup = np.where(inside, steps, -1 if object_radius is None else mirrored).astype(np.int64)
    found = np.zeros((len(angles), bins, image.shape[2]), np.float32)
    # Rays step along the axis that they are steeper to: one row of pixels a step.
    along_y = np.abs(np.cos(angles)) > np.abs(np.sin(angles))
    for steep, pixels in ((along_y, image), (~along_y, np.ascontiguousarray(image.transpose(1, 0, 2)))):
        views = np.flatnonzero(steep)
        main, cross = (np.cos, np.sin) if steep is along_y else (np.sin, np.cos)
        _project(pixels, views, main(angles[views]), cross(angles[views]), found, lookup, reach, radius)
    return found


@numba.njit(cache=True, fastmath=True)
def _project(
    image: Array, views: Array, main: Array, cross: Array, found: Array, lookup: Array, reach: int, radius: float
) -> None:
    """Follow the rays of ``views``; ``main`` is the larger of cos θ and sin θ, ``cross`` the other one."""
    side, n = image.shape[0], image.shape[2]
    middle, center = (side - 1) / 2, (found.shape[1] - 1) / 2
    for v in range(len(views)):
        steep, slope = abs(main[v]), -cross[v] / main[v]
        for b in range(found.shape[1]):
            u = b - center
            chord = radius * radius - u * u
            if chord <= 0:
                continue
            half, foot = np.sqrt(chord) * steep, middle + u * cross[v]
            first = max(int(np.ceil(foot - half)), 1 - reach)
            last = min(int(np.floor(foot + half)), side + reach - 2)
            out = found[views[v], b]
            for step in range(first, last + 1):
                at = lookup[step + reach]
                across = middle + u / main[v] + (step - middle) * slope
                low = int(np.floor(across))
                if at < 0 or low < 1 - reach or low > side + reach - 3:
                    continue
                one, other = lookup[low + reach], lookup[low + 1 + reach]
                # One step goes one pixel along an axis, so this much along the ray.
                right = np.float32((across - low) / steep) if other >= 0 else np.float32(0)
                left = np.float32((low + 1 - across) / steep) if one >= 0 else np.float32(0)
                near, far = image[at, max(one, 0)], image[at, max(other, 0)]
                for k in range(n):
                    out[k] += left * near[k] + right * far[k]


def back_project(filtered: Array, angles: Array, side: int, *, axis_shift: float = 0.0) -> Array:
    """Smear filtered views back over the image, linearly interpolated.

    Args:
        filtered: (views, bins, n) float32.
        angles: (views,) radians.
        side: of the image, pixels.
        axis_shift: how far the axis of rotation is believed to lie off the detector's middle, bins.

    Returns:
        (side, side, n) float32; with views filtered by the ramp, the image.
    """
    image = np.zeros((side, side, filtered.shape[2]), np.float32)
    _back_project(filtered, angles, image, axis_shift)
    return image


@numba.njit(cache=True, fastmath=True)
def _back_project(filtered: Array, angles: Array, image: Array, axis_shift: float) -> None:
    views, bins, n = filtered.shape
    side = image.shape[0]
    middle, center = (side - 1) / 2, (bins - 1) / 2 + axis_shift
    step = np.float32(np.pi / views)
    for view in range(views):
        cos, sin = np.cos(angles[view]), np.sin(angles[view])
        for y in range(side):
            offset = (y - middle) * sin + center
            for x in range(side):
                u = (x - middle) * cos + offset
                low = int(np.floor(u))
                if low < 0 or low > bins - 2:
                    continue
                right = np.float32(u - low) * step
                left = step - right
                one, other, out = filtered[view, low], filtered[view, low + 1], image[y, x]
                for k in range(n):
                    out[k] += left * one[k] + right * other[k]
