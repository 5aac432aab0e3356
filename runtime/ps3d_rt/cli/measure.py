"""``ps3d-rt measure``: labels to a particle table and a size distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import PartialSums, merge_sums, partial_sums, size_distribution, to_table
from ps3d_rt.core.runs import READ_VOXELS, z_slabs
from ps3d_rt.errors import InputError
from ps3d_rt.io.table import free_targets, write_table
from ps3d_rt.io.volume import Volume, open_volume


def measure(
    labels: Annotated[Path, typer.Argument(help="Label volume: zarr, OME-Zarr, TIFF, npy.")],
    out: Annotated[Path, typer.Argument(help="Folder for particles.parquet and particles.csv.")],
    image: Annotated[Path | None, typer.Option(help="Source scan of the same voxels; adds the gray mean.")] = None,
    spacing: Annotated[float | None, typer.Option(help="Voxel size, mm; needed if the labels do not say.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table of an earlier run.")] = False,
) -> None:
    """Measure every particle of a label volume; print the size distribution as JSON.

    Example: ps3d-rt measure labels.tif out --spacing 0.01 --image scan.tif
    """
    free_targets(out, overwrite=overwrite)
    with ExitStack() as files:
        ids = files.enter_context(open_volume(labels, spacing_mm=spacing))
        gray = None if image is None else files.enter_context(open_volume(image))
        spacing_mm = ids.spacing_mm or (gray.spacing_mm if gray is not None else None)
        if spacing_mm is None:
            raise InputError(f"{labels} does not say how large a voxel is; pass --spacing with its side in mm.")
        table = to_table(merge_sums(_sums(ids, gray)), ids.shape, spacing_mm)
    parquet, csv = write_table(table, out, overwrite=overwrite)
    sizes = {name: None if isnan(value) else value for name, value in asdict(size_distribution(table)).items()}
    typer.echo(json.dumps({"parquet": str(parquet), "csv": str(csv), **sizes}, indent=2))


def _sums(ids: Volume, gray: Volume | None) -> Iterator[PartialSums]:
    if gray is not None and gray.shape != ids.shape:
        raise InputError(
            f"{gray.source} has shape {gray.shape} and {ids.source} has {ids.shape}; both must cover the same voxels."
        )
    whole = Box.of_shape(ids.shape)
    for box in z_slabs(ids.shape, READ_VOXELS):
        # No name for the voxels: they are freed before the next ones are read.
        yield partial_sums(
            ids.read(box.grow(1, whole)), None if gray is None else gray.read(box), box=box, shape=ids.shape
        )
