"""``ps3d-rt measure``: labels to a particle table and a size distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    from ps3d_rt.core.measure import PartialSums
    from ps3d_rt.io.base import Volume


def measure(
    labels: Annotated[Path, typer.Argument(help="Label volume, of any format that is read: zarr, TIFF, NIfTI …")],
    out: Annotated[Path, typer.Argument(help="Folder for particles.parquet and particles.csv.")],
    image: Annotated[
        Path | None, typer.Option(help="Scan of the same voxels: adds gray mean, quantiles and histogram.")
    ] = None,
    spacing: options.Spacing = None,
    sieve: options.Sieve = False,
    edge_correction: options.EdgeCorrection = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table of an earlier run.")] = False,
) -> None:
    """Measure every particle of a label volume: size, surface, shape, contacts, and with a scan gray values.

    Writes one row a particle as parquet and as CSV. Prints the files, the number of particles and the size
    distribution (D10, D50, D90 by number and by volume, with 95 % intervals) as JSON.

    Example: ps3d-rt measure labels.tif out --spacing 0.01 --image scan.tif
    """
    from ps3d_rt.cli.progress import warn  # noqa: PLC0415 - what loads arrays is loaded on use
    from ps3d_rt.core.distribution import size_facts  # noqa: PLC0415
    from ps3d_rt.core.measure import merge_sums, to_table  # noqa: PLC0415
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.io.spacing import contradicted  # noqa: PLC0415
    from ps3d_rt.io.table import free_targets, write_table  # noqa: PLC0415

    free_targets(out, overwrite=overwrite)
    with ExitStack() as files:
        ids = files.enter_context(open_volume(labels, spacing_mm=options.spacing_mm(spacing)))
        gray = None if image is None else files.enter_context(open_volume(image))
        warn(*ids.warnings)
        if gray is not None:
            warn(*gray.warnings, *contradicted(ids.spacing_mm, ids.source, gray.spacing_mm, gray.source))
        spacing_mm = ids.spacing_mm or (gray.spacing_mm if gray is not None else None)
        if spacing_mm is None:
            raise InputError(f"{labels} does not say how large a voxel is; pass --spacing with its side in mm.")
        table = to_table(merge_sums(_sums(ids, gray)), ids.shape, spacing_mm)
    sizes = size_facts(table, ids.shape if edge_correction else None, sieve=sieve)
    parquet, csv = write_table(table, out, overwrite=overwrite)
    printed = {"parquet": str(parquet), "csv": str(csv), "particles": len(table), "size_distribution": sizes}
    typer.echo(json.dumps(printed, indent=2))


def _sums(ids: Volume, gray: Volume | None) -> Iterator[PartialSums]:
    from ps3d_rt.core.grid import Box  # noqa: PLC0415
    from ps3d_rt.core.measure import partial_sums  # noqa: PLC0415
    from ps3d_rt.core.runs import READ_VOXELS, z_slabs  # noqa: PLC0415
    from ps3d_rt.stages.gray import volume_bins  # noqa: PLC0415

    if gray is not None and gray.shape != ids.shape:
        raise InputError(
            f"{gray.source} has shape {gray.shape} and {ids.source} has {ids.shape}; both must cover the same voxels."
        )
    whole, bins = Box.of_shape(ids.shape), None if gray is None else volume_bins(gray)
    for box in z_slabs(ids.shape, READ_VOXELS):
        # No name for the voxels: they are freed before the next ones are read.
        yield partial_sums(
            ids.read(box.grow(1, whole)),
            None if gray is None else gray.read(box),
            box=box,
            shape=ids.shape,
            bins=bins,
        )
