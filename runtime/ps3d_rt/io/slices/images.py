"""What one slice is: the formats of images, and for each how to read its header and its pixels.

Sources: PNG (W3C, third edition), BITMAPINFOHEADER (Windows GDI), TIFF through tifffile; JPEG in :mod:`.jpeg`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy as np
import tifffile

from ps3d_rt.errors import InputError
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slices.jpeg import codestream_header, jpeg_header
from ps3d_rt.io.tiff import check_gray, check_start, check_whole
from ps3d_rt.io.tiff_values import INVERTED, inversion_of, palette_remark

_CALIBRATION = ("cf", "c0", "c1")
_GRAY = "a volume has one gray value per voxel: save the slices as gray images of 8 or 16 bit"


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What the header of a slice says. Slices of one volume have equal headers.

    Attributes:
        shape: y, x.
        dtype: of the pixels.
        remark: what a person should know, a sentence without its subject; '' for nothing.
        calibration: ImageJ's keys and values that turn stored numbers into gray values; () if there is none.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    remark: str = ""
    calibration: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SliceFormat:
    """A format of images.

    Attributes:
        name: for people.
        endings: of file names, lower case.
        header: reads the header; InputError if the slice is cut short or no gray image.
        pixels: reads the pixels.
    """

    name: str
    endings: tuple[str, ...]
    header: Callable[[Path], SliceHeader]
    pixels: Callable[[Path], Any]

    def header_of(self, path: Path) -> SliceHeader:
        """Read the header of ``path``; InputError if it is broken."""
        with read_errors(str(path), f"the {self.name} slice"):
            return self.header(path)

    def decode(self, path: Path) -> np.ndarray[Any, Any]:
        """Read the pixels of ``path``, (y, x); InputError if they are broken."""
        with read_errors(str(path), f"the {self.name} slice"):
            pixels = np.asarray(self.pixels(path))
            # A gray palette comes as three equal channels.
            return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels


def _tiff_header(path: Path) -> SliceHeader:
    check_start(path)
    with tifffile.TiffFile(path, _multifile=False) as tif:
        check_whole(tif, path)
        page = tif.pages.first
        check_gray(page.axes, page.shape, path)
        if len(tif.pages) > 1:
            raise InputError(
                f"{path}: holds {len(tif.pages)} pages; a slice has one: open the file itself if it is the volume."
            )
        remark = INVERTED if inversion_of(page, str(path)) else palette_remark(page)
        for one, several in (("says", "say"), ("stores", "store"), ("its", "their")):  # said of all slices together
            remark = remark.replace(one, several)
        said = tif.imagej_metadata or {}
        calibration = tuple((key, str(said[key])) for key in _CALIBRATION if key in said)
        return SliceHeader(page.shape, np.dtype(page.dtype).newbyteorder("="), remark, calibration)


def _tiff_pixels(path: Path) -> Any:
    with tifffile.TiffFile(path, _multifile=False) as tif:
        page = tif.pages.first
        pixels, inversion = page.asarray(maxworkers=1), inversion_of(page, str(path))
        return pixels if inversion is None else inversion(pixels)


def _png_header(path: Path) -> SliceHeader:
    with path.open("rb") as file:
        start = file.read(33)
        if start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
            raise InputError(f"{path}: is not a PNG file, or its start is damaged; export it again.")
        width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
        _check_end(file, path, b"IEND\xaeB`\x82")
        if colour not in (0, 3):
            raise InputError(f"{path}: found colour or transparency; {_GRAY}.")
        remark = _palette_remark(_png_palette(file), path) if colour == 3 else ""
    return SliceHeader((height, width), np.dtype(np.uint16 if bits == 16 else np.uint8), remark)


def _png_palette(file: IO[bytes]) -> np.ndarray[Any, Any]:
    """Find the palette, (entries, 3), among the chunks in front of the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if name == b"PLTE":
            return np.frombuffer(file.read(size), np.uint8).reshape(-1, 3)
        file.seek(size + 4, 1)
    raise ValueError("there is no palette")


def _bmp_header(path: Path) -> SliceHeader:
    with path.open("rb") as file:
        start = file.read(54)
        if start[:2] != b"BM":
            raise InputError(f"{path}: is not a BMP file, or its start is damaged; export it again.")
        pixels_at, header_bytes, width, height, _, bits, packing = struct.unpack("<IIiiHHI", start[10:34])
        if bits != 8 or packing:
            raise InputError(
                f"{path}: found {bits} bits per pixel{', packed' * bool(packing)}; 8 are allowed: {_GRAY}."
            )
        size_bytes, needed = file.seek(0, 2), pixels_at + (width + -width % 4) * abs(height)
        if size_bytes < needed:
            raise InputError(f"{path}: has {size_bytes} of {needed} bytes: it is cut short; copy or export it again.")
        file.seek(14 + header_bytes)
        used = struct.unpack("<I", start[46:50])[0] or 256
        palette = np.frombuffer(file.read(4 * used), np.uint8).reshape(-1, 4)[:, :3]
    return SliceHeader((abs(height), width), np.dtype(np.uint8), _palette_remark(palette, path))


def _palette_remark(palette: np.ndarray[Any, Any], path: Path) -> str:
    if np.ptp(palette.astype(int), axis=1).any():
        raise InputError(f"{path}: the palette has colours; {_GRAY}.")
    if np.array_equal(palette[:, 0], np.arange(len(palette))):
        return ""
    return "have a gray palette that is not in order; the gray values are those that it shows."


def _check_end(file: IO[bytes], path: Path, end: bytes) -> None:
    file.seek(0, 2)
    file.seek(max(0, file.tell() - 64))
    if end not in file.read():
        raise InputError(f"{path}: has no end: it is cut short; copy or export it again.")


def _jpeg_header(path: Path) -> SliceHeader:
    with path.open("rb") as file:
        found = jpeg_header(file, path)
    lossy = "are JPEG, which has lost detail; export the scan again as TIFF or PNG if you can."
    return SliceHeader(found.shape, found.dtype, "" if found.is_exact else lossy)


def _jpeg2k_header(path: Path) -> SliceHeader:
    with path.open("rb") as file:
        found = codestream_header(file, path)
    lossy = "are JPEG 2000 with loss of detail; export the scan again without loss if you can."
    return SliceHeader(found.shape, found.dtype, "" if found.is_exact else lossy)


def _decoded_by(codec: Callable[[bytes], Any]) -> Callable[[Path], Any]:
    return lambda path: codec(path.read_bytes())


SLICE_FORMATS = (
    SliceFormat("TIFF", (".tif", ".tiff"), _tiff_header, _tiff_pixels),
    SliceFormat("PNG", (".png",), _png_header, _decoded_by(imagecodecs.png_decode)),
    SliceFormat("BMP", (".bmp",), _bmp_header, _decoded_by(imagecodecs.bmp_decode)),
    SliceFormat("JPEG 2000", (".jp2", ".j2k", ".j2c", ".jpx"), _jpeg2k_header, _decoded_by(imagecodecs.jpeg2k_decode)),
    SliceFormat("JPEG", (".jpg", ".jpeg"), _jpeg_header, _decoded_by(imagecodecs.jpeg_decode)),
)
"""Formats of slices, the best first."""
