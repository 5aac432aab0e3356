"""One id per particle across chunks.

1. Every chunk labels its particles 1..n on its own; its offset (the count of all chunks before it) makes ids unique.
2. :func:`face_pairs` lists the ids that touch where two chunks meet.
3. :func:`merge` joins them, over all faces at once, into a table ``id → smallest id of the same particle``.
4. :func:`relabel` applies the table; it is the only step that touches every voxel.

Only sets of pairs pass from 2 to 3, so the result does not depend on the order in which chunks finish.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.arrays import KernelDispatch, array_namespace, compiled
from ps3d_rt.core.runs import as_ids
from ps3d_rt.errors import InputError

Connectivity = Literal[6, 26]


def face_pairs(
    a: NDArray[Any], b: NDArray[Any], *, connectivity: Connectivity = 6, offsets: tuple[int, int] = (0, 0)
) -> NDArray[np.uint64]:
    """List the pairs of ids that touch across the face between two neighbouring chunks.

    Args:
        a: (u, v) ids, the last plane of the first chunk; 0 is background.
        b: (u, v) ids, the first plane of the next chunk, voxel for voxel opposite ``a``. If the chunks overlap,
            give the same plane twice: the pairs are then the ids that share a voxel.
        connectivity: 6: voxels touch over a face; 26: also over edges and corners. With 26, chunks that meet only in
            an edge or a corner are seen by themselves: a line of voxels is a plane of one row, a voxel one of 1 x 1.
        offsets: added to the ids of ``a`` and of ``b``, from ids of the chunk to ids of the volume.

    Returns:
        (n, 2) uint64, each pair (id in a, id in b) once, in ascending order.

    Raises:
        InputError: if the planes do not fit each other or hold something other than ids.

    >>> face_pairs(np.array([[1, 1, 0, 2]]), np.array([[1, 0, 3, 3]]), offsets=(0, 10))
    array([[ 1, 11],
           [ 2, 13]], dtype=uint64)
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise InputError(f"faces have shapes {a.shape} and {b.shape}; both must be the same 2-D plane of voxels.")
    if connectivity not in (6, 26):
        raise InputError(f"connectivity is {connectivity}; it must be 6 or 26.")
    found = _touching(as_ids(a), as_ids(b), 1 if connectivity == 26 else 0)
    return np.unique(found, axis=0) + np.array(offsets, dtype=np.uint64)


@compiled
def _touching(a: NDArray[Any], b: NDArray[Any], reach: int) -> NDArray[np.uint64]:
    """Pairs of ids opposite each other, or at most ``reach`` voxels aside; not again where a neighbour has the pair."""
    height, width = a.shape
    pairs = np.empty((1024, 2), np.uint64)
    count = 0
    for di in range(-reach, reach + 1):
        for dj in range(-reach, reach + 1):
            first = max(0, -di), max(0, -dj)
            for i in range(first[0], height - max(0, di)):
                for j in range(first[1], width - max(0, dj)):
                    x, y = a[i, j], b[i + di, j + dj]
                    if x == 0 or y == 0:
                        continue
                    if j > first[1] and a[i, j - 1] == x and b[i + di, j + dj - 1] == y:
                        continue
                    if i > first[0] and a[i - 1, j] == x and b[i + di - 1, j + dj] == y:
                        continue
                    if count == len(pairs):
                        pairs = np.concatenate((pairs, np.empty_like(pairs)))
                    pairs[count, 0], pairs[count, 1] = x, y
                    count += 1
    return pairs[:count]


def merge(pairs: NDArray[Any], count: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
    """Join ids that touch, directly or through others, and name each group after its smallest id.

    Args:
        pairs: (n, 2) ids in 1..count, from :func:`face_pairs`, of all faces; order and repeats do not matter.
        count: the largest id before merging.
        dtype: unsigned integer type of the table, and so of the relabelled chunks.

    Returns:
        (count + 1,) table with ``table[0] == 0`` and ``table[id] <= id``; ids that touch nothing stay as they are.

    Raises:
        InputError: if an id is outside 1..count, or ``count`` does not fit ``dtype``.

    >>> merge(np.array([[2, 5], [5, 3]]), count=6)
    array([0, 1, 2, 2, 4, 2, 6], dtype=uint32)
    """
    dtype = np.dtype(dtype)
    if dtype.kind != "u" or count > np.iinfo(dtype).max:
        raise InputError(f"{count} ids do not fit {dtype}; pass an unsigned dtype that holds them, such as np.uint64.")
    table = np.arange(count + 1, dtype=dtype)
    if len(pairs) == 0:
        return table
    if pairs.min() < 1 or pairs.max() > count:
        raise InputError(
            f"pairs hold ids {pairs.min()}..{pairs.max()}; they must lie in 1..{count}. "
            "Check that every chunk got its own offset and that count includes the last chunk."
        )
    _join(table, np.ascontiguousarray(pairs))
    return table


@compiled
def _join(table: NDArray[Any], pairs: NDArray[Any]) -> None:
    """Join the ids of every pair in place: an id points to a smaller one of its group, the smallest to itself."""
    for k in range(len(pairs)):
        a, b = np.int64(pairs[k, 0]), np.int64(pairs[k, 1])
        while table[a] != a:
            table[a] = table[np.int64(table[a])]
            a = np.int64(table[a])
        while table[b] != b:
            table[b] = table[np.int64(table[b])]
            b = np.int64(table[b])
        table[max(a, b)] = min(a, b)
    for i in range(table.size):  # what an id points to comes before it, and is done
        table[i] = table[np.int64(table[i])]


def relabel(chunk: Any, table: NDArray[Any], out: Any) -> None:
    """Replace every id of a chunk by its entry in the table.

    Args:
        chunk: (z, y, x) unsigned ids of one chunk, a numpy or a CuPy array.
        table: (n,) what ids 0..n - 1 become.
        out: the chunk's shape, where it lies; gets the result, in its own dtype. It may be a part of a larger array.

    Raises:
        InputError: if an id is not in the table.

    >>> out = np.zeros((1, 1, 3), np.uint32)
    >>> relabel(np.array([[[0, 1, 2]]], np.uint32), np.array([0, 7, 5]), out)
    >>> out
    array([[[0, 7, 5]]], dtype=uint32)
    """
    largest = int(_relabel(chunk, table, out))
    if largest >= table.size:
        raise InputError(f"the chunk holds id {largest}, the table ends at {table.size - 1}; it is not of this chunk.")


@KernelDispatch
@compiled
def _relabel(chunk: Any, table: NDArray[Any], out: Any) -> Any:
    """Return the largest id; ids past the table become 0."""
    largest = np.uint64(0)
    last, entry = chunk.dtype.type(0), table[0]
    for z in range(chunk.shape[0]):
        for y in range(chunk.shape[1]):
            for x in range(chunk.shape[2]):
                value = chunk[z, y, x]
                if value != last:
                    last = value
                    largest = max(largest, np.uint64(value))
                    entry = table[value] if value < table.size else table.dtype.type(0)
                out[z, y, x] = entry
    return largest


@_relabel.on_gpu
def _relabel_on_gpu(chunk: Any, table: NDArray[Any], out: Any) -> Any:
    largest = int(chunk.max())
    if largest < table.size:
        out[...] = array_namespace(chunk).asarray(table)[chunk]
    return largest
