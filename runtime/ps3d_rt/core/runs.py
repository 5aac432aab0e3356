"""Runs of equal labels along x, which are counted instead of voxels; and what counting needs: ids, slabs, checks.

A label volume has 10 to 50 times fewer runs than voxels, so everything after :func:`run_starts` is cheap,
and ids may have gaps and be as large as their dtype allows: no table is ever indexed by an id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError

SLAB_VOXELS = 2**22
"""Voxels reduced at a time: enough for numpy's loops, and even if every voxel is a run the tables stay below 1.5 GB."""

READ_VOXELS = 2**27
"""Voxels to read from disk at a time, 0.5 GB of uint32: thick slabs, because a chunk that is cut is decoded twice."""


def z_slabs(shape: Zyx, voxels: int = SLAB_VOXELS) -> Iterator[Box]:
    """Cut a volume into slabs of whole planes, of about ``voxels`` voxels and at least one plane.

    >>> [slab.start[0] for slab in z_slabs((5, 10, 10), voxels=250)]
    [0, 2, 4]
    """
    depth, height, width = shape
    planes = max(1, voxels // max(1, height * width))
    for z in range(0, depth, planes):
        yield Box((z, 0, 0), (min(z + planes, depth), height, width))


def as_ids(labels: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """Return labels as unsigned integers, without a copy where the dtype allows it.

    Args:
        labels: any shape; bool, integers, or floats that are whole numbers (published label files are float64).

    Raises:
        InputError: if a label is negative, fractional or not finite, or the dtype is not a number.

    >>> as_ids(np.array([0, 7], np.int16))
    array([0, 7], dtype=uint16)
    """
    kind = labels.dtype.kind
    if kind == "u":
        return labels
    if kind == "b":
        return labels.view(np.uint8)
    if kind == "i":
        if labels.size and labels.min() < 0:
            raise InputError(
                f"labels hold {labels.min()}; ids are 0 for background and positive for particles. "
                "Map the negative ids to 0 or to free ids first."
            )
        return labels.view(labels.dtype.str.replace("i", "u"))  # a view, in the array's byte order
    if kind == "f":
        # 2^53 is the largest range in which float64 holds every whole number; NaN and Inf fail the comparison too.
        largest = min(2.0**53, float(np.finfo(labels.dtype).max))  # float16 ends before it
        if not bool(np.all((labels >= 0) & (labels <= largest) & (labels == np.floor(labels)))):
            raise InputError(
                f"labels are {labels.dtype} and hold values that are not whole numbers in 0..2^53; "
                "is this an image or a probability map? Give the label volume."
            )
        return labels.astype(np.uint64)
    raise InputError(f"labels are {labels.dtype}; ids are whole numbers: save them as uint32.")


def check_volume(labels: NDArray[Any], other: NDArray[Any] | None = None, *, name: str = "image") -> Zyx:
    """Return the shape of a 3-D volume after checking that ``other`` has it too.

    Raises:
        InputError: if ``labels`` is not (z, y, x) or has no voxels, or ``other`` (called ``name`` in the message) has
            another shape.
    """
    if labels.ndim != 3 or labels.size == 0:
        raise InputError(
            f"labels have shape {labels.shape}; they must have three axes, z, y, x, and none may be empty."
        )
    if other is not None and other.shape != labels.shape:
        raise InputError(
            f"the {name} has shape {other.shape} and the labels have {labels.shape}; both must cover the same voxels."
        )
    return cast(Zyx, labels.shape)


def run_starts(*volumes: NDArray[Any]) -> NDArray[np.int64]:
    """Find where a run begins: the first voxel of every row, and every voxel that differs from the one before it.

    Args:
        volumes: one or more (z, y, x) arrays of one shape; a run ends when any of them changes.

    Returns:
        (n,) indices into the flattened volume, ascending.

    >>> run_starts(np.array([[[5, 5, 0, 0], [0, 0, 0, 9]]]))
    array([0, 2, 4, 7])
    """
    rows = [volume.reshape(-1, volume.shape[-1]) for volume in volumes]
    begins = np.ones(rows[0].shape, dtype=np.bool_)
    np.not_equal(rows[0][:, 1:], rows[0][:, :-1], out=begins[:, 1:])
    for other in rows[1:]:
        begins[:, 1:] |= other[:, 1:] != other[:, :-1]
    return np.flatnonzero(begins)
