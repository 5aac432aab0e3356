"""NumPy or CuPy: which library an array belongs to, and kernels for a CPU and for a GPU.

The only place in ``core`` that knows CuPy by name. CuPy loads when an array of it or a GPU shows up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, update_wrapper, wraps
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.errors import InputError, Ps3dError, not_installed

P = ParamSpec("P")
R = TypeVar("R")

Array: TypeAlias = np.ndarray[Any, Any]
"""A numpy array of any shape and dtype."""


def is_cupy_array(x: Any) -> bool:
    """Whether ``x`` lives on a GPU in a CuPy array; CuPy itself is not imported."""
    return type(x).__module__.partition(".")[0] == "cupy"


def is_array(x: Any) -> bool:
    """Whether ``x`` is a NumPy or CuPy array."""
    return isinstance(x, np.ndarray) or is_cupy_array(x)


def gpu_index(device: str) -> int | None:
    """Tell the number of the GPU that ``device`` names; None for the CPU.

    Raises:
        InputError: if it names neither.

    >>> gpu_index("cpu"), gpu_index("cuda:1")
    (None, 1)
    """
    kind, _, number = device.partition(":")
    if device == "cpu":
        return None
    if kind != "cuda" or not number.isdecimal():
        raise InputError(f"device is {device!r}; it must be cpu or cuda:N, such as cuda:0.")
    return int(number)


def namespace_of(device: str) -> ModuleType:
    """Find the module that makes arrays on ``device``: numpy for ``cpu``, cupy for ``cuda:N``.

    Raises:
        CapabilityError: if CuPy does not load.
        InputError: if there is no such kind of device.
    """
    if gpu_index(device) is None:
        return np
    try:
        return import_module("cupy")
    except ImportError as error:
        raise not_installed(f"CuPy does not load ({error})", "ps3d-rt[gpu]") from error


def asnumpy(x: Any) -> NDArray[Any]:
    """Bring an array to the host and wait for it; a numpy array comes back as it is.

    From a GPU it lands in pinned memory, where copies are fast and other streams go on.
    """
    if not is_cupy_array(x):
        return cast(NDArray[Any], x)
    with x.device:
        out = import_module("cupyx").empty_pinned(x.shape, x.dtype)
        return cast(NDArray[Any], array_namespace(x).ascontiguousarray(x).get(out=out))


def borrowed(x: Any) -> Any:
    """See the memory of somebody else's array as a NumPy or CuPy array; nothing is copied.

    Args:
        x: an array of NumPy or CuPy, or of a library that hands out its memory by DLPack or by the CUDA array
            interface: torch on a CPU or a GPU, pycuda, numba, JAX and so on.

    Returns:
        A NumPy array, or a CuPy array on the GPU that ``x`` is on, ready to be used on any stream. What knows its
        shape and dtype and neither protocol, such as an array of zarr, comes back as it is.

    Raises:
        CapabilityError: if it is on a GPU and CuPy does not load.
        InputError: if it is not an array, or does not hand out its memory.

    >>> borrowed(np.arange(3))
    array([0, 1, 2])
    """
    if isinstance(x, np.ndarray):
        return x
    ours: Any
    try:
        if hasattr(x, "__dlpack__") and not is_cupy_array(x):
            on_gpu = x.__dlpack_device__()[0] in _DLPACK_CUDA
            ours = namespace_of("cuda:0").from_dlpack(x) if on_gpu else np.from_dlpack(x)
        elif hasattr(x, "__cuda_array_interface__"):
            ours = namespace_of("cuda:0").asarray(x)
        elif hasattr(x, "shape") and hasattr(x, "dtype"):
            return x
        else:
            raise InputError(f"got a {type(x).__name__}; an array is needed. Convert it with numpy.asarray.")
    except (BufferError, RuntimeError, TypeError) as error:
        raise InputError(
            f"the {type(x).__module__}.{type(x).__name__} does not hand out its memory ({error}); "
            "pass a plain array of numbers: detached, in one piece, on the CPU or an NVIDIA GPU."
        ) from error
    if is_cupy_array(ours):
        with ours.device as device:
            device.synchronize()  # our threads work on streams of their own
    return ours


_DLPACK_CUDA = (2, 13)
"""kDLCUDA and kDLCUDAManaged."""


def array_namespace(x: Any) -> ModuleType:
    """Find the module whose functions work on ``x``: numpy, cupy, array_api_strict and so on.

    Raises:
        InputError: if ``x`` is not an array of a library that follows the Python array API standard.

    >>> import numpy
    >>> array_namespace(numpy.zeros(3)).__name__
    'numpy'
    """
    if is_cupy_array(x):  # the main namespace in every CuPy version; the method came late
        return import_module("cupy")
    if not hasattr(x, "__array_namespace__"):
        raise InputError(f"got a {type(x).__name__}; an array is needed. Convert it with numpy.asarray.")
    return cast(ModuleType, x.__array_namespace__())


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Turn a loop over numpy arrays into a CPU kernel (numba), cached on disk; threads run kernels side by side.

    Numba loads at the first call, not at import: it would take most of the time ``import ps3d_rt`` may cost.
    Kernels therefore cannot call each other.
    """

    @cache
    def kernel() -> Callable[P, R]:
        compiler = import_module("numba").njit
        try:
            return cast(Callable[P, R], compiler(cache=True, nogil=True)(loop))
        except RuntimeError:  # neither beside this file nor in the user's cache can anything be written
            return cast(Callable[P, R], compiler(nogil=True)(loop))

    @wraps(loop)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return kernel()(*args, **kwargs)

    return call


class KernelDispatch(Generic[P, R]):
    """A function with one body for numpy arrays and another for CuPy arrays. The first argument decides.

    Usage::

        @KernelDispatch
        def count(labels): ...              # what runs on a CPU

        @count.on_gpu
        def _count_on_gpu(labels): ...     # gives the same
    """

    def __init__(self, on_host: Callable[P, R]) -> None:
        self.on_host = on_host
        self._on_gpu: Callable[P, R] | None = None
        update_wrapper(self, on_host)

    def on_gpu(self, body: Callable[P, R]) -> Callable[P, R]:
        """Take ``body`` as what runs for CuPy arrays."""
        self._on_gpu = body
        return body

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the body that fits the first argument."""
        if not is_cupy_array(args[0]):
            return self.on_host(*args, **kwargs)
        if self._on_gpu is None:
            raise Ps3dError(f"{self.on_host.__name__} cannot work on a GPU; its arrays must be numpy arrays.")
        return self._on_gpu(*args, **kwargs)


class CudaKernel:
    """A kernel in CUDA C, a thread an index; CuPy compiles it at the first call and keeps it on disk.

    The source defines functions for the device as it likes and one ``__global__ void NAME(long long count, …)``. In
    there ``thread()`` is the index, and indices from ``count`` on have nothing to do. Whole numbers that are passed
    arrive as ``long long``; arrays must be C-contiguous and arrive as pointers.
    """

    def __init__(self, source: str) -> None:
        self.source = f'extern "C" {{{_THREAD}{source}}}'
        self.name = re.findall(r"__global__ void (\w+)\(", source)[0]

    def __call__(self, count: int, *args: Any) -> None:
        """Run it for the indices 0..count - 1, on CuPy's current stream."""
        for arg in args:
            if not isinstance(arg, int) and not arg.flags.c_contiguous:
                raise Ps3dError(f"the kernel {self.name} got an array that is not C-contiguous.")
        if count:
            blocks = -(-count // _BLOCK_THREADS)
            _raw_kernel(self.source, self.name)((blocks,), (_BLOCK_THREADS,), (count, *args))


KERNEL_OPTIONS = ("--fmad=false",)
"""For CUDA's compiler: a product and a sum are rounded one by one, as on the CPU. So floats can be equal to the bit."""

_BLOCK_THREADS = 256
_THREAD = """
__device__ inline long long thread() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
"""


@cache
def _raw_kernel(source: str, name: str) -> Any:
    return import_module("cupy").RawKernel(source, name, KERNEL_OPTIONS)
