"""NVIDIA GPUs: which there are, and CuPy on one of them.

The list comes from the driver's library and takes milliseconds. No CUDA context is made and CuPy is not imported. A
machine without a driver has no GPUs.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from ps3d_rt.core.arrays import gpu_index, namespace_of
from ps3d_rt.errors import CapabilityError, InputError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, as its driver describes it."""

    index: int
    """Place among the GPUs that CUDA_VISIBLE_DEVICES leaves."""
    name: str
    capability: tuple[int, int]
    """Compute capability: (9, 0) for a Hopper GPU."""
    memory_bytes: int
    cuda: tuple[int, int]
    """Newest version of CUDA that the driver takes."""

    @property
    def device(self) -> str:
        """``cuda:N``."""
        return f"cuda:{self.index}"

    @property
    def identity(self) -> str:
        """Name and compute capability: what an engine compiled on this GPU is tied to."""
        return f"{self.name} {self.capability[0]}.{self.capability[1]}"


def find_gpus() -> tuple[Gpu, ...]:
    """Ask the driver for its GPUs.

    Raises:
        CapabilityError: saying why, if there is no driver or it has no GPU.
    """
    driver = _load_driver()
    status = driver.cuInit(0)
    if status not in (0, _NO_DEVICE):
        raise CapabilityError(
            f"the NVIDIA driver does not start (cuInit returns error {status}); run nvidia-smi to see why."
        )
    count = 0 if status == _NO_DEVICE else _number(driver.cuDeviceGetCount)
    if count == 0:
        raise CapabilityError("the NVIDIA driver shows no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES.")
    version = _number(driver.cuDriverGetVersion)
    return tuple(_describe(driver, index, (version // 1000, version % 1000 // 10)) for index in range(count))


def find_gpu(device: str) -> Gpu:
    """Find the GPU of ``cuda:N``; ``auto`` is the first.

    Raises:
        CapabilityError: saying why, if it is not there.
        InputError: if ``device`` is written in another way.
    """
    index = 0 if device == "auto" else gpu_index(device)
    if index is None:
        raise InputError("device is 'cpu'; a GPU is cuda:N, the first one cuda:0.")
    try:
        gpus = find_gpus()
    except CapabilityError as error:
        raise CapabilityError(f"device cuda:{index} is not there: {error}") from error
    if index >= len(gpus):
        listed = ", ".join(f"{gpu.device} ({gpu.name})" for gpu in gpus)
        raise CapabilityError(f"device cuda:{index} is not there; this machine has {listed}.")
    return gpus[index]


def load_cupy(gpu: Gpu) -> Any:
    """Import CuPy and let it open the GPU.

    Raises:
        CapabilityError: if CuPy does not load or cannot use the GPU.
    """
    cupy: Any = namespace_of(gpu.device)
    try:
        with cupy.cuda.Device(gpu.index):
            cupy.zeros(1, dtype=cupy.float32)
    except RuntimeError as error:  # CUDARuntimeError and its kin
        raise CapabilityError(
            f"CuPy {cupy.__version__} cannot use {gpu.device} ({gpu.name}, driver for CUDA "
            f"{gpu.cuda[0]}.{gpu.cuda[1]}): {error}; take the CuPy package of that CUDA version, or a newer driver."
        ) from error
    return cupy


def _load_driver() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise CapabilityError(f"there is no NVIDIA driver ({_LIBRARY} does not load: {error}).") from error


def _number(ask: Any, *arguments: int, kind: Any = ctypes.c_int) -> int:
    """Call a function of the driver that writes one number to its first argument."""
    value = kind()
    status = ask(ctypes.byref(value), *arguments)
    if status != 0:
        raise CapabilityError(
            f"the NVIDIA driver does not describe its GPUs (error {status}); run nvidia-smi to see why."
        )
    return int(value.value)


def _describe(driver: Any, index: int, cuda: tuple[int, int]) -> Gpu:
    handle = _number(driver.cuDeviceGet, index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuDeviceGetName(name, _NAME_BYTES, handle)
    return Gpu(
        index,
        name.value.decode(errors="replace"),
        (
            _number(driver.cuDeviceGetAttribute, _CAPABILITY_MAJOR, handle),
            _number(driver.cuDeviceGetAttribute, _CAPABILITY_MINOR, handle),
        ),
        _number(driver.cuDeviceTotalMem_v2, handle, kind=ctypes.c_size_t),
        cuda,
    )
