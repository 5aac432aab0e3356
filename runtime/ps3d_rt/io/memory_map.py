"""Voxels that lie in a file in one piece, x fastest: mapped, or first unpacked to disk if they are compressed."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import check_shape
from ps3d_rt.io.read_errors import read_errors

_BLOCK_BYTES = 2**20


class Readable(Protocol):
    """A file, compressed or not."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


def shape_from_xyz(sizes: Sequence[int], source: str) -> Zyx:
    """Turn a header's sizes, x first, into z, y, x; further axes of one entry are dropped.

    Raises:
        InputError: if that leaves more or less than three axes, or an empty one.

    >>> shape_from_xyz([50, 40, 30, 1], "scan.nii")
    (30, 40, 50)
    """
    if len(sizes) < 3 or any(n != 1 for n in sizes[3:]):
        return check_shape(sizes, source)
    x, y, z = sizes[:3]
    return check_shape((z, y, x), source)


def map_voxels(path: Path, shape: Zyx, dtype: np.dtype[Any], *, offset_bytes: int = 0) -> np.ndarray[Any, Any]:
    """Map the voxels that start at ``offset_bytes``; -1: that are the end of the file.

    Raises:
        InputError: if the file ends before them.
    """
    needed, size_bytes = prod(shape) * dtype.itemsize, path.stat().st_size
    start = size_bytes - needed if offset_bytes == -1 else offset_bytes
    if start < 0 or start + needed > size_bytes:
        raise InputError(
            f"{path}: {shape} voxels of {dtype} need {max(start, 0) + needed} bytes, the file has {size_bytes}: "
            "it is cut short; copy or export it again."
        )
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)


def unpack_voxels(
    blocks: Iterator[bytes], shape: Zyx, dtype: np.dtype[Any], *, source: str, skip_bytes: int = 0
) -> np.ndarray[Any, Any]:
    """Write ``blocks`` to a temporary file and map it; the file goes with the array. Memory holds one block.

    A compressed stream has no places to start from, so a box in the middle would cost as much as the whole.

    Args:
        blocks: the unpacked bytes; never an empty block.
        shape: voxels z, y, x.
        dtype: of the voxels.
        source: file, for messages.
        skip_bytes: to leave out in front of the voxels, counted after unpacking.

    Raises:
        InputError: if the stream is broken or ends too early, or there is no room.
    """
    needed, found = skip_bytes + prod(shape) * dtype.itemsize, 0
    with tempfile.TemporaryFile() as file:
        while True:
            with read_errors(source, "the compressed voxels"):
                block = next(blocks, b"")
            if not block:
                break
            try:
                file.write(block[: max(0, needed - found)])
                file.flush()
            except OSError as error:
                raise InputError(
                    f"{source}: no room to unpack {needed} bytes in {tempfile.gettempdir()} ({error.strerror}); "
                    "let the variable TMPDIR name a folder with more."
                ) from error
            found += len(block)
        if found < needed:
            raise InputError(
                f"{source}: holds {found} bytes when unpacked, the header says {needed}: "
                "it is cut short; copy or export it again."
            )
        return np.memmap(file, dtype=dtype, mode="r", offset=skip_bytes, shape=shape)


def blocks_of(file: Readable) -> Iterator[bytes]:
    """Read what is left of ``file`` block by block."""
    while block := file.read(_BLOCK_BYTES):
        yield block


def check_gzip(path: Path) -> None:
    """Refuse what is not packed by gzip, whatever its name."""
    with read_errors(str(path), "the file"), path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            raise InputError(
                f"{path}: is not packed by gzip as its name says, or its start is damaged; copy it again, or take .gz "
                "off its name."
            )


def inflated(file: Readable) -> Iterator[bytes]:
    """Unpack a zlib stream block by block.

    Raises:
        EOFError: if it ends too early.
    """
    stream = zlib.decompressobj()
    for packed in blocks_of(file):
        part = packed
        while part and not stream.eof:
            if block := stream.decompress(part, _BLOCK_BYTES):
                yield block
            part = stream.unconsumed_tail
    if not stream.eof:
        raise EOFError("the compressed data end too soon")
