"""A scan that lies on a GPU already: read there without a copy, and from the host where the host needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from ps3d_rt.core.arrays import KernelDispatch, asnumpy
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, Volume


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

    def read_in_place(self, box: Box) -> Any:
        """Give the voxels of ``box`` as a view of the array."""
        return self._array[box.slices]

    def device_for(self, device: str) -> str:
        """Choose where a run works: ``auto`` stays with the array, ``cpu`` reads it from there.

        Raises:
            InputError: if another GPU is named.
        """
        if device not in ("auto", "cpu", self.device):
            raise InputError(f"the array is on {self.device}, the run on {device}; move it, or leave the device out.")
        return self.device if device == "auto" else device

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        out[...] = asnumpy(self._array[box.slices])


@KernelDispatch
def array_volume(array: Any, spacing_mm: float | Sequence[float] | None = None) -> Volume:
    """See a (z, y, x) NumPy or CuPy array as a volume, in its own memory."""
    return ArrayVolume(array, spacing_mm)


@array_volume.on_gpu
def _gpu_array_volume(array: Any, spacing_mm: float | Sequence[float] | None = None) -> Volume:
    return GpuVolume(array, spacing_mm)
