"""``ps3d-rt predict``: a scan in, a folder with labels, table and report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.errors import InputError


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
    skip: Annotated[bool, typer.Option(help="Leave out patches without contrast.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace an output that is there.")] = False,
    log_json: Annotated[bool, typer.Option(help="Progress as JSON lines on stderr.")] = False,
) -> None:
    """Segment a scan into particles: labels (OME-Zarr), table, report and run.json.

    Prints the number of particles and the folder as JSON.

    Example: ps3d-rt predict scan.tif result --spacing 0.01 --particle-size 0.29
    """
    # Loaded here, so that --help and a mistyped option answer at once.
    from ps3d_rt.api import predict as run  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.io.volume import open_volume  # noqa: PLC0415
    from ps3d_rt.output import check_output, staged, write_result  # noqa: PLC0415

    check_output(out, overwrite=overwrite)
    sides = None if shape is None else [int(n) for n in numbers(shape, "--shape")]
    spacing_mm = None if spacing is None else numbers(spacing, "--spacing")
    with (
        open_volume(scan, spacing_mm=spacing_mm, shape=sides, dtype=dtype) as volume,
        staged(out, overwrite=overwrite) as folder,
        listening(as_json=log_json) as tell,
    ):
        result = run(
            volume,
            particle_size=particle_size,
            model=model,
            engine=engine,
            device=device,
            threads=threads,
            overlap=overlap,
            skip_empty=skip,
            progress=tell,
        )
        write_result(folder, volume, result)
    typer.echo(f'{{"particles": {len(result.particles)}, "output": "{out.as_posix()}"}}')


def numbers(text: str, option: str) -> list[float]:
    """Parse ``z,y,x``, or one number for all three axes.

    >>> numbers("0.01", "--spacing"), numbers("1,2,3", "--shape")
    ([0.01, 0.01, 0.01], [1.0, 2.0, 3.0])
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise InputError(f"{option} is {text!r}; give one number, or three as z,y,x without spaces.")
    return values * (3 // len(values))
