"""``ps3d-rt plan``: what a run will do and take, before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def plan(
    scan: Annotated[Path, typer.Argument(help="As for predict.")],
    particle_size: Annotated[float, typer.Option(help="Rough mean diameter of the particles, mm.")],
    spacing: Annotated[str | None, typer.Option(help="Side of a voxel, mm: 0.01, or z,y,x.")] = None,
    model: Annotated[str, typer.Option(help="Bundled model, or path of a .ps3d bundle.")] = "default",
    engine: Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")] = "auto",
    device: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads of the engine; default: all cores.", min=1)] = None,
    overlap: Annotated[float | None, typer.Option(help="Share of a patch covered again; default: the model's.")] = None,
    shape: Annotated[str | None, typer.Option(help="Voxels z,y,x of a raw file.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of a raw file's voxels: uint8, uint16, >u2 …")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 1 works in this one.", min=1)] = 1,
    chunk: Annotated[int, typer.Option(help="Side of a chunk in which particles are put together, voxels.")] = 256,
    trial: Annotated[bool, typer.Option(help="Run a piece of the scan, to predict time and disk.")] = True,
) -> None:
    """Print patches, chunks, memory, and by a trial of some seconds the time and disk that predict will take, as JSON.

    Example: ps3d-rt plan scan.tif --spacing 0.01 --particle-size 0.29
    """
    from dataclasses import asdict  # noqa: PLC0415

    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.forecast import forecast, memory_bytes  # noqa: PLC0415
    from ps3d_rt.plan import RunPlan  # noqa: PLC0415

    with opened(
        scan,
        particle_size=particle_size,
        spacing=spacing,
        model=model,
        engine=engine,
        device=device,
        threads=threads,
        overlap=overlap,
        shape=shape,
        dtype=dtype,
        workers=workers,
        chunk=chunk,
    ) as (volume, bundle, ready, config):
        run = RunPlan.of(volume.shape, volume.dtype.itemsize, bundle, config)
        facts = {
            "shape": run.source,
            "normalized_shape": run.shape,
            "patches": run.patches,
            "seam_factor": round(run.seam_factor, 3),
            "sweeps": len(run.sweeps),
            "chunks": len(run.chunks.boxes),
            "memory_bytes": memory_bytes(run, config, volume.dtype.itemsize),
        }
        if trial:
            facts |= asdict(forecast(volume, bundle, ready, config))
    typer.echo(json.dumps(facts))
