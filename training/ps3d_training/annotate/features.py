"""What a voxel looks like at several scales: the features that ilastik and Trainable Weka take, for a random forest.

At each scale: the smoothed gray value, the length of its gradient, its Laplacian, the three eigenvalues of its Hessian
and of its structure tensor. Derivatives are differences of the smoothed volume.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.grid import Box, Zyx

SCALES = (0.7, 1.6, 3.5)
"""Deviations of the Gaussians, voxels."""
PER_SCALE = 9
COUNT = 1 + PER_SCALE * len(SCALES)
"""Features of a voxel: the gray value itself, and those of every scale."""
CHUNK: Zyx = (64, 256, 256)
"""Voxels that are worked on at a time."""
TRUNCATE = 2.5
"""Deviations after which a Gaussian is cut off."""
HALO = int(np.ceil(1.5 * max(SCALES) * TRUNCATE)) + 3
"""Voxels around a chunk that its features depend on."""

Floats = NDArray[np.float32]
Features = NDArray[np.uint16]
"""(n, :data:`COUNT`) half-precision floats as whole numbers of the same order."""


def features_of(image: NDArray[Any], *, threads: int = 2, chunk: Zyx = CHUNK) -> Features:
    """Compute the features of every voxel.

    Args:
        image: (z, y, x) gray values.
        threads: chunks that are worked on side by side.
        chunk: voxels of one; the result does not depend on it.

    Returns:
        (z · y · x, :data:`COUNT`), voxels in raster order: 56 bytes a voxel.
    """
    whole = Box.of_shape(_zyx(image.shape))
    low, high = np.percentile(image[::2, ::2, ::2], [1, 99])
    span = max(float(high - low), 1e-6)
    out = np.empty((*image.shape, COUNT), np.uint16)

    def work(box: Box) -> None:
        read = box.grow(HALO, whole)
        gray = (image[read.slices].astype(np.float32) - np.float32(low)) / np.float32(span)
        for number, feature in enumerate(_features(gray)):
            out[(*box.slices, number)] = ordered(feature[box.relative_to(read).slices])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, _chunks(whole.stop, chunk)))
    return out.reshape(-1, COUNT)


def ordered(values: Floats) -> NDArray[np.uint16]:
    """Round to half precision, and give whole numbers that sort as the floats do: all that a tree asks for.

    >>> ordered(np.array([-2.0, -0.5, 0.0, 0.25], np.float32)).tolist()
    [16383, 18431, 32768, 46080]
    """
    bits = np.clip(values, -65504, 65504).astype(np.float16).view(np.uint16)
    bits = np.where(bits == 0x8000, 0, bits)  # minus zero is zero
    return np.asarray(np.where(bits & 0x8000, ~bits, bits | 0x8000), np.uint16)


def _chunks(shape: Zyx, chunk: Zyx) -> list[Box]:
    starts = [range(0, side, step) for side, step in zip(shape, chunk, strict=True)]
    whole = Box.of_shape(shape)
    return [Box((z, y, x), (z + chunk[0], y + chunk[1], x + chunk[2])).intersect(whole) for z, y, x in product(*starts)]


def _features(gray: Floats) -> Any:
    yield gray
    for scale in SCALES:
        smooth = _smoothed(gray, scale)
        slopes = [_difference(smooth, axis) for axis in range(3)]
        yield smooth
        yield np.sqrt(sum(slope**2 for slope in slopes))
        hessian = np.stack([_difference(slopes[a], b) for a, b in _PAIRS])
        yield hessian[0] + hessian[3] + hessian[5]
        yield from eigenvalues(hessian)
        inner = [_difference(_smoothed(gray, scale / 2), axis) for axis in range(3)]
        yield from eigenvalues(np.stack([_smoothed(inner[a] * inner[b], scale) for a, b in _PAIRS]))


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _smoothed(values: Floats, scale: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(values, scale, truncate=TRUNCATE, mode="nearest"), np.float32)


def _difference(values: Floats, axis: int) -> Floats:
    """Half the difference of both neighbours; 0 across a side of one voxel."""
    return np.asarray(ndimage.correlate1d(values, [-0.5, 0, 0.5], axis=axis, mode="nearest"), np.float32)


def eigenvalues(matrices: Floats) -> Floats:
    """Compute the eigenvalues of symmetric 3 × 3 matrices, largest first.

    Args:
        matrices: (6, z, y, x), the elements zz, zy, zx, yy, yx, xx.

    Returns:
        (3, z, y, x).

    Source: the trigonometric solution of the characteristic polynomial; Smith, Comm. ACM 4 (1961) 168.
    """
    flat = np.ascontiguousarray(matrices.reshape(6, -1))
    out = np.empty((3, flat.shape[1]), np.float32)
    _eigenvalues(flat, out)
    return out.reshape(3, *matrices.shape[1:])


@compiled
def _eigenvalues(m: NDArray[Any], out: NDArray[Any]) -> None:
    for i in range(m.shape[1]):
        a, b, c, d, e, f = (
            np.float64(m[0, i]),
            np.float64(m[1, i]),
            np.float64(m[2, i]),
            np.float64(m[3, i]),
            np.float64(m[4, i]),
            np.float64(m[5, i]),
        )
        mean = (a + d + f) / 3
        a, d, f = a - mean, d - mean, f - mean
        power = (a * a + d * d + f * f + 2 * (b * b + c * c + e * e)) / 6
        if power <= 0:
            out[0, i], out[1, i], out[2, i] = mean, mean, mean
            continue
        size = np.sqrt(power)
        half = (a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)) / (2 * size * size * size)
        angle = np.arccos(min(1.0, max(-1.0, half))) / 3
        first = mean + 2 * size * np.cos(angle)
        last = mean + 2 * size * np.cos(angle + 2 * np.pi / 3)
        out[0, i], out[1, i], out[2, i] = first, 3 * mean - first - last, last


def _zyx(shape: tuple[int, ...]) -> Zyx:
    z, y, x = shape
    return z, y, x
