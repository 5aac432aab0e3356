"""A volume that is read slice by slice, some at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, final

import numpy as np

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, Volume
from ps3d_rt.io.names import stem_of

SLICE_THREADS = min(8, os.cpu_count() or 1)
"""Slices that are decoded at a time: each thread holds one whole slice."""

Place = TypeVar("Place")
"""What says where a slice lies: a path, or a path and a number."""


@dataclass(frozen=True, slots=True)
class SliceFiles(Generic[Place]):
    """The slices of one volume.

    Attributes:
        places: from first to last.
        decode: gives the slice at a place, (y, x) of ``dtype``; InputError if it cannot be read. Called from threads.
        shape: of one slice, y, x.
        dtype: of the voxels.
        close: releases what ``decode`` keeps open.
    """

    places: Sequence[Place]
    decode: Callable[[Place], np.ndarray[Any, Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    close: Callable[[], None] = lambda: None


@final
class SlicesVolume(Volume):
    """Slices of one shape and dtype, decoded in parallel."""

    def __init__(self, slices: SliceFiles[Any], spacing_mm: SpacingMm | None, path: Path) -> None:
        super().__init__(
            source=str(path),
            name=stem_of(path),
            shape=(len(slices.places), *slices.shape),
            dtype=slices.dtype,
            spacing_mm=spacing_mm,
        )
        self._slices = slices

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        _, rows, columns = box.slices

        def fill(index: int) -> None:
            number = box.start[0] + index
            pixels = self._slices.decode(self._slices.places[number])
            if (pixels.shape, pixels.dtype.newbyteorder("=")) != (self.shape[1:], self.dtype):
                raise InputError(
                    f"{self.source}: slice {number} is {pixels.shape} {pixels.dtype} now, it was {self.shape[1:]} "
                    f"{self.dtype} when the folder was opened; do not change the files while they are read."
                )
            out[index] = pixels[rows, columns]

        with ThreadPoolExecutor(SLICE_THREADS) as pool:
            list(pool.map(fill, range(box.shape[0])))  # the list takes every result, so that no failure is lost

    def close(self) -> None:
        """Release the files."""
        self._slices.close()
