"""ps3d-rt: one label per particle, and a table, from micro-CT scans of crushed material.

import ps3d_rt
result = ps3d_rt.predict(array, spacing=0.01, particle_size=0.29)
result.labels, result.particles, result.run
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ps3d_rt.api import compare, evaluate, measure, minerals, open_result, open_volume, predict, predict_to_folder
    from ps3d_rt.model import load_model
    from ps3d_rt.result import Result

__all__ = [
    "Result",
    "compare",
    "evaluate",
    "load_model",
    "measure",
    "minerals",
    "open_result",
    "open_volume",
    "predict",
    "predict_to_folder",
]

_HOME = dict.fromkeys(__all__, "ps3d_rt.api") | {"Result": "ps3d_rt.result", "load_model": "ps3d_rt.model"}


def __getattr__(name: str) -> Any:
    # numba, zarr and scipy take seconds to load together: only what is used is loaded.
    if name == "__version__":
        return version("ps3d-rt")
    if name not in _HOME:
        raise AttributeError(f"module 'ps3d_rt' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
