"""``ps3d-rt evaluate``: labels against a reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ps3d_rt.cli import options
from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    from ps3d_rt.cli.results import Row
    from ps3d_rt.core.metrics import Metrics


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Labels to judge: zarr, OME-Zarr, TIFF, npy.")],
    reference: Annotated[Path, typer.Argument(help="Labels taken as true, for the same voxels.")],
    as_json: options.AsJson = False,
) -> None:
    """Compare labels with a reference: the five measures, and the counts.

    Ids need not agree and may have gaps; 0 is background. f1 is over voxels; f1_match and f1_instance are over
    particles; merger_ratio and splitter_ratio are errors per reference particle.

    Example: ps3d-rt evaluate out/sample.ome.zarr instance_seg/sample.tif
    """
    from dataclasses import asdict  # noqa: PLC0415

    from ps3d_rt.cli.results import print_result  # noqa: PLC0415

    metrics = compare(prediction, reference)
    print_result(asdict(metrics), lambda: metric_rows(metrics), as_json=as_json)


def compare(prediction: Path, reference: Path) -> Metrics:
    """Read two label volumes and compare them.

    Raises:
        InputError: if one cannot be read, or their shapes differ.
    """
    from contextlib import ExitStack  # noqa: PLC0415 - what loads arrays is loaded on use
    from math import prod  # noqa: PLC0415

    from ps3d_rt.cli.progress import listening, warn  # noqa: PLC0415
    from ps3d_rt.clock import Clock  # noqa: PLC0415
    from ps3d_rt.core.label_check import LabelCheck  # noqa: PLC0415
    from ps3d_rt.core.metrics import evaluate_slabs  # noqa: PLC0415
    from ps3d_rt.core.runs import READ_VOXELS, z_slabs  # noqa: PLC0415
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.io.spacing import contradiction  # noqa: PLC0415

    with listening() as on_event, ExitStack() as files:
        with Clock(on_event).stage("opening", 0):
            found, true = (files.enter_context(open_volume(path)) for path in (prediction, reference))
        if found.shape != true.shape:
            raise InputError(
                f"{prediction} has shape {found.shape}, {reference} has {true.shape}; both must cover the same voxels."
            )
        said = contradiction(found.spacing_mm, found.source, true.spacing_mm, true.source)
        warn(*found.warnings, *true.warnings)
        if said is not None:
            warn(f"{said}: voxels are compared, whatever their size; check that both are of one scan.")
        one, other = (LabelCheck(volume.source, volume.dtype) for volume in (found, true))
        boxes = list(z_slabs(true.shape, READ_VOXELS))
        with Clock(on_event).stage("evaluate", prod(true.shape), len(boxes), "slabs") as advance:

            def slabs() -> Iterator[tuple[Any, Any]]:
                for box in boxes:
                    yield one.checked(found.read(box)), other.checked(true.read(box))
                    advance(1)

            metrics = evaluate_slabs(slabs())
    warn(*one.warnings(), *other.warnings())
    return metrics


def metric_rows(metrics: Metrics) -> list[Row]:
    """Say for people how well labels agree with a reference."""
    found = f"{metrics.predicted} found, {metrics.reference} in the reference, {metrics.matched} matched"
    return [
        ("Particles", str(metrics.predicted), found),
        ("F1 of instances", f"{metrics.f1_instance:.3f}", "mean over all particles; 1 is best, a missed one counts 0"),
        ("F1 of matches", f"{metrics.f1_match:.3f}", "matched particles over found and true ones; 1 is best"),
        ("F1 of voxels", f"{metrics.f1:.3f}", "particle or not; 1 is best"),
        ("Merged", str(metrics.mergers), f"{metrics.merger_ratio:.3f} per reference particle; 0 is best"),
        ("Split", str(metrics.splitters), f"{metrics.splitter_ratio:.3f} per reference particle; 0 is best"),
    ]
