"""``ps3d-rt predict``: a scan in, a folder with labels, table and report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options


def predict(
    scan: options.Scan,
    out: Annotated[Path, typer.Argument(help="Folder to write: labels, table, report.html, run.json.")],
    particle_size: options.ParticleSize,
    spacing: options.Spacing = None,
    model: options.Model = "default",
    engine: options.EngineName = "auto",
    device: options.Device = "auto",
    gpu_memory: options.GpuMemory = 12,
    memory: options.Memory = None,
    threads: options.Threads = None,
    overlap: options.Overlap = None,
    mirror: options.Mirror = None,
    shape: options.RawShape = None,
    dtype: options.RawDtype = None,
    offset: options.RawOffset = None,
    embedding: options.Embedding = None,
    dark: options.Dark = False,
    mask: options.Mask = None,
    roi: options.Roi = None,
    workers: options.WorkerCount = 1,
    chunk: options.ChunkSide = 256,
    skip: Annotated[bool, typer.Option(help="Leave out patches without contrast.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace an output that is there.")] = False,
    log_json: Annotated[bool, typer.Option(help="Progress as JSON lines on stderr.")] = False,
) -> None:
    """Segment a scan into particles: labels (OME-Zarr), table, report and run.json.

    Prints how many particles there are and how many were dropped, and the folder, as JSON. A run that was stopped goes
    on when it is started again.

    Example: ps3d-rt predict scan.tif result --spacing 0.01 --particle-size 0.29
    """
    # Loaded here, so that --help and a mistyped option answer at once.
    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.output import check_output, predict_to_folder  # noqa: PLC0415

    check_output(out, overwrite=overwrite)
    with (
        listening(as_json=log_json) as tell,
        opened(
            scan,
            particle_size=particle_size,
            spacing=spacing,
            model=model,
            engine=engine,
            device=device,
            gpu_memory_gib=gpu_memory,
            memory_gib=memory,
            threads=threads,
            overlap=overlap,
            mirror=mirror,
            shape=shape,
            dtype=dtype,
            offset=offset,
            embedding=embedding,
            dark=dark,
            mask=mask,
            roi=roi,
            workers=workers,
            chunk=chunk,
            skip_empty=skip,
        ) as (volume, bundle, ready, config),
    ):
        run = predict_to_folder(volume, bundle, ready, config, out, overwrite=overwrite, tell=tell)
    dropped = run["dropped"]["particles"]
    typer.echo(f'{{"particles": {run["particles"]}, "dropped": {dropped}, "output": "{out.as_posix()}"}}')
