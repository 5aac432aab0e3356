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
            planes_per_read=whole.planes_per_read,
        )
        self._whole, self._box = whole, box

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        z, y, x = self._box.start
        start = (z + box.start[0], y + box.start[1], x + box.start[2])
        out[...] = self._whole.read(
            Box(start, (start[0] + out.shape[0], start[1] + out.shape[1], start[2] + out.shape[2]))
        )
