"""``ps3d-rt measure``: labels to a particle table and a size distribution."""

from __future__ import annotations

import json
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.cli.table_options import TableOptions, parse_gray_bins
from ps3d_rt.errors import InputError


@expanded
def measure(
    labels: Annotated[Path, typer.Argument(help="Label volume, of any format that is read: zarr, TIFF, NIfTI …")],
    out: Annotated[Path, typer.Argument(help="Folder for particles.parquet, the CSV files and psd.csv.")],
    table_options: TableOptions,
    image: Annotated[
        Path | None, typer.Option(help="Scan of the same voxels: adds gray mean, quantiles and histogram.")
    ] = None,
    spacing: options.Spacing = None,
    split: Annotated[
        bool, typer.Option("--split", help="Every connected component is a particle, whatever its id; for masks.")
    ] = False,
    gray_bins: options.GrayBins = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table of an earlier run.")] = False,
) -> None:
    """Measure every particle of a label volume: size, surface, shape, contacts, and with a scan gray values.

    Writes one row a particle as parquet and as CSV, and the size distribution in classes as psd.csv. Prints the files,
    the number of particles and the size distribution (D10, D50, D80, D90 by number and by volume, with 95 % intervals)
    as JSON.

    Example: ps3d-rt measure labels.tif out --spacing 0.01 --image scan.tif
    """
    from ps3d_rt.cli.progress import listening, warn  # noqa: PLC0415 - what loads arrays is loaded on use
    from ps3d_rt.clock import Clock  # noqa: PLC0415
    from ps3d_rt.core.distribution import facts_by  # noqa: PLC0415
    from ps3d_rt.core.gray import GrayBins  # noqa: PLC0415
    from ps3d_rt.core.label_check import SPLIT, LabelCheck  # noqa: PLC0415
    from ps3d_rt.core.psd import size_psd  # noqa: PLC0415
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.io.spacing import contradicted  # noqa: PLC0415
    from ps3d_rt.io.table import free_targets, write_table  # noqa: PLC0415
    from ps3d_rt.stages.label_slabs import checked_slabs, measure_slabs, split_slabs  # noqa: PLC0415

    wanted, files, ends = table_options.sizes(), table_options.files(), parse_gray_bins(gray_bins)
    bins = None if ends is None else GrayBins.between(*ends)
    free_targets(out, overwrite=overwrite)
    with listening() as on_event, ExitStack() as open_files:
        with Clock(on_event).stage("opening", 0):
            ids = open_files.enter_context(open_volume(labels, spacing_mm=options.spacing_mm(spacing)))
            gray = None if image is None else open_files.enter_context(open_volume(image))
        warn(*ids.warnings)
        if gray is not None:
            warn(*gray.warnings, *contradicted(ids.spacing_mm, ids.source, gray.spacing_mm, gray.source))
        spacing_mm = ids.spacing_mm or (gray.spacing_mm if gray is not None else None)
        if spacing_mm is None:
            raise InputError(f"{labels} does not say how large a voxel is; pass --spacing with its side in mm.")
        check = LabelCheck(ids.source, ids.dtype, SPLIT)
        with Clock(on_event).stage("measure", prod(ids.shape), ids.shape[0], "planes") as advance:
            slabs = split_slabs(ids) if split else checked_slabs(ids, check)
            counted = ((box, found) for box, found in slabs if advance(box.shape[0]) is None)
            table = measure_slabs(counted, ids, spacing_mm, gray, bins, (lambda: split_slabs(ids)) if split else None)
        if not split:
            warn(*check.warnings())
    sizes = facts_by(table, ids.shape, wanted)
    parquet, csv = write_table(table, out, overwrite=overwrite, dialect=files.dialect)
    warn(*files.warnings(len(table)))
    files.write(out, size_psd(table, ids.shape, wanted), {"size_distribution": sizes})
    printed = {"parquet": str(parquet), "csv": str(csv), "particles": len(table), "size_distribution": sizes}
    typer.echo(json.dumps(printed, indent=2))
