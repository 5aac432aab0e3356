"""A volume whose stored numbers mean other numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Box
from ps3d_rt.io.base import Volume


@final
class ConvertedVolume(Volume):
    """Another volume, which belongs to this one, with its values converted as they are read.

    Args:
        stored: what the file holds.
        dtype: of the converted values.
        convert: stored values → values of ``dtype``, of the same shape.
    """

    def __init__(
        self,
        stored: Volume,
        dtype: np.dtype[Any],
        convert: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    ) -> None:
        super().__init__(
            source=stored.source,
            name=stored.name,
            shape=stored.shape,
            dtype=dtype,
            spacing_mm=stored.spacing_mm,
        )
        self.planes_per_read = stored.planes_per_read
        self.warn(*stored.warnings)
        self._stored, self._convert = stored, convert

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        (first, *corner), (last, *end) = box.start, box.stop
        step = self.planes_per_read
        # Some planes at a time, which bounds the memory of the stored ones.
        for start in range(first - first % step, last, step):
            low, high = max(start, first), min(start + step, last)
            part = self._stored.read(Box((low, *corner), (high, *end)))  # type: ignore[arg-type]
            out[low - first : high - first] = self._convert(part)

    def close(self) -> None:
        """Close the stored volume."""
        self._stored.close()


def rescaled(stored: Volume, slope: float, intercept: float) -> Volume:
    """Give ``stored · slope + intercept``: float32, or float64 if 16 bits do not hold what is stored."""
    dtype = np.dtype(np.float32 if stored.dtype.itemsize <= 2 else np.float64)

    def convert(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        product: np.ndarray[Any, Any] = np.multiply(values, slope, dtype=dtype, casting="unsafe")
        product += intercept
        return product

    return ConvertedVolume(stored, dtype, convert)
