"""Versions of everything that can change a result, for ``run.json`` and ``doctor``."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "ps3d-rt",
    "numpy",
    "scipy",
    "numba",
    "zarr",
    "openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
)


def versions() -> dict[str, str]:
    """Name → version of Python, the system, and what is installed of :data:`PACKAGES`."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
