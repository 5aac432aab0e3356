"""Sums per id over a slab of a volume: the loops of :func:`ps3d_rt.core.measure.partial_sums`.

1. The slab is cut into runs, equal ids along x: 10 to 50 times fewer than voxels.
2. The ids of the runs, sorted, are the rows of the sums: ids may have gaps and be as large as their dtype allows.
3. Each loop walks the runs and adds to the rows what it is about: places, surface crossings, extents, gray values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.feret import DIRECTIONS
from ps3d_rt.core.gray import BINS, GrayBins
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.runs import find_runs
from ps3d_rt.core.shape import PRODUCTS
from ps3d_rt.core.surface import STEPS

Columns = dict[str, NDArray[Any]]


def sum_places(ids: NDArray[Any], at: Zyx, shape: Zyx) -> tuple[Columns, NDArray[np.int64], NDArray[np.int64]]:
    """Sum up where the particles of a slab are.

    Args:
        ids: (z + 2, y + 2, x + 2) uint32 or uint64, the slab in a shell of one voxel; 0 outside the volume.
        at: index of the slab's first voxel in the whole volume.
        shape: of the whole volume, voxels.

    Returns:
        The columns of :class:`ps3d_rt.core.measure.PartialSums` but for those of gray values, in ascending order of
        the label; the runs, (m, 4) z, y, start and stop in the slab; and the row of each.
    """
    depth, height, width = (n - 2 for n in ids.shape)
    found = find_runs(ids, Box((1, 1, 1), (depth + 1, height + 1, width + 1)))
    z, y, x = np.unravel_index(found.first_index.astype(np.int64), (depth, height, width))
    runs = np.stack([z, y, x, x + found.lengths], axis=1)
    label, row = np.unique(found.values.astype(np.uint64), return_inverse=True)
    count = len(label)
    columns: Columns = {
        "label": label,
        "voxels": np.zeros(count, np.int64),
        "index_sum": np.zeros((count, 3), np.int64),
        "product_sum": np.zeros((count, len(PRODUCTS)), np.int64),
        "first": np.full(count, np.iinfo(np.int64).max),
        "start": np.full((count, 3), np.iinfo(np.int64).max),
        "stop": np.zeros((count, 3), np.int64),
        "crossings": np.zeros((count, len(STEPS)), np.int64),
        "low": np.full((count, len(DIRECTIONS)), np.iinfo(np.int32).max, np.int32),
        "high": np.full((count, len(DIRECTIONS)), np.iinfo(np.int32).min, np.int32),
    }
    _add_places(runs, row, at, tuple(columns[name] for name in ("voxels", "index_sum", "product_sum")))
    _add_boxes(runs, row, at, shape, tuple(columns[name] for name in ("first", "start", "stop")))
    _add_crossings(ids, runs, row, STEPS, columns["crossings"])
    _add_extents(runs, row, at, DIRECTIONS, (columns["low"], columns["high"]))
    return columns, runs, row


def sum_gray(
    image: NDArray[Any], runs: NDArray[np.int64], row: NDArray[np.int64], count: int, bins: GrayBins | None
) -> Columns:
    """Sum up the gray values of the particles of a slab.

    Args:
        image: (z, y, x) gray values of the slab, any dtype.
        runs: from :func:`sum_places`.
        row: from :func:`sum_places`.
        count: number of rows.
        bins: of the histograms; None for none.
    """
    gray = _plain_gray(image)
    columns: Columns = {
        "gray_sum": np.zeros(count, np.int64 if _is_exact(image, 4) else np.float64),
        "gray_square_sum": np.zeros(count, np.int64 if _is_exact(image, 2) else np.float64),
        "gray_min": np.full(count, np.inf),
        "gray_max": np.full(count, -np.inf),
    }
    _add_gray(gray, runs, row, tuple(columns.values()))
    if bins is not None:
        columns["gray_histogram"] = np.zeros((count, BINS), np.uint32)
        _add_histograms(gray, runs, row, bins.low, bins.width, columns["gray_histogram"])
    return columns


def _is_exact(image: NDArray[Any], most_bytes: int) -> bool:
    return image.dtype.kind in "bui" and image.dtype.itemsize <= most_bytes


def _plain_gray(image: NDArray[Any]) -> NDArray[Any]:
    if _is_exact(image, 4):
        return np.ascontiguousarray(image, np.uint8 if image.dtype.kind == "b" else image.dtype.newbyteorder("="))
    narrow = image.dtype.kind == "f" and image.dtype.itemsize <= 4
    return np.ascontiguousarray(image, np.float32 if narrow else np.float64)


@compiled
def _add_places(
    runs: NDArray[np.int64], row: NDArray[np.int64], at: Zyx, columns: tuple[NDArray[np.int64], ...]
) -> None:
    """Add voxels, indices and their products to ``columns``; sums past 64 bits go on from below, as they should."""
    voxels, index_sum, product_sum = columns
    for run in range(len(runs)):
        k = row[run]
        z, y, x, n = at[0] + runs[run, 0], at[1] + runs[run, 1], at[2] + runs[run, 2], runs[run, 3] - runs[run, 2]
        ramp = n * (n - 1) // 2  # 0 + 1 + … + (n − 1)
        x_sum = n * x + ramp
        voxels[k] += n
        index_sum[k, 0] += n * z
        index_sum[k, 1] += n * y
        index_sum[k, 2] += x_sum
        product_sum[k, 0] += n * z * z
        product_sum[k, 1] += n * y * y
        product_sum[k, 2] += x * (x_sum + ramp) + ramp * (2 * n - 1) // 3
        product_sum[k, 3] += n * z * y
        product_sum[k, 4] += z * x_sum
        product_sum[k, 5] += y * x_sum


@compiled
def _add_boxes(
    runs: NDArray[np.int64], row: NDArray[np.int64], at: Zyx, shape: Zyx, columns: tuple[NDArray[np.int64], ...]
) -> None:
    first, start, stop = columns
    for run in range(len(runs)):
        k = row[run]
        z, y, x_start, x_stop = at[0] + runs[run, 0], at[1] + runs[run, 1], at[2] + runs[run, 2], at[2] + runs[run, 3]
        first[k] = min(first[k], (z * shape[1] + y) * shape[2] + x_start)
        start[k, 0], start[k, 1] = min(start[k, 0], z), min(start[k, 1], y)
        start[k, 2] = min(start[k, 2], x_start)
        stop[k, 0], stop[k, 1] = max(stop[k, 0], z + 1), max(stop[k, 1], y + 1)
        stop[k, 2] = max(stop[k, 2], x_stop)


@compiled
def _add_crossings(
    ids: NDArray[Any],
    runs: NDArray[np.int64],
    row: NDArray[np.int64],
    steps: NDArray[np.int64],
    crossings: NDArray[np.int64],
) -> None:
    """Count the steps that lead out of a particle; the first step is along x."""
    for run in range(len(runs)):
        z, y, begin, end = runs[run, 0] + 1, runs[run, 1] + 1, runs[run, 2] + 1, runs[run, 3] + 1
        label = ids[z, y, begin]
        k = row[run]
        crossings[k, 0] += ids[z, y, end] != label
        for step in range(1, len(steps)):
            dz, dy, dx = steps[step, 0], steps[step, 1], steps[step, 2]
            ahead = ids[z + dz, y + dy, begin + dx : end + dx]
            leaving = 0
            for i in range(len(ahead)):
                leaving += ahead[i] != label
            crossings[k, step] += leaving


@compiled
def _add_extents(
    runs: NDArray[np.int64],
    row: NDArray[np.int64],
    at: Zyx,
    directions: NDArray[np.int64],
    columns: tuple[NDArray[np.int32], NDArray[np.int32]],
) -> None:
    """Widen the extents along the directions, none of which has a negative x."""
    low, high = columns
    for run in range(len(runs)):
        k = row[run]
        z, y, x_first, x_last = (
            at[0] + runs[run, 0],
            at[1] + runs[run, 1],
            at[2] + runs[run, 2],
            at[2] + runs[run, 3] - 1,
        )
        for d in range(len(directions)):
            across = directions[d, 0] * z + directions[d, 1] * y
            low[k, d] = min(low[k, d], np.int32(across + directions[d, 2] * x_first))
            high[k, d] = max(high[k, d], np.int32(across + directions[d, 2] * x_last))


@compiled
def _add_gray(
    image: NDArray[Any], runs: NDArray[np.int64], row: NDArray[np.int64], columns: tuple[NDArray[Any], ...]
) -> None:
    sums, squares, least, largest = columns
    for run in range(len(runs)):
        k = row[run]
        line = image[runs[run, 0], runs[run, 1], runs[run, 2] : runs[run, 3]]
        total, square, low, high = sums.dtype.type(0), squares.dtype.type(0), line[0], line[0]
        for i in range(len(line)):
            total += sums.dtype.type(line[i])
            square += squares.dtype.type(line[i]) * squares.dtype.type(line[i])
            low, high = min(low, line[i]), max(high, line[i])
        sums[k] += total
        squares[k] += square
        least[k], largest[k] = min(least[k], low), max(largest[k], high)


@compiled
def _add_histograms(
    image: NDArray[Any],
    runs: NDArray[np.int64],
    row: NDArray[np.int64],
    low: float,
    width: float,
    histograms: NDArray[np.uint32],
) -> None:
    last = histograms.shape[1] - 1
    for run in range(len(runs)):
        k = row[run]
        line = image[runs[run, 0], runs[run, 1], runs[run, 2] : runs[run, 3]]
        for i in range(len(line)):
            place = (np.float64(line[i]) - low) / width
            # Compared before it is made whole: NaN and what lies far beyond have no place among whole numbers.
            histograms[k, np.int64(place) if 0 < place < last else (last if place >= last else 0)] += np.uint32(1)
