"""``ps3d-rt demo``: a synthetic sample, predicted, measured, compared with its truth, reported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Argument(help="Folder to write: sample and result.")] = Path("demo-output"),
    size: Annotated[int, typer.Option(help="Side of the sample, voxels.", min=48)] = 160,
    seed: Annotated[int, typer.Option(help="Of the sample.", min=0)] = 7,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier result.")] = False,
) -> None:
    """Make a synthetic sample, segment it, and show how close the result is to the truth.

    Example: ps3d-rt demo
    """
    from ps3d_rt.cli.evaluate import evaluate  # noqa: PLC0415 - heavy
    from ps3d_rt.cli.predict import predict  # noqa: PLC0415
    from ps3d_training.synth import SampleSpec  # noqa: PLC0415
    from ps3d_training.synth.folder import read_metadata, write_samples  # noqa: PLC0415

    spec = SampleSpec(seed=seed, shape=(size, size, size))
    sample, result, name = out / f"sample-{size}", out / "result", f"synth_{seed:05d}"
    typer.echo(f"making a synthetic sample of {size}³ voxels (simulated data) …", err=True)
    list(write_samples(sample, [spec]))
    facts = read_metadata(sample)[name]
    predict(
        scan=sample / "images" / f"{name}.zarr",
        out=result,
        particle_size=str(facts["particle_size"]),
        spacing=str(facts["spacing"]),
        overwrite=overwrite,
    )
    labels = result / f"{name}.ome.zarr" / "labels" / "particles"
    evaluate(labels, sample / "instance_seg" / f"{name}.zarr")
    typer.echo(f"open {result / 'report.html'}", err=True)
