"""Runs of equal labels along x: they are counted instead of voxels. Also ids, slabs and checks of label volumes.

A label volume has 10 to 50 times fewer runs than voxels, so everything after :func:`find_runs` is cheap, and ids may
have gaps and be as large as their dtype allows: no table is ever indexed by an id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
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


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The runs in a box that are not 0, in raster order, one entry a run."""

    first_index: NDArray[np.int32]
    """Raster index, in the box, of the first voxel."""
    lengths: NDArray[np.int32]
    """Voxels."""
    values: NDArray[Any]
    """What the voxels hold, in the dtype of the volume."""
    rows: NDArray[np.int64]
    """(z · y + 1,) number of the first run of each row, and of all runs."""


def find_runs(volume: NDArray[Any], box: Box) -> Runs:
    """List the runs in ``box`` of a volume, (Z, Y, X) unsigned; a run ends with its row. At most 2^31 voxels.

    >>> runs = find_runs(np.array([[[5, 5, 0, 7], [7, 0, 0, 0]]], np.uint8), Box.of_shape((1, 2, 4)))
    >>> runs.first_index.tolist(), runs.lengths.tolist(), runs.values.tolist(), runs.rows.tolist()
    ([0, 3, 4], [2, 1, 1], [5, 7, 7], [0, 2, 3])
    """
    return Runs(*_list_runs(volume, np.array(box.start), np.array(box.shape)))


@compiled
def _list_runs(
    volume: NDArray[Any], start: NDArray[Any], shape: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Give the columns of :class:`Runs`.

    Both walks are free of branches: a mispredicted branch at most ends of runs costs a processor more than to write a
    run again at every voxel.
    """
    depth, height, width = shape
    none = volume.dtype.type(0)
    rows = np.zeros(depth * height + 1, np.int64)
    for row in range(depth * height):
        z, y = start[0] + row // height, start[1] + row % height
        count, last = 0, none
        for x in range(start[2], start[2] + width):
            here = volume[z, y, x]
            count += (here != last) & (here != none)
            last = here
        rows[row + 1] = rows[row] + count
    count = rows[-1]
    first_index, lengths = np.empty(count + 1, np.int32), np.empty(count + 1, np.int32)  # one too many, written in vain
    values = np.empty(count + 1, volume.dtype)
    for row in range(depth * height):
        z, y = start[0] + row // height, start[1] + row % height
        begun, ended, last = rows[row], rows[row], none
        for x in range(width):
            here = volume[z, y, start[2] + x]
            changed = here != last
            lengths[ended] = x  # for now, where the run ends in its row
            ended += changed & (last != none)
            first_index[begun] = row * width + x
            values[begun] = here
            begun += changed & (here != none)
            last = here
        if last != none:
            lengths[ended] = width
        for i in range(rows[row], rows[row + 1]):
            lengths[i] -= first_index[i] - row * width
    return first_index[:count], lengths[:count], values[:count], rows


@compiled
def paint(out: NDArray[Any], first_index: NDArray[Any], lengths: NDArray[Any], values: NDArray[Any]) -> None:
    """Write a value a run into ``out``, flat."""
    for i in range(first_index.size):
        for k in range(first_index[i], first_index[i] + lengths[i]):
            out[k] = values[i]


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
