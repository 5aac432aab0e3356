"""``ps3d-rt predict``: a scan in, a folder with labels, table and report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    scan: Annotated[Path, typer.Argument(help="TIFF, folder of TIFF slices, npy, zarr, OME-Zarr or raw.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: labels, table, report.html, run.json.")],
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
    skip: Annotated[bool, typer.Option(help="Leave out patches without contrast.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace an output that is there.")] = False,
    log_json: Annotated[bool, typer.Option(help="Progress as JSON lines on stderr.")] = False,
) -> None:
    """Segment a scan into particles: labels (OME-Zarr), table, report and run.json.

    Prints the number of particles and the folder as JSON. A run that was stopped goes on when it is started again.

    Example: ps3d-rt predict scan.tif result --spacing 0.01 --particle-size 0.29
    """
    # Loaded here, so that --help and a mistyped option answer at once.
    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.output import check_output, predict_to_folder  # noqa: PLC0415

    check_output(out, overwrite=overwrite)
    with (
        opened(
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
            skip_empty=skip,
        ) as (volume, bundle, ready, config),
        listening(as_json=log_json) as tell,
    ):
        run = predict_to_folder(volume, bundle, ready, config, out, overwrite=overwrite, tell=tell)
    typer.echo(f'{{"particles": {run["particles"]}, "output": "{out.as_posix()}"}}')
