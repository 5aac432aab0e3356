"""Which array library owns this array; its ndimage; how a loop becomes a CPU kernel.

The only place in ``core`` that knows CuPy by name. Nothing here moves data between devices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, cast

from ps3d_rt.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def is_cupy_array(x: Any) -> bool:
    """Whether ``x`` lives on a GPU in a CuPy array; CuPy itself is not imported."""
    return type(x).__module__.partition(".")[0] == "cupy"


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


def ndimage_of(x: Any) -> ModuleType:
    """Find ``cupyx.scipy.ndimage`` for a CuPy array, ``scipy.ndimage`` for any other."""
    return import_module("cupyx.scipy.ndimage" if is_cupy_array(x) else "scipy.ndimage")


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Turn a loop over numpy arrays into a CPU kernel (numba), cached on disk; threads run kernels side by side.

    Numba loads at the first call, not at import: it would take most of the time ``import ps3d_rt`` may cost.
    Kernels therefore cannot call each other.
    """

    @cache
    def kernel() -> Callable[P, R]:
        return cast(Callable[P, R], import_module("numba").njit(cache=True, nogil=True)(loop))

    @wraps(loop)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return kernel()(*args, **kwargs)

    return call
