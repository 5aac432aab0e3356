"""A folder of TIFF slices, one file a slice, in the order a person would sort them."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import numpy as np
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.readable import readable
from ps3d_rt.io.tiff import check_gray, check_whole
from ps3d_rt.io.volume import SpacingMm, Volume, stem_of

_THREADS = min(8, os.cpu_count() or 1)


@final
class SlicesVolume(Volume):
    """Slices of one shape and dtype, read in parallel."""

    def __init__(
        self,
        paths: list[Path],
        slice_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        spacing_mm: SpacingMm | None,
        folder: Path,
    ) -> None:
        super().__init__(
            source=str(folder),
            name=stem_of(folder),
            shape=(len(paths), *slice_shape),
            dtype=dtype,
            spacing_mm=spacing_mm,
        )
        self._paths = paths

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        _, rows, columns = box.slices

        def fill(index: int) -> None:
            path = self._paths[box.start[0] + index]
            with readable(str(path), "the slice"), tifffile.TiffFile(path) as tif:
                out[index] = tif.pages.first.asarray(maxworkers=1).reshape(self.shape[1:])[rows, columns]

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(fill, range(box.shape[0])))  # the list takes every result, so that no failure is lost


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open the folder ``path``; every slice's header is read and compared with the first.

    Raises:
        InputError: if there is no slice, or one is cut short, colour, multi-page, or of another shape or dtype.
    """
    paths = sorted(
        (file for file in path.iterdir() if file.suffix.lower() in (".tif", ".tiff") and not file.name.startswith(".")),
        key=lambda file: natural_key(file.name),
    )
    if not paths:
        raise InputError(f"{path}: the folder holds no .tif or .tiff slices; give a folder of slices or a file.")
    with ThreadPoolExecutor(_THREADS) as pool:
        headers = list(pool.map(_header, paths))
    for file, header in zip(paths, headers, strict=True):
        if header != headers[0]:
            (shape, dtype), (first_shape, first_dtype) = header, headers[0]
            raise InputError(
                f"{file}: the slice is {shape} {dtype}, {paths[0].name} is {first_shape} {first_dtype}; "
                "all slices of a volume have one shape and type: remove or export it again."
            )
    return SlicesVolume(paths, *headers[0], spacing_mm, path)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that reads digits as numbers.

    >>> sorted(["s10.tif", "s9.tif", "S1.tif"], key=natural_key)
    ['S1.tif', 's9.tif', 's10.tif']
    """
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with readable(str(path), "the slice"), tifffile.TiffFile(path, _multifile=False) as tif:
        check_whole(tif, path)
        page = tif.pages.first
        check_gray(page.axes, page.shape, path)
        if len(tif.pages) > 1:
            raise InputError(
                f"{path}: holds {len(tif.pages)} pages; a slice has one: open the file itself if it is the volume."
            )
        return page.shape, np.dtype(page.dtype)
