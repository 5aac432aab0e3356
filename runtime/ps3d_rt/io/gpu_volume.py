"""A scan that lies on a GPU already: read there without a copy, and from the host where the host needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.core.grid import Box
from ps3d_rt.io.base import Volume


@final
class GpuVolume(Volume):
    """A CuPy array as a volume.

    Args:
        array: (z, y, x), integer, float or bool; what makes it is done.
        spacing_mm: millimetres a voxel: one number, or z, y, x.
        name: stem for outputs.
    """

    def __init__(self, array: Any, spacing_mm: float | Sequence[float] | None = None, *, name: str = "volume") -> None:
        super().__init__(
            source="the array", name=name, shape=array.shape, dtype=np.dtype(array.dtype), spacing_mm=spacing_mm
        )
        self._array = array
        self.device = f"cuda:{array.device.id}"
        """``cuda:N``."""

    def read_on_gpu(self, box: Box) -> Any:
        """Give the voxels of ``box`` as a view of the array."""
        return self._array[box.slices]

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        with self._array.device:
            out[...] = asnumpy(self._array[box.slices])
