"""TIFF files with one page a slice: plain, BigTIFF, ImageJ or OME. What their numbers mean: :mod:`.tiff_values`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, final
from xml.etree import ElementTree

import numpy as np
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import PLANES_PER_READ, ArrayVolume, SpacingMm, Volume, planes_per_read
from ps3d_rt.io.converted import ConvertedVolume
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slabs import OnProgress, planes_of
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts, stated_spacing
from ps3d_rt.io.tiff_values import INVERTED, calibrated, inversion_of, palette_remark
from ps3d_rt.io.units import decimal_number, mm_per

_OME_DTYPES = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
_OF_SCREENS = ((72, 1), (96, 1))
"""Pixels an inch that programs fill in."""
_STARTS = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
"""TIFF and BigTIFF, little and big endian."""
_CLASSIC_BYTES = 2**32 - 2**25
"""Larger files need 64-bit offsets; some room for the tags."""


@final
class TiffVolume(Volume):
    """Pages that have to be decoded, one a slice; owns ``tif``."""

    def __init__(
        self, tif: tifffile.TiffFile, shape: tuple[int, ...], spacing_mm: SpacingMm | None, path: Path
    ) -> None:
        series = tif.series[0]
        super().__init__(source=str(path), name=stem_of(path), shape=shape, dtype=series.dtype, spacing_mm=spacing_mm)
        self._tif = tif
        self._series = 0 if len(tif.series) == 1 else None
        self._lock = Lock()  # all threads share one position in the file

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        _, rows, columns = box.slices
        first, last = box.start[0], box.stop[0]
        # Whole pages are decoded, then cropped: some at a time, which bounds the memory that costs.
        for start in range(first, last, PLANES_PER_READ):
            stop = min(start + PLANES_PER_READ, last)
            with self._lock, read_errors(self.source, f"pages {start} to {stop - 1}"):
                pages = self._tif.asarray(key=range(start, stop), series=self._series, maxworkers=os.cpu_count())
                out[start - first : stop - first] = pages.reshape(-1, *self.shape[1:])[:, rows, columns]

    def close(self) -> None:
        """Close the file."""
        self._tif.close()


@final
class TiledTiffVolume(Volume):
    """One page with a depth, in tiles that are decoded one by one; owns ``tif``."""

    def __init__(self, tif: tifffile.TiffFile, spacing_mm: SpacingMm | None, path: Path) -> None:
        import zarr  # noqa: PLC0415 - loads slowly, and few files need it

        series, page = tif.series[0], tif.pages.first
        super().__init__(
            source=str(path),
            name=stem_of(path),
            shape=series.shape,
            dtype=series.dtype,
            spacing_mm=spacing_mm,
        )
        self.planes_per_read = planes_per_read(page.tiledepth if page.is_tiled else page.imagedepth)
        self._tif, self._array = tif, zarr.open_array(series.aszarr(), mode="r")

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        with read_errors(self.source, f"a tile between {box.start} and {box.stop}"):
            out[...] = self._array[box.slices]

    def close(self) -> None:
        """Close the file."""
        self._tif.close()


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``; voxels are mapped where the file has them in one piece, else decoded page by page.

    Raises:
        InputError: if the file is cut short, or holds colour, several channels or time points, or pages that differ.
    """
    with read_errors(str(path), "the TIFF file"), ExitStack() as on_error:
        # ``_multifile``: an OME-TIFF may name other files; what is read lies in the file that was given.
        check_start(path)
        tif = on_error.enter_context(tifffile.TiffFile(path, _multifile=False))
        check_whole(tif, path)
        shape = _shape_of(tif, path)
        stated = spacing_that_counts(spacing_mm, lambda: _spacing_of(tif, path), str(path))
        page = tif.pages.first
        inversion, remark, imagej = inversion_of(page, str(path)), palette_remark(page), tif.imagej_metadata
        volume, is_mapped = _stored(tif, shape, stated.spacing_mm, path)
        if not is_mapped:
            on_error.pop_all()
    volume.warn(*stated.remarks, *([f"{path}: {remark}"] if remark else []))
    if inversion is not None:
        volume = ConvertedVolume(volume, volume.dtype, inversion)
        volume.warn(f"{path}: {INVERTED}")
    return calibrated(volume, imagej)


def _stored(
    tif: tifffile.TiffFile, shape: tuple[int, ...], spacing_mm: SpacingMm | None, path: Path
) -> tuple[Volume, bool]:
    """Open the numbers as they are stored, and say whether they are mapped, so that ``tif`` is not needed any more."""
    series = tif.series[0]
    offset = series.dataoffset if len(tif.series) == 1 else None
    if offset is not None:
        array = np.memmap(path, dtype=series.dtype.newbyteorder(tif.byteorder), mode="r", offset=offset, shape=shape)
        return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path)), True
    if len(tif.pages) == 1 and tif.pages.first.imagedepth > 1:
        return TiledTiffVolume(tif, spacing_mm, path), False
    return TiffVolume(tif, shape, spacing_mm, path), False


def check_start(path: Path) -> None:
    """Refuse what is not a TIFF file."""
    with path.open("rb") as file:
        if file.read(4) not in _STARTS:
            raise InputError(f"{path}: is not a TIFF file, or its start is damaged; copy or export it again.")


def check_whole(tif: tifffile.TiffFile, path: Path) -> None:
    """Check that the list of pages ends where it should and that all their data lie inside the file.

    tifffile drops pages that it cannot find, so a file cut short would open as a shorter volume.
    """
    file = tif.filehandle
    pages = len(tif.pages)
    if tif.pages.next_page_offset is not None:
        file.seek(tif.pages.next_page_offset)
        end_mark = file.read(tif.tiff.offsetsize)
        if end_mark != bytes(tif.tiff.offsetsize):
            raise InputError(f"{path}: the file is cut short after page {pages}; copy or export it again.")
    for series in tif.series:
        if series.dataoffset is not None:
            size_bytes = series.size * series.dtype.itemsize
            _check_inside(file.size, [series.dataoffset], [size_bytes], f"{path}: the data")
            continue
        for index, page in enumerate(series.pages):
            if page is None:
                raise InputError(f"{path}: slice {index} is missing; copy or export the file again.")
            pieces, needed = len(page.dataoffsets), prod(series.keyframe.chunked)
            if pieces < needed:
                raise InputError(
                    f"{path}: page {index} has {pieces} of the {needed} strips or tiles of its size; "
                    "copy or export the file again."
                )
            _check_inside(file.size, page.dataoffsets, page.databytecounts, f"{path}: page {index}")


def _check_inside(file_bytes: int, offsets: Iterable[int], sizes_bytes: Iterable[int], what: str) -> None:
    pieces = list(zip(offsets, sizes_bytes, strict=True))
    end = max((offset + size for offset, size in pieces), default=0)
    if end > file_bytes:
        raise InputError(
            f"{what} should end at byte {end}, the file has {file_bytes}: it is cut short; copy or export it again."
        )
    if not all(size for _, size in pieces):
        raise InputError(f"{what} has no data; copy or export the file again.")


def check_gray(axes: str, shape: tuple[int, ...], path: Path) -> None:
    """Check that a page or series, in tifffile's letters for axes, has one gray value per voxel."""
    for letter, what in (("S", "colour samples per pixel"), ("C", "channels"), ("T", "time points (frames)")):
        if letter not in axes:
            continue
        count = shape[axes.index(letter)]
        cure = "save one channel" if letter != "T" else "save one time point"
        if letter != "S" and "Z" not in axes:
            cure += (
                f"; if they are slices, set slices (z) to {count} and the others to 1 in ImageJ (Image > Properties), "
                "and save it again"
            )
        raise InputError(f"{path}: found {count} {what}; a volume has one gray value per voxel: {cure}.")


def _shape_of(tif: tifffile.TiffFile, path: Path) -> tuple[int, ...]:
    """Return the shape of all slices together; not yet known to be z, y, x."""
    first = tif.series[0]
    if tif.is_ome and first.kind in ("uniform", "generic"):  # tifffile gave up on the OME metadata
        raise InputError(
            f"{path}: the OME metadata name other files or do not fit the pages: the pages here may be a part only; "
            "export the volume as one file, or as a folder of slices."
        )
    check_gray(first.axes, first.shape, path)
    if len(tif.series) == 1:
        return first.shape
    # A writer that adds slices one by one may leave one series for each.
    for series in tif.series:
        if (series.shape, series.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{path}: holds images of {first.shape} {first.dtype} and of {series.shape} {series.dtype}; "
                "all slices of a volume have one shape and type: save them to a file of their own."
            )
    return (len(tif.series), *first.shape)


def _spacing_of(tif: tifffile.TiffFile, path: Path) -> StatedSpacing:
    """Return what OME or ImageJ metadata say; a plain TIFF has no spacing along z, so it says nothing."""
    if tif.is_ome and tif.ome_metadata:
        pixels = ElementTree.fromstring(tif.ome_metadata).find("{*}Image/{*}Pixels")
        said = {} if pixels is None else pixels.attrib
        values = [said.get(f"PhysicalSize{axis}") for axis in "ZYX"]
        sizes = [None if value is None else decimal_number(value) for value in values]
        units = [said.get(f"PhysicalSize{axis}Unit") for axis in "ZYX"]
        return stated_spacing(sizes, units, str(path), usual_unit="µm")  # the schema's default
    if not (tif.is_imagej and tif.imagej_metadata):
        return StatedSpacing()
    said = tif.imagej_metadata
    tags = tif.pages.first.tags
    pixels_per_unit = [tags.valueof(name, default=(0, 1)) for name in ("YResolution", "XResolution")]
    if said.get("unit") == "inch" and pixels_per_unit[1] in _OF_SCREENS:
        return StatedSpacing(
            None, (f"{path}: says 72 or 96 pixels an inch, which is that of a screen: pass --spacing in mm.",)
        )
    sides = [below / above if above else None for above, below in pixels_per_unit]
    depth = said.get("spacing")
    if depth is None and None not in sides and mm_per(said.get("unit")):
        return StatedSpacing(
            None,
            (
                f"{path}: gives {sides[1]:g} {said['unit']} as the pixel size and no distance between slices (ImageJ "
                "leaves it out where it is 1): pass --spacing z,y,x in mm.",
            ),
        )
    # ``unit`` is of x, and of the axes that have none of their own.
    units = [said.get(f"{axis}unit", said.get("unit")) for axis in "zyx"]
    return stated_spacing([None if depth is None else decimal_number(str(depth)), *sides], units, str(path))


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write ``volume`` page by page: OME-TIFF if the spacing is known; BigTIFF from 4 GB on.

    Labels, 32-bit ids, are compressed to a tenth or less; scans are not, so that they can be mapped.
    """
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if volume.spacing_mm is not None:
        if volume.dtype.name not in _OME_DTYPES:
            raise InputError(
                f"{volume.name}: a TIFF of {volume.dtype} cannot hold the spacing; "
                f"the types that can are {', '.join(_OME_DTYPES)}: convert the array or write zarr."
            )
        for axis, size in zip("ZYX", volume.spacing_mm, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "mm"}
    large = prod(volume.shape) * volume.dtype.itemsize > _CLASSIC_BYTES
    with tifffile.TiffWriter(path, bigtiff=large, ome=volume.spacing_mm is not None) as writer:
        writer.write(
            planes_of(volume, on_progress),
            shape=volume.shape,
            dtype=volume.dtype,
            photometric="minisblack",
            compression="zlib" if volume.dtype == np.uint32 else None,
            metadata=metadata,
        )
