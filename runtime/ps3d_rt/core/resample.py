"""Between the source grid and the normalized grid, whole or a slab of planes at a time.

``zoom`` always means normalized voxels per source voxel, as :func:`ps3d_rt.core.normalize.size_zoom` gives it:

    image    source → normalized   centre of plane i lies at source plane  (i + 0.5) / zoom − 0.5
    labels   normalized → source   centre of plane i lies at normalized plane (i + 0.5) · zoom − 0.5

so one zoom serves the way there and the way back. Positions past the faces take the voxel at the face. An output
voxel depends on its position only, hence slabs of any thickness give the same bytes as the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

Zoom = tuple[float, float, float]
ReadPlanes = Callable[[int, int], Any]
"""(first, last + 1) → those z planes of the input, (n, Y, X), any dtype."""

LOWPASS_FROM = 1.5
"""Shrinking by more than this aliases visibly; below, the Gaussian would be too narrow to change anything."""


def resample(image: Any, shape: Zyx, *, zoom: Zoom, lowpass: bool = True) -> Any:
    """Bring an image to the normalized grid: linear, voxel centres aligned.

    Args:
        image: (Z, Y, X), any real dtype, on the source grid.
        shape: of the normalized grid, from :func:`ps3d_rt.core.normalize.normalized_shape`.
        zoom: normalized voxels per source voxel, per axis.
        lowpass: smooth axes that shrink by more than 1.5× first (Gaussian, sigma = (1/zoom − 1) / 2 source
            voxels). Off for models that were trained without.

    Returns:
        float32 of ``shape``.

    Raises:
        InputError: if an axis is empty or a zoom is not positive.
    """
    return resample_slab(lambda a, b: image[a:b, :, :], (0, shape[0]), image.shape, shape, zoom=zoom, lowpass=lowpass)


def resample_slab(
    read: ReadPlanes, planes: tuple[int, int], source: Zyx, shape: Zyx, *, zoom: Zoom, lowpass: bool = True
) -> Any:
    """Compute planes ``planes[0] <= z < planes[1]`` of :func:`resample`, reading only the source planes they need.

    Args:
        read: called once with a range of source planes.
        planes: which planes of the normalized grid to return.
        source: shape of the source grid.
        shape: of the normalized grid.
        zoom: normalized voxels per source voxel, per axis.
        lowpass: as for :func:`resample`.

    Returns:
        float32 (planes[1] − planes[0], Y, X).
    """
    _check(source, shape, zoom, planes)
    taps = [_linear_taps(n, m, f, lowpass) for n, m, f in zip(source, shape, zoom, strict=True)]
    z = taps[0].rows(*planes)
    first, stop = int(z.index.min()), int(z.index.max()) + 1
    slab = read(first, stop)
    xp = array_namespace(slab)
    slab = xp.astype(slab, xp.float32)
    # x first: gathers along x are the slowest, and when enlarging the array is still small.
    for axis, tap in ((2, taps[2]), (1, taps[1]), (0, _Taps(z.index - first, z.weight))):
        slab = _apply(slab, tap, axis)
    return slab


def resample_labels(labels: Any, shape: Zyx, *, zoom: Zoom) -> Any:
    """Bring labels from the normalized grid back to the source grid: nearest neighbour, dtype kept.

    Args:
        labels: (Z, Y, X), any integer dtype, on the normalized grid.
        shape: of the **source** grid.
        zoom: the same zoom that :func:`resample` took for the image. (To bring labels *to* the normalized
            grid, as for training, pass the inverse of each zoom.)

    Returns:
        array of ``shape``.
    """
    return resample_labels_slab(lambda a, b: labels[a:b, :, :], (0, shape[0]), labels.shape, shape, zoom=zoom)


def resample_labels_slab(read: ReadPlanes, planes: tuple[int, int], normalized: Zyx, shape: Zyx, *, zoom: Zoom) -> Any:
    """Compute planes ``planes[0] <= z < planes[1]`` of :func:`resample_labels`, reading only the planes they need.

    Args:
        read: called once with a range of planes of the normalized grid.
        planes: which planes of the source grid to return.
        normalized: shape of the normalized grid.
        shape: of the source grid.
        zoom: normalized voxels per source voxel, per axis.
    """
    _check(normalized, shape, zoom, planes)
    z, y, x = (_nearest(n, m, f) for n, m, f in zip(normalized, shape, zoom, strict=True))
    z = z[slice(*planes)]
    first = int(z[0])
    slab = read(first, int(z[-1]) + 1)
    xp = array_namespace(slab)
    for axis, index in ((2, x), (1, y), (0, z - first)):
        slab = xp.take(slab, xp.asarray(index), axis=axis)
    return slab


@dataclass(frozen=True, slots=True)
class _Taps:
    """One axis of a separable resampling: out[i] = Σ_t weight[t, i] · in[index[t, i]]."""

    index: NDArray[np.int64]
    weight: NDArray[np.float64]

    def rows(self, start: int, stop: int) -> _Taps:
        """Take the taps of outputs ``start <= i < stop``."""
        return _Taps(self.index[:, start:stop], self.weight[:, start:stop])


def _linear_taps(length: int, out: int, zoom: float, lowpass: bool) -> _Taps:
    """Linear interpolation, after a Gaussian where the axis shrinks: both are one weighted sum."""
    centre = np.clip((np.arange(out) + 0.5) / zoom - 0.5, 0, length - 1)
    below = np.floor(centre).astype(np.int64)
    share = centre - below
    gauss = _gauss((1 / zoom - 1) / 2) if lowpass and 1 / zoom > LOWPASS_FROM else np.ones(1)
    radius = gauss.size // 2
    offset = np.arange(-radius, radius + 2)
    index = np.clip(below + offset[:, None], 0, length - 1)
    weight = np.append(gauss, 0)[:, None] * (1 - share) + np.insert(gauss, 0, 0)[:, None] * share
    return _Taps(index, weight)


def _gauss(sigma: float) -> NDArray[np.float64]:
    radius = int(4 * sigma + 0.5)
    weight: NDArray[np.float64] = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weight /= weight.sum()
    return weight


def _apply(image: Any, taps: _Taps, axis: int) -> Any:
    if taps.index.shape[1] == image.shape[axis] and _is_identity(taps):
        return image
    xp = array_namespace(image)
    along_axis = tuple(-1 if a == axis else 1 for a in range(3))
    parts = (
        xp.take(image, xp.asarray(index), axis=axis) * xp.reshape(xp.asarray(weight), along_axis)
        for index, weight in zip(taps.index, taps.weight.astype(np.float32), strict=True)
    )
    total = next(parts)
    for part in parts:
        total += part
    return total


def _is_identity(taps: _Taps) -> bool:
    return bool(np.array_equal(taps.index[0], np.arange(taps.index.shape[1])) and np.all(taps.weight[0] == 1))


def _nearest(length: int, out: int, zoom: float) -> NDArray[np.int64]:
    index: NDArray[np.int64] = np.floor((np.arange(out) + 0.5) * zoom).astype(np.int64)
    return np.clip(index, 0, length - 1)


def _check(source: Zyx, shape: Zyx, zoom: Zoom, planes: tuple[int, int]) -> None:
    if len(source) != 3 or min(*source, *shape) < 1:
        raise InputError(
            f"cannot resample {tuple(source)} to {tuple(shape)} voxels; three axes of 1 or more are needed."
        )
    if not all(isfinite(f) and f > 0 for f in zoom):
        raise InputError(f"zoom is {zoom}; a positive factor per axis is needed (normalized / source).")
    if not 0 <= planes[0] < planes[1] <= shape[0]:
        raise InputError(
            f"planes {planes[0]}..{planes[1]} of {shape[0]} were asked for; take 0 <= start < stop <= {shape[0]}."
        )
