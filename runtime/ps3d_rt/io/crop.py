"""A box of a volume as a volume."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Box
from ps3d_rt.io.base import Volume


@final
class Crop(Volume):
    """A box of another volume, which stays open and belongs to the caller."""

    def __init__(self, whole: Volume, box: Box) -> None:
        super().__init__(
            source=whole.source,
            name=whole.name,
            shape=box.shape,
            dtype=whole.dtype,
            spacing_mm=whole.spacing_mm,
        )
        self.planes_per_read = whole.planes_per_read
        self._whole, self._box = whole, box

    def inside(self, box: Box) -> np.ndarray[Any, Any] | None:
        """Ask the other volume."""
        return self._whole.inside(self._there(box))

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        out[...] = self._whole.read(self._there(box))

    def _there(self, box: Box) -> Box:
        z, y, x = self._box.start
        (a, b, c), (d, e, f) = box.start, box.stop
        return Box((z + a, y + b, x + c), (z + d, y + e, x + f))
