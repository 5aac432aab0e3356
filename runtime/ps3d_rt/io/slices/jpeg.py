"""Headers of JPEG and JPEG 2000: size, type, whether gray, whether exact, and whether the file has its end.

The decoders fill what is missing of a file that is cut short with gray, without an error: it must be found here.
Sources: ITU-T T.81 annex B (JPEG), T.800 annexes A and I (JPEG 2000).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ps3d_rt.errors import InputError

_NO_FRAME = {0xC4, 0xC8, 0xCC}
"""Markers between C0 and CF that start no frame."""
_EXACT_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Shape y, x, dtype, and whether the pixels are exactly those that were saved."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    is_exact: bool


def jpeg_header(file: IO[bytes], path: Path) -> JpegHeader:
    """Read the header of a JPEG file; InputError if it is colour, cut short or something else."""
    if file.read(2) != b"\xff\xd8":
        raise InputError(f"{path}: is not a JPEG file, or its start is damaged; export it again.")
    while len(head := file.read(4)) == 4:
        mark, code, size = struct.unpack(">BBH", head)
        if mark != 0xFF:
            break
        if 0xC0 <= code <= 0xCF and code not in _NO_FRAME:
            bits, height, width, channels = struct.unpack(">BHHB", file.read(6))
            _check_gray(channels, path)
            _check_ends(file, file.seek(0, 2), path)
            return JpegHeader((height, width), _dtype(bits, signed=False), code in _EXACT_FRAMES)
        file.seek(size - 2, 1)
    raise InputError(f"{path}: the JPEG header has no size of the image: it is damaged; export it again.")


def codestream_header(file: IO[bytes], path: Path) -> JpegHeader:
    """Read the header of a JPEG 2000 file, with boxes or without; InputError if it is colour, cut short or no such."""
    end = _enter_codestream(file, path)
    start = file.tell()
    width, height, left, top = struct.unpack(">4I", file.read(46)[8:24])
    file.seek(start + 40)
    channels, depth = struct.unpack(">HB", file.read(3))
    _check_gray(channels, path)
    file.seek(start + 2 + 2 + struct.unpack(">H", _at(file, start + 4, 2))[0])
    exact = True
    while len(head := file.read(4)) == 4:
        code, size = struct.unpack(">HH", head)
        if code == 0xFF52:
            exact = file.read(size - 2)[9] == 1
            break
        file.seek(size - 2, 1)
    _check_ends(file, end, path)
    return JpegHeader((height - top, width - left), _dtype((depth & 0x7F) + 1, signed=depth > 0x7F), exact)


def _enter_codestream(file: IO[bytes], path: Path) -> int:
    """Go to where the codestream starts; return where it ends."""
    size_bytes = file.seek(0, 2)
    file.seek(0)
    if _at(file, 0, 4) == b"\xff\x4f\xff\x51":
        file.seek(0)
        return size_bytes
    at = 0
    while len(head := _at(file, at, 16)) >= 8:
        size, name = struct.unpack(">I4s", head[:8])
        front = 8
        if size == 1 and len(head) == 16:
            size, front = struct.unpack(">Q", head[8:])[0], 16
        size = size or size_bytes - at
        if name == b"jp2c":
            file.seek(at + front)
            return at + size
        if size < front:
            break
        at += size
    raise InputError(f"{path}: is not a JPEG 2000 file, or its start is damaged; export it again.")


def _at(file: IO[bytes], at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _check_gray(channels: int, path: Path) -> None:
    if channels != 1:
        raise InputError(
            f"{path}: found {channels} colour samples per pixel; a volume has one gray value per voxel: "
            "save the slices as gray images."
        )


def _check_ends(file: IO[bytes], end: int, path: Path) -> None:
    if not _at(file, max(0, end - 64), 64).rstrip(b"\0").endswith(_END):
        raise InputError(f"{path}: has no end: it is cut short; copy or export it again.")


def _dtype(bits: int, *, signed: bool) -> np.dtype[Any]:
    return np.dtype(("i" if signed else "u") + ("1" if bits <= 8 else "2" if bits <= 16 else "4"))
