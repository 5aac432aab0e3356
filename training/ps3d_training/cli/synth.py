"""``ps3d-rt synth``: labelled synthetic scans, in the folder layout that ``train prepare`` and ``evaluate`` read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write: images, instance_seg, metadata.json.")],
    labels: Annotated[
        Path | None, typer.Option(help="Cut the grains from this segmentation, labels or binary; not simulated ones.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many samples.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; the next ones count up.", min=0)] = 0,
    shape: Annotated[str | None, typer.Option(help="Voxels z,y,x, or one side.")] = None,
    spacing: Annotated[float | None, typer.Option(help="Side of a voxel, mm; with --labels, of theirs.")] = None,
    particle_size: Annotated[float | None, typer.Option(help="Mean particle diameter, voxels.")] = None,
    touching: Annotated[float | None, typer.Option(help="Share of particles that touch another, 0 to 1.")] = None,
    fill: Annotated[float | None, typer.Option(help="Share of the volume that particles take, 0 to 1.")] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of the noise over the contrast.")] = None,
    least_voxels: Annotated[int, typer.Option(help="Of a binary volume's components, to be a grain.", min=1)] = 50,
    vary: Annotated[bool, typer.Option(help="Draw all that is not given; else the plain defaults.")] = False,
    kind: Annotated[
        str | None,
        typer.Option(help="Draw all, of a kind: loose, small, touching, spacers, minerals; with --labels grains."),
    ] = None,
) -> None:
    """Make labelled synthetic scans of crushed grains: simulated data, for training and trials.

    A folder that holds some of the samples already is completed, not made again. With --labels the grains are real
    and the gray values simulated.

    Example: ps3d-rt synth samples --count 80 --seed 1000 --vary
    """
    from ps3d_rt.cli.opened import numbers  # noqa: PLC0415 - heavy
    from ps3d_rt.errors import InputError  # noqa: PLC0415
    from ps3d_training.synth import SampleSpec, random_spec  # noqa: PLC0415
    from ps3d_training.synth.folder import write_samples  # noqa: PLC0415
    from ps3d_training.synth.from_labels import open_labels  # noqa: PLC0415
    from ps3d_training.synth.kinds import of_kind  # noqa: PLC0415

    given: dict[str, Any] = {"particle_size_voxels": particle_size, "noise": noise}
    given |= {"shape": shape and tuple(int(n) for n in numbers(shape, "--shape"))}
    packing = {"touching": touching, "fill": fill}
    seeds = range(seed, seed + count)
    if kind is not None and (vary or any(value is not None for value in (given | packing).values())):
        raise InputError("--kind draws size, shape, noise and packing itself; leave out the options that fix them.")
    if kind is not None:
        source = open_labels(labels, spacing_mm=spacing, least_voxels=least_voxels) if labels else None
        specs = [of_kind(kind, s, source) for s in seeds]
    elif labels:
        if any(value is not None for value in packing.values()):
            raise InputError("--touching and --fill describe simulated grains; leave them out with --labels.")
        source = open_labels(labels, spacing_mm=spacing, least_voxels=least_voxels)
        fixed = {name: value for name, value in given.items() if value is not None}
        specs = [source.spec(s, vary=vary, **fixed) for s in seeds]
    else:
        source = None
        given |= packing | {"spacing_mm": spacing}
        fixed = {name: value for name, value in given.items() if value is not None}
        specs = [random_spec(s, **fixed) if vary else SampleSpec(seed=s, **fixed) for s in seeds]
    for name, facts in write_samples(out, specs, source):
        sys.stderr.write(f"{name}: {json.dumps(facts)}\n")
    typer.echo(out)
