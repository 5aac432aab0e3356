"""``ps3d-rt train``: prepare labelled samples, train on them, export what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ps3d_rt.cli.expand import expanded
from ps3d_rt.errors import InputError
from ps3d_training.cli.adapting import adapt, update
from ps3d_training.cli.epochs import say_epoch
from ps3d_training.cli.likeness import statistics
from ps3d_training.cli.run_options import TrainingOptions
from ps3d_training.plan import GRAY_CEILING, GRAY_FLOOR, TrainingPlan

if TYPE_CHECKING:
    from ps3d_training.dataset import PreparedCase

app = typer.Typer(help="Train a model on labelled volumes.", no_args_is_help=True)
PLAN = TrainingPlan()


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Holds images, instance_seg and metadata.json.")],
    out: Annotated[Path, typer.Argument(help="Receives the prepared dataset.")],
    target_size: Annotated[float, typer.Option(help="Mean particle diameter to resample to, voxels.")] = (
        PLAN.target_size_voxels
    ),
    border: Annotated[float, typer.Option(help="Thickness of the class border, voxels after resampling.")] = (
        PLAN.border_thickness_voxels
    ),
    gray_scheme: Annotated[
        str,
        typer.Option(help="volume: mean and deviation of each; embedding: counted from what the particles lie in."),
    ] = "embedding",
    gray_floor: Annotated[
        float,
        typer.Option(
            help="Raise darker voxels to this value on that scale: how dark air and bubbles are says nothing."
        ),
    ] = GRAY_FLOOR,
    gray_ceiling: Annotated[
        float,
        typer.Option(
            help="Lower brighter voxels to this many standard deviations above the mean, so that the densest mineral "
            "does not make the others look dark; 0: no ceiling. Only with volume.",
            min=0,
        ),
    ] = GRAY_CEILING,
    add: Annotated[bool, typer.Option("--add", help="Keep what was prepared before, and add what is new.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier prepared dataset.")] = False,
) -> None:
    """Normalize gray values and particle size, and write border-core labels.

    Example: ps3d-rt train prepare samples prepared
    """
    from ps3d_training import dataset  # noqa: PLC0415 - heavy

    plan = TrainingPlan(
        target_size_voxels=target_size,
        border_thickness_voxels=border,
        gray_scheme=gray_scheme,
        gray_floor=gray_floor,
        gray_ceiling=(gray_ceiling or None) if gray_scheme == "volume" else None,
    )
    typer.echo(dataset.prepare(folder, out, plan, overwrite=overwrite, add=add, on_case=_say_case))


@app.command()
@expanded
def run(
    prepared: Annotated[Path, typer.Argument(help="Made by: ps3d-rt train prepare.")],
    out: Annotated[Path, typer.Argument(help="Receives the checkpoints. Given again, the run goes on there.")],
    run_options: TrainingOptions,
) -> None:
    """Train. A killed run, started again, goes on after its last epoch.

    Example: ps3d-rt train run prepared model --epochs 100
    """
    from ps3d_training import training  # noqa: PLC0415 - heavy

    run = training.TrainingRun(
        prepared=prepared,
        out=out,
        plan=run_options.on(training.prepared_plan(prepared)),
        schedule=run_options.schedule(),
        fold=run_options.fold,
        init=run_options.init,
        device=run_options.device,
        threads=run_options.threads,
    )
    typer.echo(training.train(run, say_epoch))


@app.command()
def export(
    trained: Annotated[Path, typer.Argument(help="Folder of: ps3d-rt train run.")],
    bundle: Annotated[Path, typer.Argument(help="Model bundle to write, NAME.ps3d.")],
    patch: Annotated[int, typer.Option(help="Side of the patches of inference, voxels.", min=1)] = 64,
    overlap: Annotated[
        float | None, typer.Option(help="Share of a patch that the next one covers again. [default: 0.25]")
    ] = None,
    min_relative_volume: Annotated[
        float | None, typer.Option(help="Drop particles under this share of the mean volume. [default: 0.005]")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="Drop particles whose mean score of foreground is lower. [default: keep all]")
    ] = None,
    min_diameter: Annotated[
        float | None,
        typer.Option(
            help="Drop particles smaller than a ball this many voxels of the scan across. [default: keep all]"
        ),
    ] = None,
    core_bias: Annotated[
        float | None,
        typer.Option(
            help="Added to the score of the class core: below 0, fewer particles merge and more split. [default: 0]"
        ),
    ] = None,
    licence: Annotated[str, typer.Option(help="SPDX identifier of the weights' licence.")] = "Apache-2.0",
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a model bundle from the checkpoints, checked against torch.

    A training that began with a bundle (--init) takes that bundle's settings where none is given here.

    Example: ps3d-rt train export model mine.ps3d --patch 96
    """
    from ps3d_training import to_bundle  # noqa: PLC0415 - heavy

    settings = {
        "overlap": overlap,
        "min_relative_volume": min_relative_volume,
        "min_confidence": min_confidence,
        "min_diameter_voxels": min_diameter,
        "core_bias": core_bias,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    written = to_bundle.export(
        trained, bundle, patch=(patch, patch, patch), settings=given | {"licence": licence}, overwrite=overwrite
    )
    typer.echo(written.path)


@app.command()
def default(
    work: Annotated[Path, typer.Argument(help="Receives prepared samples and checkpoints: 100 GB for 3000 samples.")],
    bundle: Annotated[Path, typer.Argument(help="Model bundle to write, NAME.ps3d.")],
    samples: Annotated[int, typer.Option(help="Simulated samples to train on.", min=1)] = 3000,
    epochs: Annotated[str, typer.Option(help="Of 100 steps: with patches of 48 voxels, and of 64.")] = "240,120",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the training; one a core if not given.")] = None,
) -> None:
    """Train a model from nothing, as the bundled one is: simulated samples, two trainings, export.

    Given again, it goes on where it was stopped.

    Example: ps3d-rt train default work mine.ps3d
    """
    from ps3d_training.recipe import TrainingRecipe, follow  # noqa: PLC0415 - heavy

    small, _, large = epochs.partition(",")
    if not (small.isdecimal() and large.isdecimal()):
        raise InputError(f"--epochs is {epochs}; two whole numbers with a comma between are needed, such as 240,120.")
    written = follow(
        TrainingRecipe(samples=samples, epochs=(int(small), int(large))),
        work,
        bundle,
        threads=threads,
        on_group=lambda done, of: typer.echo(f"samples: {done} of {of} groups prepared", err=True),
        on_epoch=say_epoch,
    )
    typer.echo(written.path)


app.command()(statistics)
app.command()(update)
app.command()(adapt)


def _say_case(case: PreparedCase) -> None:
    from ps3d_rt.cli.progress import warn  # noqa: PLC0415 - keeps --help fast

    size = " × ".join(map(str, case.shape))
    typer.echo(
        f"{case.name}: {size} voxels, {case.particles} particles, "
        f"core {case.core_share:.1%}, border {case.border_share:.1%}"
        + (f", labelled {case.labelled_share:.1%}" if case.labelled_share < 1 else ""),
        err=True,
    )
    warn(*case.warnings)
