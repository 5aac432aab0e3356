"""Sums per id over a part of a volume: the loop of :func:`ps3d_rt.core.measure.partial_sums`.

The voxels are walked run by run (equal ids along x). Ids may have gaps and be as large as their dtype allows: a hash
of the ids (open addressing, at most half full) says which row belongs to one, so tables grow with the number of ids.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.runs import as_ids, z_slabs


class Rows(NamedTuple):
    """One row an id, in the order of the first voxels: the columns of :class:`ps3d_rt.core.measure.PartialSums`.

    A tuple, because kernels take those. Without an image ``gray_sum`` is 0.
    """

    label: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    index_sum2: NDArray[np.int64]
    first: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    gray_sum: NDArray[Any]


def sum_runs(labels: NDArray[Any], image: NDArray[Any] | None, at: Zyx, shape: Zyx) -> Rows:
    """Sum up every id of a part.

    It takes no memory per voxel, only up to 0.4 kB an id, if the labels are uint32 or uint64 in C order and the image
    is not of 64-bit integers; any other dtype, byte order or memory order is converted slab by slab.

    Args:
        labels: (z, y, x), checked by :func:`ps3d_rt.core.runs.check_volume`.
        image: (z, y, x) gray values of the same voxels, or None.
        at: index of the part's first voxel in the whole volume.
        shape: of the whole volume, voxels.

    Raises:
        InputError: if the labels are not ids.
    """
    rows, row_at, count = _no_rows(image), np.empty(0, np.int64), 0
    width = labels.shape[2]
    for slab in z_slabs(labels.shape):
        ids, gray = _plain_ids(labels[slab.slices]), None if image is None else _plain_gray(image[slab.slices])
        corner = (at[0] + slab.start[0], at[1], at[2])
        line = 0
        while line < ids.shape[0] * ids.shape[1]:
            if count + width > len(rows.label):
                rows = _lengthened(rows, 2 * (count + width))
                row_at = _hashed(rows.label, count)
            line, count = _add_lines(ids, gray, line, count, corner, shape, rows, row_at)
    return Rows._make(column[:count] for column in rows)


def _no_rows(image: NDArray[Any] | None) -> Rows:
    one, three = np.empty(0, np.int64), np.empty((0, 3), np.int64)
    gray = one if image is None or _is_exact(image) else np.empty(0, np.float64)
    return Rows(one.astype(np.uint64), one, three, one, three, three, gray)


def _lengthened(rows: Rows, length: int) -> Rows:
    return Rows._make(
        np.concatenate([column, np.zeros((length - len(column), *column.shape[1:]), column.dtype)]) for column in rows
    )


def _is_exact(image: NDArray[Any]) -> bool:
    return image.dtype.kind in "bui" and image.dtype.itemsize <= 4


def _plain_ids(labels: NDArray[Any]) -> NDArray[Any]:
    """Return ids of one of two dtypes, so that few kernels are compiled; no copy if they are so already."""
    ids = as_ids(labels)
    return np.ascontiguousarray(ids, np.uint64 if ids.dtype.itemsize == 8 else np.uint32)


def _plain_gray(image: NDArray[Any]) -> NDArray[Any]:
    if _is_exact(image):
        return np.ascontiguousarray(image, np.uint8 if image.dtype.kind == "b" else image.dtype.newbyteorder("="))
    narrow = image.dtype.kind == "f" and image.dtype.itemsize <= 4
    return np.ascontiguousarray(image, np.float32 if narrow else np.float64)


@compiled
def _hashed(label: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """Enter the first ``count`` labels into a hash: slot → row, −1 where it is free.

    The slot of an id, or the first free one after it, is the top of id · 2^64 / golden ratio. The size is a power of
    two, at least twice that of ``label``.
    """
    bits = 1
    while 2**bits < 2 * label.size:
        bits += 1
    row_at = np.full(2**bits, -1)
    for row in range(count):
        slot = np.int64((label[row] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits))
        while row_at[slot] >= 0:
            slot = (slot + 1) & (row_at.size - 1)
        row_at[slot] = row
    return row_at


@compiled
def _add_lines(
    ids: NDArray[Any],
    image: NDArray[Any] | None,
    line: int,
    count: int,
    at: Zyx,
    shape: Zyx,
    rows: Rows,
    row_at: NDArray[np.int64],
) -> tuple[int, int]:
    """Add ``ids`` (z, y, x), whose first voxel is ``at``, to ``rows`` in place, line by line along x.

    ``line`` is the one to start with and ``count`` the rows in use. It ends where a line may hold more new ids than
    there are rows left (to grow here would cost: numba counts references in every turn of a loop that replaces an
    array), and returns the line to go on with and the rows in use.
    """
    bits = 1
    while 2**bits < row_at.size:
        bits += 1
    shift = np.uint64(64 - bits)
    depth, height, width = ids.shape
    begins = np.empty(width + 1, np.int64)
    while line < depth * height and count + width <= rows.label.size:
        in_z, in_y = line // height, line % height
        z, y = at[0] + in_z, at[1] + in_y
        runs = 1
        begins[0] = 0
        for x in range(1, width):  # without a branch: short runs cost no more than long ones
            begins[runs] = x
            runs += ids[in_z, in_y, x] != ids[in_z, in_y, x - 1]
        begins[runs] = width
        for run in range(runs):
            found = np.uint64(ids[in_z, in_y, begins[run]])
            if found == 0:
                continue
            slot = np.int64((found * np.uint64(0x9E3779B97F4A7C15)) >> shift)
            while row_at[slot] >= 0 and rows.label[row_at[slot]] != found:
                slot = (slot + 1) & (row_at.size - 1)
            row = row_at[slot]
            x_start, x_stop = at[2] + begins[run], at[2] + begins[run + 1]
            if row < 0:
                row = count
                count += 1
                row_at[slot] = row
                rows.label[row] = found
                rows.first[row] = (z * shape[1] + y) * shape[2] + x_start
                rows.start[row, 0], rows.start[row, 1], rows.start[row, 2] = z, y, x_start
            rows.voxels[row] += x_stop - x_start
            rows.index_sum2[row, 0] += 2 * (x_stop - x_start) * z
            rows.index_sum2[row, 1] += 2 * (x_stop - x_start) * y
            rows.index_sum2[row, 2] += (x_stop - x_start) * (x_start + x_stop - 1)
            rows.start[row, 1] = min(rows.start[row, 1], y)
            rows.start[row, 2] = min(rows.start[row, 2], x_start)
            rows.stop[row, 0] = z + 1
            rows.stop[row, 1] = max(rows.stop[row, 1], y + 1)
            rows.stop[row, 2] = max(rows.stop[row, 2], x_stop)
            if image is not None:
                gray = rows.gray_sum.dtype.type(0)
                for x in range(begins[run], begins[run + 1]):
                    gray += image[in_z, in_y, x]
                rows.gray_sum[row] += gray
        line += 1
    return line, count
