"""``ps3d-rt measure``: labels to a particle table and a size distribution."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.errors import InputError


def measure(
    labels: Annotated[Path, typer.Argument(help="Label volume, of any format that is read: zarr, TIFF, NIfTI …")],
    out: Annotated[Path, typer.Argument(help="Folder for particles.parquet and particles.csv.")],
    image: Annotated[
        Path | None, typer.Option(help="Scan of the same voxels: adds gray mean, quantiles and histogram.")
    ] = None,
    spacing: options.Spacing = None,
    split: Annotated[
        bool, typer.Option("--split", help="Every connected component is a particle, whatever its id; for masks.")
    ] = False,
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
    from ps3d_rt.core.label_check import SPLIT, LabelCheck  # noqa: PLC0415
    from ps3d_rt.core.measure import merge_sums, to_table  # noqa: PLC0415
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.io.spacing import contradicted  # noqa: PLC0415
    from ps3d_rt.io.table import free_targets, write_table  # noqa: PLC0415
    from ps3d_rt.stages.label_slabs import checked_slabs, label_sums, split_slabs  # noqa: PLC0415

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
        check = LabelCheck(ids.source, ids.dtype, SPLIT)
        slabs = split_slabs(ids) if split else checked_slabs(ids, check)
        table = to_table(merge_sums(label_sums(slabs, ids, gray)), ids.shape, spacing_mm)
        if not split:
            warn(*check.warnings())
    sizes = size_facts(table, ids.shape if edge_correction else None, sieve=sieve)
    parquet, csv = write_table(table, out, overwrite=overwrite)
    printed = {"parquet": str(parquet), "csv": str(csv), "particles": len(table), "size_distribution": sizes}
    typer.echo(json.dumps(printed, indent=2))
