"""``ps3d-rt train``: prepare labelled samples, train on them, export what was learned."""

from __future__ import annotations

import signal
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ps3d_training.plan import GRAY_CEILING, GRAY_FLOOR, TrainingPlan
from ps3d_training.schedule import Epoch, Schedule

if TYPE_CHECKING:
    from ps3d_training.dataset import PreparedCase

app = typer.Typer(help="Train a model on labelled volumes.", no_args_is_help=True)
PLAN, SCHEDULE = TrainingPlan(), Schedule()


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
    ] = PLAN.gray_scheme,
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
def run(
    prepared: Annotated[Path, typer.Argument(help="Made by: ps3d-rt train prepare.")],
    out: Annotated[Path, typer.Argument(help="Receives the checkpoints. Given again, the run goes on there.")],
    fold: Annotated[str, typer.Option(help="Fold to validate on, 0 to 4; all: train on everything.")] = "0",
    epochs: Annotated[int, typer.Option(help="Length of the run; a finished one can be made longer.", min=1)] = (
        SCHEDULE.epochs
    ),
    steps: Annotated[int | None, typer.Option(help="Length in steps instead, rounded up to epochs.", min=1)] = None,
    steps_per_epoch: Annotated[int, typer.Option(help="A checkpoint is written after each epoch.", min=1)] = (
        SCHEDULE.steps_per_epoch
    ),
    patch: Annotated[int, typer.Option(help="Side of a training patch, voxels.", min=1)] = PLAN.patch[0],
    width: Annotated[int, typer.Option(help="Features of the first stage.", min=1)] = PLAN.width,
    stages: Annotated[int, typer.Option(help="Resolutions of the network.", min=1)] = PLAN.stages,
    batch: Annotated[int, typer.Option(help="Patches a step.", min=1)] = PLAN.batch,
    norm: Annotated[str, typer.Option(help="instance, or batch: a little faster once exported.")] = PLAN.norm,
    freeze_norm: Annotated[
        int | None,
        typer.Option(help="Epochs after which a batch norm keeps its statistics, as in inference.", min=0),
    ] = SCHEDULE.freeze_norm,
    deep_supervision: Annotated[bool, typer.Option(help="Also train the coarser outputs.")] = PLAN.deep_supervision,
    optimizer: Annotated[str, typer.Option(help="adamw, or sgd: nnU-Net's schedule.")] = SCHEDULE.optimizer,
    learning_rate: Annotated[
        float | None, typer.Option(help="At the start; falls to 0 over the run. Not given: 0.001, with sgd 0.01.")
    ] = SCHEDULE.learning_rate,
    augmentation: Annotated[
        str, typer.Option(help="How patches are varied: fast, gentle on gray values, or as published.")
    ] = SCHEDULE.augmentation,
    weighted: Annotated[
        bool, typer.Option("--weighted", help="Small particles and contacts weigh more in the loss.")
    ] = SCHEDULE.weighted,
    init: Annotated[
        Path | None,
        typer.Option(help="Start from the weights of a checkpoint, a training's folder, a bundle or a bundled model."),
    ] = None,
    validate_every: Annotated[
        int, typer.Option(help="Epochs between segmentations of a validation sample; 0: never.", min=0)
    ] = SCHEDULE.validate_every,
    workers: Annotated[int | None, typer.Option(help="Processes that make patches; 0: none.", min=0)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the training; one a core if not given.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the weights and the patches.")] = SCHEDULE.seed,
) -> None:
    """Train. A killed run, started again, goes on after its last epoch.

    Example: ps3d-rt train run prepared model --epochs 100
    """
    from ps3d_training import training  # noqa: PLC0415 - heavy

    plan = replace(
        training.prepared_plan(prepared),
        patch=(patch, patch, patch),
        width=width,
        stages=stages,
        batch=batch,
        deep_supervision=deep_supervision,
        norm=norm,
    )
    schedule = Schedule(
        epochs=epochs if steps is None else ceil(steps / steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        validate_every=validate_every,
        optimizer=optimizer,
        learning_rate=learning_rate,
        freeze_norm=freeze_norm,
        augmentation=augmentation,
        weighted=weighted,
        workers=workers,
        seed=seed,
    )
    job = training.TrainingRun(
        prepared=prepared, out=out, plan=plan, schedule=schedule, fold=fold, init=init, device=device, threads=threads
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped batch job ends as Ctrl-C does
    typer.echo(training.train(job, _say_epoch))


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
        trained, bundle, patch=(patch, patch, patch), settings=given, licence=licence, overwrite=overwrite
    )
    typer.echo(written.path)


def _say_case(case: PreparedCase) -> None:
    from ps3d_rt.cli.progress import warn  # noqa: PLC0415 - keeps --help fast

    size = " × ".join(map(str, case.shape))
    typer.echo(
        f"{case.name}: {size} voxels, {case.particles} particles, "
        f"core {case.core_share:.1%}, border {case.border_share:.1%}",
        err=True,
    )
    warn(*case.warnings)


def _say_epoch(epoch: Epoch) -> None:
    core, border = epoch.dice
    particles = "" if epoch.f1_instance is None else f"F1_instance {epoch.f1_instance:.4f}  "
    typer.echo(
        f"epoch {epoch.number}/{epoch.of}  loss {epoch.train_loss:.4f}  validation {epoch.validation_loss:.4f}  "
        f"dice core {core:.4f} border {border:.4f}  {particles}{epoch.seconds:.1f} s  "
        f"{epoch.step_seconds:.3f} s/step  waited {epoch.data_wait_seconds:.1f} s  lr {epoch.learning_rate:.2e}",
        err=True,
    )
