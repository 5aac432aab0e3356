"""How our own zarr arrays are laid out: chunks of 64³ in shards one chunk deep, so that a slab is whole shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from ps3d_rt.core.grid import Zyx

CHUNK = 64
"""Side of a chunk, voxels; also the depth of a shard, so of the slab that has to be in memory to write whole shards."""

_SHARD_YX = 512
"""Most voxels of a shard along y and x: 10^10 voxels are then about 600 files."""


def create_level(store: Path, name: str | None, shape: Zyx, dtype: np.dtype[Any]) -> zarr.Array[Any]:
    """Create the empty array ``store/name``, or ``store`` itself if the name is None.

    Write it in slabs that start at multiples of :data:`CHUNK` and are as deep.
    Zstandard at level 1 was the fastest to write and the smallest of five codecs on labels of touching particles.
    """
    shard = (CHUNK, *(min(_SHARD_YX, -(-n // CHUNK) * CHUNK) for n in shape[1:]))
    return zarr.create_array(
        store,
        name=name,
        shape=shape,
        dtype=dtype,
        chunks=(CHUNK, CHUNK, CHUNK),
        shards=shard,
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=0,
        dimension_names=("z", "y", "x"),
    )
