"""Versions of everything that can change a result, for ``run.json`` and ``doctor``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "ps3d-rt",
    "numpy",
    "scipy",
    "numba",
    "zarr",
    "openvino",
    "onnxruntime",
)


def versions() -> dict[str, str]:
    """Name → version of Python, the system and the packages of the base installation."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
