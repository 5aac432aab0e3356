"""Zeiss Xradia: ``.txm`` (a reconstruction) and ``.xrm``, an OLE file with one stream an image.

    ImageInfo/ImageWidth, ImageHeight, NoOfImages or ImagesTaken, DataType   uint32
    ImageInfo/PixelSize                                                      float32, µm
    ImageData1/Image1 … Image100, ImageData2/Image101 …                      pixels, x fastest, little-endian

Zeiss does not publish the format. Source: the readers of DXchange, txrm2tiff and others in public repositories.
"""

from __future__ import annotations

import re
import struct
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import olefile

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, Volume, check_shape
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slices.volume import SliceFiles, SlicesVolume
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts, stated_spacing

_TYPES: dict[int, np.dtype[Any]] = {3: np.dtype("u1"), 5: np.dtype("<u2"), 10: np.dtype("<f4")}
_PROJECTIONS = ".txrm"
_FREE = 0xFFFFFFFF
_SPECIAL = 0xFFFFFFFA
"""Numbers of sectors from here on stand for none."""
_HEAD_BYTES = 512


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``; images are read one by one.

    Raises:
        InputError: if it is cut short, holds projections or one image only, or images are missing.
    """
    if path.suffix.lower() == _PROJECTIONS:
        raise InputError(f"{path}: holds projections, not slices; reconstruct them, and give the .txm.")
    with read_errors(str(path), "the file"), ExitStack() as on_error:
        if not olefile.isOleFile(path):
            raise InputError(f"{path}: is not a Zeiss file (OLE), or its start is damaged; copy or export it again.")
        _check_tables(path)
        ole = on_error.enter_context(olefile.OleFileIO(path))
        _check_whole(ole, path)
        names = _images(ole, path)
        width, height, code = (int(_value(ole, name, "<I", path)) for name in ("ImageWidth", "ImageHeight", "DataType"))
        if code not in _TYPES:
            known = ", ".join(f"{code} ({dtype.name})" for code, dtype in _TYPES.items())
            raise InputError(f"{path}: DataType is {code}; the known ones are {known}: export the volume as TIFF.")
        dtype, shape = _TYPES[code], check_shape((len(names), height, width), str(path))[1:]
        for name in names:
            _check_size(ole.get_size(name), shape, dtype, f"{path}: {name}")
        decode = partial(_decode, ole, Lock(), shape, dtype, path)
        slices = SliceFiles(names, decode, shape, dtype.newbyteorder("="), ole.close)
        stated = spacing_that_counts(spacing_mm, lambda: _spacing(ole, path), str(path))
        volume = SlicesVolume(slices, stated.spacing_mm, path)
        volume.warn(*stated.remarks)
        if _has_angles(ole, len(names)):
            volume.warn(f"{path}: every image has an angle of its own; check that they are slices, not projections.")
        on_error.pop_all()
        return volume


def _images(ole: Any, path: Path) -> list[str]:
    """List the streams of the images, by number: they are kept a hundred to a storage."""
    found = {}
    for parts in ole.listdir():
        match = re.fullmatch(r"ImageData\d+/Image(\d+)", "/".join(parts), re.IGNORECASE)
        if match:
            found[int(match[1])] = "/".join(parts)
    counts = (_said(ole, key, "<I", path) for key in ("NoOfImages", "ImagesTaken"))
    said = next((int(count) for count in counts if count is not None), len(found))
    if len(found) < 2:
        raise InputError(f"{path}: holds {len(found)} image; a volume has at least two: give the reconstruction.")
    if said != len(found) or max(found) != said:
        first = next(number for number in range(1, said + len(found) + 1) if number not in found or number > said)
        raise InputError(
            f"{path}: holds {len(found)} images, its header says {said}; Image{first} does not fit: export it again."
        )
    return [found[number] for number in sorted(found)]


def _said(ole: Any, name: str, layout: str, path: Path) -> float | None:
    """Read the first value of a stream of ImageInfo; None if there is none."""
    stream = f"ImageInfo/{name}"
    if not ole.exists(stream):
        return None
    data = ole.openstream(stream).read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise InputError(f"{path}: {stream} is empty; export the file again.")
    return float(struct.unpack(layout, data)[0])


def _value(ole: Any, name: str, layout: str, path: Path) -> float:
    found = _said(ole, name, layout, path)
    if found is None:
        raise InputError(f"{path}: does not say ImageInfo/{name}; export the file again.")
    return found


def _spacing(ole: Any, path: Path) -> StatedSpacing:
    return stated_spacing([_said(ole, "PixelSize", "<f", path)] * 3, ["µm"] * 3, str(path))


def _has_angles(ole: Any, count: int) -> bool:
    if not ole.exists("ImageInfo/Angles"):
        return False
    angles = np.frombuffer(ole.openstream("ImageInfo/Angles").read()[: 4 * count], "<f4")
    return len(angles) == count and len(np.unique(angles)) == count


def _check_tables(path: Path) -> None:
    """Check that the tables that the header speaks of lie inside the file, without which nothing can be found."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    shift, first, small, more = struct.unpack_from("<30xH16xI8xI4xI", head.ljust(_HEAD_BYTES, b"\xff"))
    tables = struct.unpack_from("<109I", head.ljust(_HEAD_BYTES, b"\xff"), 76)
    end = max((place + 2 for place in (first, small, more, *tables) if place < _SPECIAL), default=0) << min(shift, 12)
    if size_bytes < (needed := max(end, _HEAD_BYTES)):
        raise InputError(
            f"{path}: has {size_bytes} bytes, its header promises {needed}: it is cut short; copy it again."
        )


def _check_whole(ole: Any, path: Path) -> None:
    """Check that the last sector in use begins inside the file."""
    used = np.flatnonzero(np.asarray(ole.fat, np.uint32) != _FREE)
    end, size_bytes = (int(used[-1]) + 1) * ole.sector_size if used.size else 0, path.stat().st_size
    if size_bytes <= end:
        raise InputError(
            f"{path}: has {size_bytes} bytes, its tables refer to bytes up to {end}: it is cut short; copy it again."
        )


def _check_size(size_bytes: int, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    needed = shape[0] * shape[1] * dtype.itemsize
    if size_bytes != needed:
        raise InputError(f"{what} has {size_bytes} bytes, {shape} of {dtype.name} needs {needed}; export it again.")


def _decode(
    ole: Any, lock: Any, shape: tuple[int, ...], dtype: np.dtype[Any], path: Path, name: str
) -> np.ndarray[Any, Any]:
    with read_errors(str(path), name), lock:  # all threads share one position in the file
        data = ole.openstream(name).read()
    _check_size(len(data), shape, dtype, f"{path}: {name}")
    return np.frombuffer(data, dtype).reshape(shape)
