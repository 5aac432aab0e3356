"""``ps3d-rt convert``: a volume in another format."""

from __future__ import annotations

import json
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options


def convert(
    scan: Annotated[Path, typer.Argument(help="Image or labels, any file that predict reads; or an OME-Zarr of ours.")],
    out: Annotated[Path, typer.Argument(help="New file; its ending names the format.")],
    spacing: options.Spacing = None,
    shape: options.RawShape = None,
    dtype: options.RawDtype = None,
    offset: options.RawOffset = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a volume to .zarr, .tif, .nii, .nii.gz, .nrrd, .mha, .h5, .npy or .raw, with its dtype and spacing.

    Example: ps3d-rt convert result/scan.ome.zarr labels.nii.gz
    """
    from ps3d_rt.cli.progress import listening, warn  # noqa: PLC0415
    from ps3d_rt.clock import Clock  # noqa: PLC0415
    from ps3d_rt.errors import InputError  # noqa: PLC0415
    from ps3d_rt.io.names import file_and_inside, resolved  # noqa: PLC0415
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.io.volume_writer import save_volume  # noqa: PLC0415

    source, target = resolved(file_and_inside(scan)[0]), resolved(out)
    if target in (source, *source.parents) or source in target.parents:
        raise InputError(f"{out} is the volume that is read, or lies inside; choose another name.")
    mm, sides = options.spacing_mm(spacing), options.sides(shape)
    with listening() as on_event, ExitStack() as files:
        with Clock(on_event).stage("opening", 0):
            opened = open_volume(scan, spacing_mm=mm, shape=sides, dtype=dtype, offset_bytes=offset)
        volume = files.enter_context(opened)
        warn(*volume.warnings)
        voxels = prod(volume.shape)
        with Clock(on_event).stage("convert", voxels, total=voxels, unit="voxels") as advance:
            save_volume(volume, out, overwrite=overwrite, on_progress=advance)
        facts = {"out": str(out), "shape": volume.shape, "dtype": volume.dtype.name, "spacing_mm": volume.spacing_mm}
    if out.suffix.lower() == ".npy" and volume.spacing_mm is not None:
        typer.echo("an .npy file cannot hold the spacing: pass --spacing when it is read", err=True)
    typer.echo(json.dumps(facts))
