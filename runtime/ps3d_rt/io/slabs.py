"""Read a volume slab by slab, for writers: a slab fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume

OnProgress: TypeAlias = Callable[[int], object]
"""Called after each slab with the number of its voxels."""

_Name = TypeVar("_Name")

_SLAB_BYTES = 2**28
"""Most bytes of a slab, unless a plane or a row of shards has more; up to three slabs are in memory."""


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: Any, /) -> Any:
        """Append ``data``."""


def plane_boxes(shape: Zyx, itemsize: int, planes: int) -> Iterator[Box]:
    """Cut a volume into whole planes: as many times ``planes`` as fit, or what fits, and at least one.

    >>> [box.start[0] for box in plane_boxes((300, 1024, 1024), 2, 48)]
    [0, 96, 192, 288]
    """
    fit = max(1, _SLAB_BYTES // (shape[1] * shape[2] * itemsize))
    depth = fit // planes * planes or fit
    for z in range(0, shape[0], depth):
        yield Box((z, 0, 0), (min(z + depth, shape[0]), shape[1], shape[2]))


def shard_boxes(shape: Zyx, itemsize: int, shard: Zyx) -> Iterator[Box]:
    """Cut a volume into whole shards: one deep, all along x, and along y as many as fit, at least one.

    >>> [(box.start[:2], box.shape) for box in shard_boxes((64, 3000, 4000), 1, (64, 512, 512))]
    [((0, 0), (64, 1024, 4000)), ((0, 1024), (64, 1024, 4000)), ((0, 2048), (64, 952, 4000))]
    """
    depth, rows, _ = shard
    height = rows * max(1, _SLAB_BYTES // (depth * rows * shape[2] * itemsize))
    for z in range(0, shape[0], depth):
        for y in range(0, shape[1], height):
            yield Box((z, y, 0), (min(z + depth, shape[0]), min(y + height, shape[1]), shape[2]))


def slabs(volume: Volume, boxes: Iterator[Box], on_progress: OnProgress) -> Iterator[tuple[Box, np.ndarray[Any, Any]]]:
    """Read box after box. The caller has written a box when it asks for the next; then ``on_progress`` is called."""
    for box in boxes:
        yield box, volume.read(box)
        on_progress(box.size)


def planes_of(volume: Volume, on_progress: OnProgress) -> Iterator[np.ndarray[Any, Any]]:
    """Read plane after plane, some at a time."""
    boxes = plane_boxes(volume.shape, volume.dtype.itemsize, volume.planes_per_read)
    for _, voxels in slabs(volume, boxes, on_progress):
        yield from voxels


def stored_as(volume: Volume, names: Mapping[str, _Name], kind: str) -> tuple[np.dtype[Any], _Name]:
    """Choose the little-endian dtype that a file of ``kind`` holds ``volume`` in, bool as uint8, and its name there.

    Args:
        volume: what is to be written.
        kind: the format, for the message.
        names: NumPy's short names, such as ``u2``, → the format's.

    Raises:
        InputError: if the format has no such type.
    """
    dtype = np.dtype(np.uint8 if volume.dtype == bool else volume.dtype).newbyteorder("<")
    name = names.get(dtype.str[1:])
    if name is None:
        raise InputError(
            f"{volume.source}: {kind} cannot hold {volume.dtype}; the allowed types are bool, integers, "
            "float32 and float64."
        )
    return dtype, name


def write_planes(file: Sink, volume: Volume, dtype: np.dtype[Any], on_progress: OnProgress) -> None:
    """Append all voxels as ``dtype``, x fastest."""
    for plane in planes_of(volume, on_progress):
        file.write(plane.astype(dtype, copy=False).data)
