"""``ps3d-rt evaluate``: labels against a reference, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.errors import InputError


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Labels to judge: zarr, OME-Zarr, TIFF, npy.")],
    reference: Annotated[Path, typer.Argument(help="Labels taken as true, for the same voxels.")],
) -> None:
    """Compare labels with a reference; print the five measures and the counts as JSON.

    Ids need not agree and may have gaps; 0 is background. f1 is over voxels; f1_match and f1_instance are over
    particles; merger_ratio and splitter_ratio are errors per reference particle.

    Example: ps3d-rt evaluate out/sample.ome.zarr instance_seg/sample.tif
    """
    from ps3d_rt.cli.progress import warn  # noqa: PLC0415 - what loads arrays is loaded on use
    from ps3d_rt.core.label_check import LabelCheck  # noqa: PLC0415
    from ps3d_rt.core.metrics import evaluate_slabs  # noqa: PLC0415
    from ps3d_rt.core.runs import READ_VOXELS, z_slabs  # noqa: PLC0415
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.io.spacing import contradiction  # noqa: PLC0415

    with open_volume(prediction) as found, open_volume(reference) as true:
        if found.shape != true.shape:
            raise InputError(
                f"{prediction} has shape {found.shape}, {reference} has {true.shape}; both must cover the same voxels."
            )
        said = contradiction(found.spacing_mm, found.source, true.spacing_mm, true.source)
        warn(*found.warnings, *true.warnings)
        if said is not None:
            warn(f"{said}: voxels are compared, whatever their size; check that both are of one scan.")
        one, other = (LabelCheck(volume.source, volume.dtype) for volume in (found, true))
        boxes = z_slabs(true.shape, READ_VOXELS)
        metrics = evaluate_slabs((one.checked(found.read(box)), other.checked(true.read(box))) for box in boxes)
    warn(*one.warnings(), *other.warnings())
    typer.echo(json.dumps(asdict(metrics), indent=2))
