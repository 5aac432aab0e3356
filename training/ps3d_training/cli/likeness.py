"""``ps3d-rt train statistics``: what the training samples of a model look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def statistics(
    bundle: Annotated[Path, typer.Argument(help="Model bundle, a NAME.ps3d folder; its model.json is changed.")],
    prepared: Annotated[
        Path | None, typer.Option(help="Samples it was trained on, made by train prepare; not given: simulated ones.")
    ] = None,
    samples: Annotated[int, typer.Option(help="How many to simulate.", min=8)] = 60,
) -> None:
    """Write into a bundle what its training samples look like: predict then says when a scan is unlike them.

    Example: ps3d-rt train statistics mine.ps3d --prepared prepared
    """
    from ps3d_rt.model import load_model  # noqa: PLC0415 - heavy, as below
    from ps3d_training.bundle_plan import plan_of  # noqa: PLC0415
    from ps3d_training.likeness import prepared_statistics, simulated_statistics, write_statistics  # noqa: PLC0415

    if prepared is not None:
        rows = list(prepared_statistics(prepared))
    else:
        rows = []
        for row in simulated_statistics(samples, plan_of(load_model(bundle))):
            rows.append(row)
            typer.echo(f"{len(rows)} of up to {samples} simulated samples measured", err=True)
    typer.echo(write_statistics(bundle, rows).path)
