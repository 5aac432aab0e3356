"""``ps3d-rt synth``: labelled synthetic scans, in the folder layout that ``train prepare`` and ``evaluate`` read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ps3d_training.synth import SampleSpec
    from ps3d_training.synth.from_labels import LabelSource
    from ps3d_training.synth.physics import PhysicsSpec


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write: images, instance_seg, metadata.json.")],
    labels: Annotated[
        Path | None, typer.Option(help="Cut the grains from this segmentation, labels or binary; not simulated ones.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many samples.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; the next ones count up.", min=0)] = 0,
    shape: Annotated[str | None, typer.Option(help="Voxels z,y,x, or one side.")] = None,
    spacing: Annotated[
        str | None, typer.Option(help="Side of a voxel, mm; with --labels, of theirs: 0.01, or z,y,x.")
    ] = None,
    particle_size: Annotated[float | None, typer.Option(help="Mean particle diameter, voxels.")] = None,
    touching: Annotated[float | None, typer.Option(help="Share of particles that touch another, 0 to 1.")] = None,
    fill: Annotated[float | None, typer.Option(help="Share of the volume that particles take, 0 to 1.")] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of the noise over the contrast.")] = None,
    least_voxels: Annotated[int, typer.Option(help="Of a binary volume's components, to be a grain.", min=1)] = 50,
    vary: Annotated[bool, typer.Option(help="Draw all that is not given; else the plain defaults.")] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Draw all, of a kind: loose, small, touching, spacers, minerals; with --labels grains; "
            "with --source physics loose, dense, wide."
        ),
    ] = None,
    source: Annotated[
        Literal["formula", "physics"],
        typer.Option(help="Where gray values come from: a formula, or minerals, an X-ray beam and a reconstruction."),
    ] = "formula",
    material: Annotated[
        str | None, typer.Option(help="With --source physics: a recipe of its materials; else drawn.")
    ] = None,
) -> None:
    """Make labelled synthetic scans of crushed grains: simulated data, for training and trials.

    A folder that holds some of the samples already is completed, not made again. With --labels the grains are real
    and the gray values simulated. With --source physics all that is not given is drawn, and the mineral of every voxel
    is written too.

    Example: ps3d-rt synth samples --count 80 --seed 1000 --vary
    """
    from ps3d_rt.cli import options  # noqa: PLC0415 - heavy
    from ps3d_rt.cli.logs import LINES, is_quiet  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.clock import Clock, Resumed  # noqa: PLC0415
    from ps3d_rt.errors import InputError  # noqa: PLC0415
    from ps3d_training.synth.folder import read_metadata, sample_name, write_samples  # noqa: PLC0415
    from ps3d_training.synth.from_labels import open_labels  # noqa: PLC0415

    packing: dict[str, Any] = {"touching": touching, "fill": fill}
    spacing_mm = options.spacing_mm(spacing)
    if spacing_mm and not labels and len(set(spacing_mm)) > 1:
        raise InputError(f"--spacing is {spacing!r}; the voxels of a simulated sample are cubes: give one number.")
    given: dict[str, Any] = {"particle_size_voxels": particle_size, "noise": noise, "shape": options.sides(shape)}
    given |= {"spacing_mm": min(spacing_mm) if spacing_mm else None} | packing
    fixed = {name: value for name, value in given.items() if value is not None}
    if labels and any(name in fixed for name in packing):
        raise InputError("--touching and --fill describe simulated grains; leave them out with --labels.")
    if source == "formula" and material is not None:
        raise InputError("--material goes with --source physics; the other source has gray values, no materials.")
    cut = open_labels(labels, spacing_mm=spacing_mm, least_voxels=least_voxels) if labels else None
    seeds = range(seed, seed + count)
    if source == "physics":
        specs: list[Any] = [_by_physics(s, cut, kind, material, fixed) for s in seeds]
    else:
        if kind is not None and (vary or fixed.keys() - ({"spacing_mm"} if labels else set())):
            raise InputError("--kind draws size, shape, noise and packing itself; leave out the options that fix them.")
        specs = [_by_formula(s, cut, kind, fixed, vary=vary) for s in seeds]
    with listening() as on_event, Clock(on_event).stage("samples", 0, count, "samples") as advance:
        known = read_metadata(out)
        advance(Resumed(sum(sample_name(spec, cut) in known for spec in specs)))
        for name, facts in write_samples(out, specs, cut):
            said = {"event": "SampleMade", "name": name, "facts": facts}
            LINES.say(f"{name}: {json.dumps(facts)}", said, seen=not is_quiet())
            advance(1)
    typer.echo(out)


def _by_formula(
    seed: int, cut: LabelSource | None, kind: str | None, fixed: dict[str, Any], *, vary: bool
) -> SampleSpec:
    from ps3d_training.synth import SampleSpec, random_spec  # noqa: PLC0415 - heavy
    from ps3d_training.synth.kinds import of_kind  # noqa: PLC0415

    if kind is not None:
        return of_kind(kind, seed, cut)
    if cut is not None:
        return cut.spec(seed, vary=vary, **{name: value for name, value in fixed.items() if name != "spacing_mm"})
    return random_spec(seed, **fixed) if vary else SampleSpec(seed=seed, **fixed)


def _by_physics(
    seed: int, cut: LabelSource | None, kind: str | None, material: str | None, fixed: dict[str, Any]
) -> PhysicsSpec:
    from ps3d_rt.errors import InputError  # noqa: PLC0415 - heavy
    from ps3d_training.synth.physics import random_physics_spec  # noqa: PLC0415
    from ps3d_training.synth.physics.from_labels import labelled_spec  # noqa: PLC0415

    scan = {"noise": fixed["noise"]} if "noise" in fixed else {}
    grains = {name: value for name, value in fixed.items() if name != "noise"}
    if cut is None:
        return random_physics_spec(seed, kind=kind, material=material, scan=scan, **grains)
    if kind is not None:
        raise InputError("--kind says how simulated grains lie; leave it out with --labels and --source physics.")
    return labelled_spec(cut, seed, material=material, scan=scan, **grains)
