"""``ps3d-rt plan``: what a run will do and take, before it runs."""

from __future__ import annotations

from typing import Annotated

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.cli.run_options import RunOptions


@expanded
def plan(
    scan: options.Scan,
    run_options: RunOptions,
    trial: Annotated[bool, options.about_output(help="Run a piece of the scan, to predict time and disk.")] = True,
    as_json: options.AsJson = False,
) -> None:
    """Say what predict will do and take: patches, memory, and by a trial of some seconds the time and the disk space.

    Example: ps3d-rt plan scan.tif --spacing 0.01
    """
    from dataclasses import asdict  # noqa: PLC0415

    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.cli.plan_summary import plan_facts, plan_rows  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening, warn  # noqa: PLC0415
    from ps3d_rt.cli.results import print_result  # noqa: PLC0415
    from ps3d_rt.forecast import forecast  # noqa: PLC0415
    from ps3d_rt.pipeline import prepare  # noqa: PLC0415
    from ps3d_rt.plan import RunPlan  # noqa: PLC0415

    with listening() as on_event, opened(scan, run_options, on_event) as (volume, bundle, ready, config):
        warn(*volume.warnings)
        seconds = None
        if config.particle_size_mm is None:
            prediction = prepare(volume, bundle, ready, config, on_event)
            config, seconds = prediction.config, prediction.seconds["size estimate"]  # noqa: PLW2901 - now it is known
        run = RunPlan.for_shape(volume.shape, volume.dtype.itemsize, bundle, config, ready.spec.devices)
        facts = plan_facts(run, config, ready.spec, volume.dtype.itemsize)
        if trial:
            facts |= asdict(forecast(volume, bundle, ready, config, on_event, estimate_seconds=seconds))
    print_result(facts, lambda: plan_rows(facts), as_json=as_json)
