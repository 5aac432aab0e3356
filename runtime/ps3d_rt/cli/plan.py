"""``ps3d-rt plan``: what a run will do and take, before it runs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.cli.run_options import RunOptions


@expanded
def plan(
    scan: options.Scan,
    run_options: RunOptions,
    trial: Annotated[bool, options.about_output(help="Run a piece of the scan, to predict time and disk.")] = True,
) -> None:
    """Print patches, chunks, memory, and by a trial of some seconds the time and disk that predict will take, as JSON.

    Example: ps3d-rt plan scan.tif --spacing 0.01 --particle-size 0.29
    """
    from dataclasses import asdict  # noqa: PLC0415

    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening, warn  # noqa: PLC0415
    from ps3d_rt.forecast import forecast, gpu_bytes, memory_bytes  # noqa: PLC0415
    from ps3d_rt.pipeline import prepare  # noqa: PLC0415
    from ps3d_rt.plan import RunPlan  # noqa: PLC0415

    with opened(scan, run_options) as (volume, bundle, ready, config):
        warn(*volume.warnings)
        if config.particle_size_mm is None:
            with listening() as on_event:
                config = prepare(volume, bundle, ready, config, on_event).config  # noqa: PLW2901 - now it is known
        run = RunPlan.for_shape(volume.shape, volume.dtype.itemsize, bundle, config, ready.spec.devices)
        facts = {
            "particle_size_mm": config.particle_size_mm,
            "shape": run.source,
            "normalized_shape": run.shape,
            "patches": run.patches,
            "seam_factor": round(run.seam_factor, 3),
            "sweeps": len(run.sweeps),
            "chunks": len(run.chunks.boxes),
            "devices": run.devices,
            "particles": run.particles,
            "memory_budget_bytes": config.memory_bytes,
            "memory_bytes": memory_bytes(run, config, volume.dtype.itemsize),
            "gpu_memory_bytes": gpu_bytes(run, config, ready.spec, volume.dtype.itemsize),
        }
        if trial:
            facts |= asdict(forecast(volume, bundle, ready, config))
    typer.echo(json.dumps(facts))
