"""Scan, model, engine and config from the options that ``predict`` and ``plan`` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ps3d_rt.api import AUTO, prepared
from ps3d_rt.cli import options
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig


@contextmanager
def opened(
    scan: Path, *, particle_size: str, spacing: str | None, shape: str | None, roi: str | None, **rest: Any
) -> Iterator[tuple[Volume, ModelBundle, Engine, PredictConfig]]:
    """Open everything as :func:`ps3d_rt.api.prepared` does, with numbers as they were typed.

    Raises:
        InputError: if an option, the scan or the model cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    size, spacing_mm, sides = _size(particle_size), options.spacing_mm(spacing), options.sides(shape)
    box = options.roi(roi)
    with prepared(scan, particle_size=size, spacing=spacing_mm, shape=sides, roi=box, **rest) as ready:
        yield ready


def _size(text: str) -> float | Literal["auto"]:
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError as error:
        raise InputError(f"--particle-size is {text!r}; give a length in mm, or {AUTO}.") from error
