"""Between the source grid and the normalized grid: whole, as a stream of planes, or one box.

``zoom`` always means normalized voxels per source voxel, as :func:`ps3d_rt.core.normalize.size_zoom` gives it:

    image    source → normalized   centre of plane i lies at source plane  (i + 0.5) / zoom − 0.5
    labels   normalized → source   centre of plane i lies at normalized plane (i + 0.5) · zoom − 0.5

so one zoom serves the way there and the way back. Positions past the faces take the voxel at the face. An output
voxel depends on its position only, hence regions, reads and steps of any size give the same bytes as the whole.

Labels move as the nearest voxel's, in steps where the new grid is finer (:func:`resample_labels`), or come back with
smooth surfaces, by the scores that they were made from (:func:`smooth_labels_box`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import array_namespace, compiled
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.interpolation import linear_weights, resample_plane, sum_planes
from ps3d_rt.errors import InputError, Ps3dError

ReadBox = Callable[[Box], NDArray[Any]]
"""Reads the voxels of a box, (*box.shape,); on a GPU into a CuPy array."""

Zoom = tuple[float, float, float]

_READ_VOXELS = 1 << 24
"""Voxels of one read: large for a disk, small for memory. Chunks of the file that hold more are read whole."""


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
    whole = Box.of_shape(shape)
    planes = PlaneStream(lambda box: image[box.slices], whole, (image.shape, shape), zoom=zoom, lowpass=lowpass)
    return planes.take(shape[0])


class PlaneStream:
    """Planes of a region of :func:`resample`, in ascending z, from source planes that are read once.

    1. A read brings some whole chunks of the file along z, and along y and x only what the region needs.
    2. A source plane is resampled along y and x when the first output plane needs it, into a ring of planes.
    3. An output plane is the weighted sum of planes of the ring, which has room for the sum that takes the most.

    Memory: one read in its own dtype, and the ring. ``read`` is called by :meth:`take` only.
    """

    def __init__(
        self,
        read: ReadBox,
        region: Box,
        shapes: tuple[Zyx, Zyx],
        *,
        zoom: Zoom,
        lowpass: bool = True,
        planes_per_read: int = 1,
    ) -> None:
        """Plan the reads; nothing is read yet.

        Args:
            read: gives voxels of the source.
            region: which voxels of the normalized grid to give.
            shapes: of the source grid and of the normalized grid.
            zoom: normalized voxels per source voxel, per axis.
            lowpass: as for :func:`resample`.
            planes_per_read: reads start at multiples of this: the depth of the file's chunks.
        """
        source, shape = shapes
        _check(source, shape, zoom, region)
        z, y, x = (
            linear_weights(n, m, f, lowpass).rows(a, b)
            for n, m, f, a, b in zip(source, shape, zoom, region.start, region.stop, strict=True)
        )
        self._read = read
        self._shape = region.shape
        self._area = Box((z.first, y.first, x.first), (z.stop, y.stop, x.stop))
        """Of the source grid: what the region needs."""
        self._z, self._y, self._x = z, y.relative(), x.relative()
        self._chunk = planes_per_read
        _, height, width = self._area.shape
        self._step = max(1, _READ_VOXELS // (planes_per_read * height * width)) * planes_per_read
        """Source planes of one read."""
        self._slab: Any = None
        """The last read while planes of it may still be needed."""
        self._slab_start = self._slab_stop = 0
        self._ring: Any = None
        """(planes, y, x) float32: source plane z, resampled along y and x, lies at z modulo the number of planes."""
        self._resampled = 0
        """All source planes below were resampled, or nobody needs them."""
        self._taken = 0

    def take(self, n: int) -> Any:
        """Compute the next planes.

        Returns:
            float32 (n, y, x).

        Raises:
            InputError: if fewer planes are left.
            Ps3dError: if ``read`` gives another shape than was asked for.
        """
        left = self._shape[0] - self._taken
        if not 1 <= n <= left:
            raise InputError(f"{n} planes cannot be taken, {left} are left; take 1 to {left}.")
        self._bring(self._taken)  # makes the ring at the first call
        out = array_namespace(self._ring).empty((n, *self._shape[1:]), dtype=self._ring.dtype)
        for k in range(n):
            self._bring(self._taken)
            slots = self._z.index[:, self._taken] % self._ring.shape[0]
            sum_planes(self._ring, slots, np.ascontiguousarray(self._z.weight[:, self._taken]), out, k)
            self._taken += 1
        return out

    def _bring(self, plane: int) -> None:
        """Resample the source planes that output plane ``plane`` needs along y and x, unless that is done."""
        index = self._z.index[:, plane]
        for z in range(max(self._resampled, int(index.min())), int(index.max()) + 1):
            if z >= self._slab_stop:
                self._read_slab(z)
            # No name for the plane: it would keep the whole slab while the next one is read.
            resample_plane(
                self._slab[z - self._slab_start, :, :], self._y, self._x, self._ring, z % self._ring.shape[0]
            )
            self._resampled = z + 1
        if self._resampled == self._slab_stop:
            self._slab = None

    def _read_slab(self, z: int) -> None:
        """Read the chunks from the one that holds source plane ``z`` on."""
        first = z // self._chunk * self._chunk
        (_, y, x), (last, y_stop, x_stop) = self._area.start, self._area.stop
        stop = min(first + self._step, last)
        box = Box((first, y, x), (stop, y_stop, x_stop))
        self._slab = None  # frees the last read before the next one
        self._slab = _checked(self._read(box), box)
        self._slab_start, self._slab_stop = first, stop
        if self._ring is None:
            xp = array_namespace(self._slab)
            planes = int(np.ptp(self._z.index, axis=0).max()) + 1
            self._ring = xp.empty((planes, *self._shape[1:]), dtype=xp.float32)
            self._y, self._x = self._y.to_namespace(xp), self._x.to_namespace(xp)


def resample_labels(labels: Any, shape: Zyx, *, zoom: Zoom) -> Any:
    """Bring labels from the normalized grid to the source grid: nearest neighbour, dtype kept.

    Args:
        labels: (Z, Y, X), any integer dtype, on the normalized grid.
        shape: of the **source** grid.
        zoom: the same zoom that :func:`resample` took for the image. (To bring labels *to* the normalized
            grid, as for training, pass the inverse of each zoom.)

    Returns:
        array of ``shape``.
    """
    _check(labels.shape, shape, zoom, Box.of_shape(shape))
    z, y, x = (_nearest(n, m, f) for n, m, f in zip(labels.shape, shape, zoom, strict=True))
    if isinstance(labels, np.ndarray):
        return _gather(np.ascontiguousarray(labels, labels.dtype.newbyteorder("=")), z, y, x)
    xp = array_namespace(labels)
    for axis, index in ((2, x), (1, y), (0, z)):
        labels = xp.take(labels, xp.asarray(index), axis=axis)
    return labels


def _nearest(length: int, out: int, zoom: float) -> NDArray[np.int64]:
    index: NDArray[np.int64] = np.floor((np.arange(out) + 0.5) * zoom).astype(np.int64)
    return np.clip(index, 0, length - 1)


@compiled
def _gather(labels: NDArray[Any], z: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[Any]:
    out = np.empty((z.size, y.size, x.size), labels.dtype)
    for i in range(z.size):
        for j in range(y.size):
            for k in range(x.size):
                out[i, j, k] = labels[z[i], y[j], x[k]]
    return out


SURFACE_PERCENT = 43
"""Score of foreground at the surface of a particle. Three classes share the scores, so background loses below 50 %.
Measured: benchmarks/results/smooth_surfaces.json."""


def smooth_labels_box(
    read: ReadBox, read_percent: ReadBox, box: Box, normalized: Zyx, shape: Zyx, *, zoom: Zoom
) -> NDArray[Any]:
    """Bring labels back to the source grid, a box of it, with surfaces between the voxels of the normalized grid.

    A voxel lies between eight of the normalized grid. Where they differ, it belongs to a particle if the score,
    interpolated between the eight, is :data:`SURFACE_PERCENT` or more; of the labels there, the one that has most of
    the linear weights wins, the smallest one in a tie. What bears no label counts as background, whatever its score.

    Args:
        read: gives labels of the normalized grid, unsigned, numpy; called once.
        read_percent: gives the score of foreground, percent, uint8, of the same voxels; called once at most.
        box: which voxels of the source grid to return.
        normalized: shape of the normalized grid.
        shape: of the source grid.
        zoom: normalized voxels per source voxel, per axis.
    """
    _check(normalized, shape, zoom, box)
    sides = zip(normalized, box.start, box.stop, zoom, strict=True)
    below, share = zip(*(_between(n, a, b, f) for n, a, b, f in sides), strict=True)
    z, y, x = (int(i[0]) for i in below)
    z1, y1, x1 = (min(int(i[-1]) + 2, n) for i, n in zip(below, normalized, strict=True))
    area = Box((z, y, x), (z1, y1, x1))
    labels = np.ascontiguousarray(_checked(read(area), area))
    if not labels.any():
        return np.zeros(box.shape, labels.dtype)
    percent = np.ascontiguousarray(_checked(read_percent(area), area))
    return _smooth(labels, percent, tuple(i - i[0] for i in below), share, SURFACE_PERCENT)


def _between(length: int, start: int, stop: int, zoom: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Voxel below every position of an axis, and how far the position is on the way to the next one."""
    place = np.clip((np.arange(start, stop) + 0.5) * zoom - 0.5, 0, length - 1)
    below = place.astype(np.int64)
    return below, place - below


@compiled
def _smooth(
    labels: NDArray[Any],
    percent: NDArray[np.uint8],
    below: tuple[NDArray[np.int64], ...],
    share: tuple[NDArray[np.float64], ...],
    surface: int,
) -> NDArray[Any]:
    depth, height, width = labels.shape
    z_below, y_below, x_below = below
    z_share, y_share, x_share = share
    out = np.zeros((z_below.size, y_below.size, x_below.size), labels.dtype)
    found, weight = np.zeros(8, labels.dtype), np.zeros(8, np.float64)
    for i in range(z_below.size):
        z0 = z_below[i]
        z1 = min(z0 + 1, depth - 1)
        for j in range(y_below.size):
            y0 = y_below[j]
            y1 = min(y0 + 1, height - 1)
            for k in range(x_below.size):
                x0 = x_below[k]
                x1 = min(x0 + 1, width - 1)
                label = labels[z0, y0, x0]
                if (
                    labels[z0, y0, x1] == label
                    and labels[z0, y1, x0] == label
                    and labels[z0, y1, x1] == label
                    and labels[z1, y0, x0] == label
                    and labels[z1, y0, x1] == label
                    and labels[z1, y1, x0] == label
                    and labels[z1, y1, x1] == label
                ):
                    out[i, j, k] = label
                    continue
                score = 0.0
                for c in range(8):
                    z, y, x = z1 if c & 4 else z0, y1 if c & 2 else y0, x1 if c & 1 else x0
                    w = z_share[i] if c & 4 else 1 - z_share[i]
                    w *= y_share[j] if c & 2 else 1 - y_share[j]
                    w *= x_share[k] if c & 1 else 1 - x_share[k]
                    found[c], weight[c] = labels[z, y, x], w
                    here = percent[z, y, x]
                    score += w * (max(here, surface) if found[c] else here * (here < surface))
                if score < surface:
                    continue
                most = -1.0
                for c in range(8):
                    if found[c]:
                        votes = 0.0
                        for d in range(8):
                            if found[d] == found[c]:
                                votes += weight[d]
                        if votes > most or (votes == most and found[c] < out[i, j, k]):
                            most = votes
                            out[i, j, k] = found[c]
    return out


def _checked(values: Any, box: Box) -> Any:
    if tuple(values.shape) != box.shape:  # the kernels check no bounds
        raise Ps3dError(
            f"a read of {box.start} to {box.stop} gave {tuple(values.shape)} voxels; it must give {box.shape}."
        )
    return values


def _check(source: Zyx, shape: Zyx, zoom: Zoom, box: Box) -> None:
    if len(source) != 3 or min(*source, *shape) < 1:
        raise InputError(
            f"cannot resample {tuple(source)} to {tuple(shape)} voxels; three axes of 1 or more are needed."
        )
    if not all(isfinite(f) and f > 0 for f in zoom):
        raise InputError(f"zoom is {zoom}; a positive factor per axis is needed (normalized / source).")
    if not all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, shape, strict=True)):
        raise InputError(
            f"the box {box.start} to {box.stop} is empty or not inside {tuple(shape)}; "
            "pass a box of 1 or more voxels inside it."
        )
