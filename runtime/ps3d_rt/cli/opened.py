"""Scan, model, engine and config from the options that ``predict`` and ``plan`` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from ps3d_rt.api import AUTO, configure
from ps3d_rt.cli import options
from ps3d_rt.engines import CardUse, open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.selected import select
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.plan import PredictConfig
from ps3d_rt.workers import usable_cores


@contextmanager
def opened(
    scan: Path,
    *,
    particle_size: str,
    spacing: str | None,
    model: str,
    engine: str,
    device: str,
    gpu_memory_gib: float,
    memory_gib: float | None,
    threads: int | None,
    overlap: float | None,
    mirror: bool | None,
    shape: str | None,
    dtype: str | None,
    offset: int | None,
    embedding: float | None,
    dark: bool,
    mask: Path | None,
    roi: str | None,
    workers: int,
    chunk: int,
    skip_empty: bool = True,
) -> Iterator[tuple[Volume, ModelBundle, Engine, PredictConfig]]:
    """Open everything, the engine last: it takes longest. Workers share the threads.

    Raises:
        InputError: if an option, the scan or the model cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    spacing_mm, sides, box = options.spacing_mm(spacing), options.sides(shape), options.roi(roi)
    bundle = load_model(model)
    with (
        open_volume(scan, spacing_mm=spacing_mm, shape=sides, dtype=dtype, offset_bytes=offset) as whole,
        nullcontext() if mask is None else open_volume(mask) as where,
    ):
        volume = select(whole, box, where)
        config = configure(
            volume,
            bundle,
            particle_size=_size(particle_size),
            overlap=overlap,
            embedding=embedding,
            dark=dark,
            skip_empty=skip_empty,
            chunk=chunk,
            workers=workers,
            threads=threads,
            memory_gib=memory_gib,
            gpu_memory_bytes=int(gpu_memory_gib * 2**30),
        )
        use = CardUse(memory_bytes=config.network_bytes)
        share = threads if workers == 1 else max(1, (threads or usable_cores()) // workers)
        with open_engine(bundle, engine=engine, device=device, threads=share, mirror=mirror, use=use) as ready:
            yield volume, bundle, ready, config


def _size(text: str) -> float | Literal["auto"]:
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError as error:
        raise InputError(f"--particle-size is {text!r}; give a length in mm, or {AUTO}.") from error
