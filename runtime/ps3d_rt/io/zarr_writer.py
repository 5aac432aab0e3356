"""How our own zarr arrays are laid out, and how they are read and written: whole shards only.

A shard is a file and what one task writes, so that tasks never wait for each other and a file that exists is whole.
The chunks inside are 64³ under Zstandard level 1. On a label map of touching particles (256³ uint32, shards of 128³,
two threads) 64³ was faster than 32³, 16 × 64² and 128³ to write, and to read whole, with a halo, or by planes of one
voxel. LZ4 was 10 to 30 % faster while the files stayed in memory, but they were more than three times as large.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import ZstdCodec

from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.read_errors import read_errors

CHUNK = 64
"""Side of a chunk, voxels."""

LARGEST_SHARD: Zyx = (CHUNK, 512, 512)
"""Most voxels of a shard of a whole volume: 10^10 voxels are then about 600 files."""

_LEAST_CHUNK = 16


def create_array(
    store: Path | str, name: str | None, shape: Zyx, dtype: DTypeLike, shard: Zyx = LARGEST_SHARD
) -> zarr.Array[Any]:
    """Create the array ``store/name``, or ``store`` itself if the name is None, full of zeros.

    Args:
        store: folder, or an address that fsspec opens.
        name: path inside, such as ``labels/0``.
        shape: voxels, z, y, x.
        dtype: of the voxels.
        shard: voxels that are written whole; a shard that is larger than ``shape`` is cut to it.
    """
    z, y, x = (min(side, -(-n // CHUNK) * CHUNK) for side, n in zip(shard, shape, strict=True))
    return zarr.create_array(
        store,
        name=name,
        shape=shape,
        dtype=np.dtype(dtype),
        chunks=(chunk_side(z), chunk_side(y), chunk_side(x)),
        shards=(z, y, x),
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=0,
        dimension_names=("z", "y", "x"),
    )


def chunk_side(shard_side: int) -> int:
    """Give the longest side of at most 64 voxels that divides a shard; the shard's own if that would be tiny.

    >>> [chunk_side(n) for n in (512, 96, 100, 97, 5)]
    [64, 48, 50, 97, 5]
    """
    return next((n for n in range(CHUNK, _LEAST_CHUNK - 1, -1) if shard_side % n == 0), shard_side)


def shape_of(array: zarr.Array[Any]) -> Zyx:
    """Voxels z, y, x."""
    return cast(Zyx, array.shape)


def shard_of(array: zarr.Array[Any]) -> Zyx:
    """Voxels of a shard, z, y, x."""
    return cast(Zyx, array.shards)


def shard_boxes(array: zarr.Array[Any]) -> tuple[Box, ...]:
    """Give the voxels of every shard, in raster order; shards at the far ends may be smaller."""
    return ChunkGrid(shape_of(array), shard_of(array)).boxes


def write_shards(array: zarr.Array[Any], box: Box, values: NDArray[Any]) -> None:
    """Write one or more whole shards. A killed process leaves each of them as it was, or as it should be.

    Raises:
        InputError: if ``box`` cuts a shard, or the values do not fit it or the array's dtype.
        OSError: if the disk is full or the file cannot be written.
    """
    sides = zip(box.start, box.stop, shape_of(array), shard_of(array), strict=True)
    if not all(0 <= a < b <= n and a % side == 0 and (b % side == 0 or b == n) for a, b, n, side in sides):
        raise InputError(
            f"{array.store_path}: a box {box.start} to {box.stop} was to be written; in a volume of {array.shape} "
            f"voxels it must start at multiples of {array.shards} and end there or at the far end."
        )
    if values.shape != box.shape or not np.can_cast(values.dtype, array.dtype, "safe"):
        raise InputError(
            f"{array.store_path}: a box of {box.shape} voxels {array.dtype} cannot take "
            f"{values.shape} values {values.dtype}."
        )
    array[box.slices] = values


def read_box(array: zarr.Array[Any], box: Box) -> NDArray[Any]:
    """Read the voxels of ``box``; what was never written is 0. Beside the result, as much again is held for a moment.

    Raises:
        InputError: if ``box`` is not inside the volume, or a file is damaged.
    """
    if not all(0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, shape_of(array), strict=True)):
        raise InputError(
            f"{array.store_path}: the box {box.start} to {box.stop} cannot be read; "
            f"it must lie between (0, 0, 0) and {array.shape}."
        )
    with read_errors(
        str(array.store_path), f"a chunk between {box.start} and {box.stop}", cure="remove it and run again"
    ):
        return cast(NDArray[Any], array[box.slices])
