"""Versions of everything that can change a result, for ``run.json`` and ``doctor``."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


def release() -> str:
    """Give name and version, and in a checkout of the repository its commit.

    >>> release().startswith("ps3d-rt ")
    True
    """
    commit = _commit(Path(__file__).parents[2])
    return f"ps3d-rt {version('ps3d-rt')}" + (f", commit {commit}" if commit else "")


def _commit(checkout: Path) -> str | None:
    """Ask git for the commit of a checkout, with ``-dirty`` if files were changed since."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Name → version of Python, the system, and what is installed of :data:`PACKAGES`."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
