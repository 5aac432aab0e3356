"""Weighted sums along one axis: what linear interpolation and smoothing have in common.

Every function is there twice: as a CPU kernel for numpy, and in the words of the array API for any other library.
Both add the same float32 products in the same order, hence both give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import array_namespace, compiled

LOWPASS_FROM = 1.5
"""Shrinking by more than this aliases visibly; below, the Gaussian would be too narrow to change anything."""

_KERNEL_DTYPES = (np.uint8, np.uint16, np.int16, np.float32)
"""What scans come in. Numba compiles a kernel per dtype; planes of any other become float32 first."""


@dataclass(frozen=True, slots=True)
class InterpolationWeights:
    """One axis of a separable resampling: out[i] = Σ_t weight[t, i] · in[index[t, i]]."""

    index: Any
    """(terms, outputs) int64, ascending along i."""
    weight: Any
    """(terms, outputs) float32."""

    @property
    def first(self) -> int:
        """Lowest index that is needed."""
        return int(self.index.min())

    @property
    def stop(self) -> int:
        """Highest index that is needed, plus 1."""
        return int(self.index.max()) + 1

    def rows(self, start: int, stop: int) -> InterpolationWeights:
        """Take the weights of outputs ``start <= i < stop``."""
        return InterpolationWeights(self.index[:, start:stop], self.weight[:, start:stop])

    def relative(self) -> InterpolationWeights:
        """Count indexes from the lowest one that is needed; arrays become contiguous, as the kernels want them."""
        return InterpolationWeights(self.index - self.first, np.ascontiguousarray(self.weight))

    def to_namespace(self, xp: ModuleType) -> InterpolationWeights:
        """Bring the arrays to another library, once for all planes."""
        return InterpolationWeights(xp.asarray(self.index), xp.asarray(self.weight))


def linear_weights(length: int, out: int, zoom: float, lowpass: bool) -> InterpolationWeights:
    """Plan linear interpolation, after a Gaussian where the axis shrinks: both are one weighted sum.

    Args:
        length: voxels of the input along the axis.
        out: voxels of the output.
        zoom: output voxels per input voxel.
        lowpass: smooth when shrinking by more than :data:`LOWPASS_FROM`, sigma = (1/zoom − 1) / 2 input voxels.
    """
    centre = np.clip((np.arange(out) + 0.5) / zoom - 0.5, 0, length - 1)
    below = np.floor(centre).astype(np.int64)
    share = centre - below
    gauss = _gauss((1 / zoom - 1) / 2) if lowpass and 1 / zoom > LOWPASS_FROM else np.ones(1)
    radius = gauss.size // 2
    index = np.clip(below + np.arange(-radius, radius + 2)[:, None], 0, length - 1)
    weight = np.append(gauss, 0)[:, None] * (1 - share) + np.insert(gauss, 0, 0)[:, None] * share
    used = weight.any(axis=1)  # of an axis that keeps its voxels one term remains
    return InterpolationWeights(index[used], weight[used].astype(np.float32))


def _gauss(sigma: float) -> NDArray[np.float64]:
    radius = int(4 * sigma + 0.5)
    weight: NDArray[np.float64] = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weight /= weight.sum()
    return weight


def resample_plane(plane: Any, y: InterpolationWeights, x: InterpolationWeights, out: Any, slot: int) -> None:
    """Resample one plane along y, then along x, into ``out[slot]``.

    y goes first: its sums run along rows, which is fast, and leave less to the gathers along x when shrinking.

    Args:
        plane: (Y, X), any real dtype.
        y: weights along y, arrays of the same library.
        x: weights along x.
        out: (n, outputs of y, outputs of x) float32.
        slot: which plane of ``out`` to overwrite.
    """
    if isinstance(plane, np.ndarray):
        values = np.ascontiguousarray(plane, plane.dtype if plane.dtype in _KERNEL_DTYPES else np.float32)
        _resample_plane(values, y.index, y.weight, x.index, x.weight, out[slot])
    else:
        out[slot, :, :] = _apply(_apply(plane, y, 0), x, 1)


@compiled
def _resample_plane(
    plane: NDArray[Any],
    y_index: NDArray[np.int64],
    y_weight: NDArray[np.float32],
    x_index: NDArray[np.int64],
    x_weight: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    height, width = out.shape
    row = np.empty(plane.shape[1], np.float32)
    for i in range(height):
        source, weight = y_index[0, i], y_weight[0, i]
        for k in range(row.size):
            row[k] = np.float32(plane[source, k]) * weight
        for t in range(1, y_index.shape[0]):
            source, weight = y_index[t, i], y_weight[t, i]
            for k in range(row.size):
                row[k] += np.float32(plane[source, k]) * weight
        for j in range(width):
            total = row[x_index[0, j]] * x_weight[0, j]
            for t in range(1, x_index.shape[0]):
                total += row[x_index[t, j]] * x_weight[t, j]
            out[i, j] = total


def _apply(plane: Any, weights: InterpolationWeights, axis: int) -> Any:
    xp = array_namespace(plane)
    along_axis = (-1, 1) if axis == 0 else (1, -1)
    parts = (
        xp.astype(xp.take(plane, weights.index[t, :], axis=axis), xp.float32)
        * xp.reshape(weights.weight[t, :], along_axis)
        for t in range(weights.index.shape[0])
    )
    total = next(parts)
    for part in parts:
        total += part
    return total


def sum_planes(planes: Any, index: NDArray[np.int64], weight: NDArray[np.float32], out: Any, slot: int) -> None:
    """Write Σ_t weight[t] · planes[index[t]] into ``out[slot]``.

    Args:
        planes: (n, y, x) float32.
        index: (terms,) int64.
        weight: (terms,) float32.
        out: (n, y, x) float32.
        slot: which plane of ``out`` to overwrite.
    """
    if isinstance(planes, np.ndarray):
        _sum_planes(planes, index, weight, out[slot])
        return
    total = planes[int(index[0]), :, :] * float(weight[0])
    for i, w in zip(index[1:], weight[1:], strict=True):
        total += planes[int(i), :, :] * float(w)
    out[slot, :, :] = total


@compiled
def _sum_planes(
    planes: NDArray[np.float32], index: NDArray[np.int64], weight: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    height, width = out.shape
    for i in range(height):
        for k in range(width):
            out[i, k] = planes[index[0], i, k] * weight[0]
        for t in range(1, index.size):
            source, w = index[t], weight[t]
            for k in range(width):
                out[i, k] += planes[source, i, k] * w
