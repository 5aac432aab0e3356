"""Scan, model, engine and config from the options that ``predict`` and ``plan`` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ps3d_rt.api import prepared
from ps3d_rt.cli import options
from ps3d_rt.cli.run_options import RunOptions
from ps3d_rt.events import Listener
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.stages.prediction import Opened


@contextmanager
def opened(scan: Path, typed: RunOptions, on_event: Listener, out: Path | None = None, **more: Any) -> Iterator[Opened]:
    """Open everything as :func:`ps3d_rt.api.prepared` does; ``more`` are other fields of its options.

    Raises:
        InputError: if an option, the scan or the model cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    with prepared(scan, read_options(typed, **more), out, on_event=on_event) as ready:
        yield ready


def read_options(typed: RunOptions, **more: Any) -> PredictOptions:
    """Read what was typed; ``more`` are other fields.

    Raises:
        InputError: if an option cannot be read.
    """
    return PredictOptions(
        particle_size=options.particle_size(typed.particle_size),
        spacing=options.spacing_mm(typed.spacing),
        dark=typed.dark,
        embedding=typed.embedding,
        mask=typed.mask,
        roi=options.roi(typed.roi),
        shape=options.sides(typed.shape),
        dtype=typed.dtype,
        offset=typed.offset,
        model=typed.model,
        overlap=typed.overlap,
        mirror=typed.mirror,
        skip_empty=typed.skip,
        engine=typed.engine,
        device=typed.device,
        precision=typed.precision,
        memory_gib=typed.memory,
        gpu_memory_gib=typed.gpu_memory,
        threads=typed.threads,
        workers=typed.workers,
        cluster=typed.cluster,
        store=typed.store,
        chunk=typed.chunk,
        **more,
    )
