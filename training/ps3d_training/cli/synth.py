"""``ps3d-rt synth``: labelled synthetic scans, in the folder layout that ``train prepare`` and ``evaluate`` read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write: images, instance_seg, metadata.json.")],
    count: Annotated[int, typer.Option(help="How many samples.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; the next ones count up.", min=0)] = 0,
    shape: Annotated[str | None, typer.Option(help="Voxels z,y,x, or one side.")] = None,
    particle_size: Annotated[float | None, typer.Option(help="Mean particle diameter, voxels.")] = None,
    touching: Annotated[float | None, typer.Option(help="Share of particles that touch another, 0 to 1.")] = None,
    fill: Annotated[float | None, typer.Option(help="Share of the volume that particles take, 0 to 1.")] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of the noise over the contrast.")] = None,
    vary: Annotated[bool, typer.Option(help="Draw all that is not given; else the plain defaults.")] = False,
) -> None:
    """Make labelled synthetic scans of crushed grains: simulated data, for training and trials.

    A folder that holds some of the samples already is completed, not made again.

    Example: ps3d-rt synth samples --count 80 --seed 1000 --vary
    """
    from ps3d_rt.cli.opened import numbers  # noqa: PLC0415 - heavy
    from ps3d_training.synth import SampleSpec, random_spec  # noqa: PLC0415
    from ps3d_training.synth.folder import write_samples  # noqa: PLC0415

    given: dict[str, Any] = {"particle_size_voxels": particle_size, "touching": touching, "fill": fill}
    given |= {"noise": noise, "shape": shape and tuple(int(n) for n in numbers(shape, "--shape"))}
    fixed = {name: value for name, value in given.items() if value is not None}
    seeds = range(seed, seed + count)
    specs = [random_spec(s, **fixed) if vary else SampleSpec(seed=s, **fixed) for s in seeds]
    for name, facts in write_samples(out, specs):
        sys.stderr.write(f"{name}: {json.dumps(facts)}\n")
    typer.echo(out)
