"""Pickles of other tools, read as plain values, arrays and tensors: nothing in them runs."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray, numeric

from ps3d_rt.errors import InputError

# numpy's types leave it out.
_frombuffer: Callable[..., Any] = numeric._frombuffer  # type: ignore[attr-defined]
_ALLOWED: dict[str, Callable[..., Any]] = {
    "builtins.frozenset": frozenset,
    "builtins.set": set,
    "collections.OrderedDict": OrderedDict,
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    # numpy moved these two modules in version 2; files of either version name the place of their time.
    "numpy.core.multiarray._reconstruct": multiarray._reconstruct,
    "numpy._core.multiarray._reconstruct": multiarray._reconstruct,
    "numpy.core.multiarray.scalar": multiarray.scalar,
    "numpy._core.multiarray.scalar": multiarray.scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
}
"""Everything a pickle of Python 3 may call. Lists, dicts, tuples, texts and numbers need no call."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[f"{module}.{name}"]


def read_pickle(path: Path) -> Any:
    """Read plain values and arrays.

    Raises:
        InputError: if the file is damaged, or asks for anything else.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(_refusal(path, error)) from error


def read_torch(path: Path) -> Any:
    """Read tensors, plain values and arrays that ``torch.save`` wrote; tensors of a GPU come to the CPU.

    Raises:
        InputError: if the file is damaged, or asks for anything else.
    """
    scalars = [getattr(np.dtypes, name) for name in np.dtypes.__all__]  # the types of dtypes: torch asks for them too
    numbers = [(value, name) for name, value in _ALLOWED.items() if name.startswith("numpy.")]
    try:
        with torch.serialization.safe_globals([*numbers, *scalars]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise InputError(_refusal(path, error)) from error


def _refusal(path: Path, error: Exception) -> str:
    # torch buries the name in advice to switch the check off.
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    reason = f"it asks for {asked[1]}" if asked else str(error).partition("\n")[0]
    return (
        f"{path} cannot be read as numbers, texts and arrays alone ({type(error).__name__}: {reason}). "
        "ps3d-rt runs no code from a model file; copy the file again, or get the model from whom you trust."
    )
