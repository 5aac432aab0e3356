"""One id per particle across chunks.

1. Every chunk labels its particles 1..n on its own; its offset (the count of all chunks before it) makes ids unique.
2. :func:`face_pairs` lists the ids that touch where two chunks meet.
3. :func:`merge` joins them, over all faces at once, into a table ``id → smallest id of the same particle``.
4. :func:`relabel` applies the table; it is the only step that touches every voxel.

Only sets of pairs pass from 2 to 3, so the result does not depend on the order in which chunks finish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
            an edge or a corner are seen only if the planes reach one voxel into the neighbours along u and v.
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
    a, b = as_ids(a), as_ids(b)
    found = [_pairs_of(x, y) for x, y in _opposite(a, b, reach=1 if connectivity == 26 else 0)]
    return np.unique(np.concatenate(found), axis=0) + np.array(offsets, dtype=np.uint64)


def _opposite(a: NDArray[Any], b: NDArray[Any], reach: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """All ways to lay ``b`` on ``a`` when it is moved by at most ``reach`` voxels, cropped to what overlaps."""
    height, width = a.shape
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            here = slice(max(0, -i), height - max(0, i)), slice(max(0, -j), width - max(0, j))
            there = slice(max(0, i), height + min(0, i)), slice(max(0, j), width + min(0, j))
            yield a[here], b[there]


def _pairs_of(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.uint64]:
    both = (a > 0) & (b > 0)
    pairs = np.stack([a[both], b[both]], axis=-1).astype(np.uint64)
    # Neighbouring voxels mostly repeat the pair before them: dropping those first makes `unique` cheap.
    new = np.ones(len(pairs), dtype=np.bool_)
    new[1:] = np.any(pairs[1:] != pairs[:-1], axis=-1)
    return np.unique(pairs[new], axis=0)


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
    # The graph holds only ids that touch something: its index is 32 bit in scipy, the ids need not be.
    ids, node = np.unique(pairs, return_inverse=True)
    node = node.reshape(pairs.shape)
    edges = coo_array((np.ones(len(pairs), np.uint8), (node[:, 0], node[:, 1])), shape=(len(ids), len(ids)))
    _, group = connected_components(edges, directed=False)
    _, first = np.unique(group, return_index=True)
    table[ids] = ids[first[group]].astype(dtype)
    return table


def relabel(chunk: NDArray[Any], table: NDArray[Any], *, offset: int = 0) -> NDArray[Any]:
    """Replace every id of a chunk by its entry in the table.

    Args:
        chunk: ids of one chunk, any shape; 0 is background.
        table: (count + 1,) from :func:`merge`, or any table derived from it; ``table[0]`` must be 0.
        offset: added to the chunk's ids (not to background) before they are looked up.

    Returns:
        The chunk's shape, the table's dtype.

    Raises:
        InputError: if an id is not in the table.

    >>> relabel(np.array([0, 1, 2]), np.array([0, 1, 1, 3, 1], np.uint32), offset=2)
    array([0, 3, 1], dtype=uint32)
    """
    ids = as_ids(chunk)
    largest = int(ids.max(initial=0))
    if largest + offset >= len(table):
        raise InputError(
            f"the chunk holds id {largest} at offset {offset}, the table ends at {len(table) - 1}; "
            "merge with a count that includes this chunk."
        )
    # A view that starts at the offset needs no second array of ids; only background has to be put back.
    moved: NDArray[Any] = table[offset:][ids]
    if offset:
        moved[ids == 0] = 0
    return moved
