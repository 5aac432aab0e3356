"""``ps3d-rt demo``: a synthetic sample, predicted, measured, compared with its truth, reported."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.cli.run_options import RunOptions


def demo(
    out: Annotated[Path, typer.Argument(help="Folder to write: sample and result.")] = Path("demo-output"),
    size: Annotated[int, typer.Option(help="Side of the sample, voxels.", min=48)] = 200,
    seed: Annotated[int, typer.Option(help="Of the sample.", min=0)] = 7,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    open_report: Annotated[bool, typer.Option("--open", help="Open the report in a browser at the end.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Make a synthetic sample, segment it, and show how close the result is to the truth.

    Example: ps3d-rt demo
    """
    from ps3d_rt.cli.evaluate import compare, metric_rows  # noqa: PLC0415 - heavy
    from ps3d_rt.cli.predict import predict_scan  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.cli.results import open_page, print_result  # noqa: PLC0415
    from ps3d_rt.cli.run_summary import run_facts, run_rows  # noqa: PLC0415
    from ps3d_rt.clock import Clock  # noqa: PLC0415
    from ps3d_training.synth import SampleSpec  # noqa: PLC0415
    from ps3d_training.synth.folder import read_metadata, write_samples  # noqa: PLC0415

    # In a tube, as samples stand in a scanner: its wall cuts no grain.
    spec = SampleSpec(seed=seed, shape=(size, size, size), container=True)
    sample, result, name = out / f"simulated-{size}", out / "result", f"synth_{seed:05d}"
    with listening() as on_event, Clock(on_event).stage(f"simulated sample of {size}³ voxels", size**3):
        list(write_samples(sample, [spec]))
    known = read_metadata(sample)[name]
    run_options = RunOptions(particle_size=str(known["particle_size"]), spacing=str(known["spacing"]))
    run = predict_scan(sample / "images" / f"{name}.zarr", result, run_options, overwrite=overwrite)
    labels = result / f"{name}.ome.zarr" / "labels" / "particles"
    metrics = compare(labels, sample / "instance_seg" / f"{name}.zarr")
    facts = {"simulated": True, **run_facts(run, result), "agreement": asdict(metrics)}
    _, *agreement = metric_rows(metrics)
    print_result(facts, lambda: [*run_rows(run, result), ("", "", ""), *agreement], as_json=as_json)
    if open_report:
        open_page(result / "report.html")
