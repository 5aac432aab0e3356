"""The options of ``ps3d-rt train run``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Annotated

import typer

from ps3d_training.plan import TrainingPlan
from ps3d_training.schedule import Schedule

PLAN, SCHEDULE = TrainingPlan(), Schedule()

about_length = partial(typer.Option, rich_help_panel="Length")
about_network = partial(typer.Option, rich_help_panel="Network")
about_learning = partial(typer.Option, rich_help_panel="Learning")
about_machine = partial(typer.Option, rich_help_panel="Machine")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """As they were typed; :meth:`on` and :meth:`schedule` make of them what the training takes."""

    epochs: Annotated[int, about_length(help="Length of the run; a finished one can be made longer.", min=1)] = (
        SCHEDULE.epochs
    )
    steps: Annotated[int | None, about_length(help="Length in steps instead, rounded up to epochs.", min=1)] = None
    steps_per_epoch: Annotated[int, about_length(help="A checkpoint is written after each epoch.", min=1)] = (
        SCHEDULE.steps_per_epoch
    )
    validate_every: Annotated[
        int, about_length(help="Epochs between segmentations of a validation sample; 0: never.", min=0)
    ] = SCHEDULE.validate_every

    patch: Annotated[int, about_network(help="Side of a training patch, voxels.", min=1)] = PLAN.patch[0]
    width: Annotated[int, about_network(help="Features of the first stage.", min=1)] = PLAN.width
    stages: Annotated[int, about_network(help="Resolutions of the network.", min=1)] = PLAN.stages
    norm: Annotated[str, about_network(help="instance, or batch: a little faster once exported.")] = PLAN.norm
    freeze_norm: Annotated[
        int | None,
        about_network(help="Epochs after which a batch norm keeps its statistics, as in inference.", min=0),
    ] = SCHEDULE.freeze_norm
    deep_supervision: Annotated[bool, about_network(help="Also train the coarser outputs.")] = PLAN.deep_supervision
    init: Annotated[
        Path | None,
        about_network(help="Start from the weights of a checkpoint, a training's folder, a bundle or a bundled model."),
    ] = None

    fold: Annotated[str, about_learning(help="Fold to validate on, 0 to 4; all: train on everything.")] = "0"
    batch: Annotated[int, about_learning(help="Patches a step.", min=1)] = PLAN.batch
    optimizer: Annotated[str, about_learning(help="adamw, or sgd: nnU-Net's schedule.")] = SCHEDULE.optimizer
    learning_rate: Annotated[
        float | None, about_learning(help="At the start; falls to 0 over the run. Not given: 0.001, with sgd 0.01.")
    ] = SCHEDULE.learning_rate
    augmentation: Annotated[
        str, about_learning(help="How patches are varied: fast, gentle on gray values, or as published.")
    ] = SCHEDULE.augmentation
    weighted: Annotated[
        bool, about_learning("--weighted", help="Small particles and contacts weigh more in the loss.")
    ] = SCHEDULE.weighted
    seed: Annotated[int, about_learning(help="Of the weights and the patches.")] = SCHEDULE.seed

    workers: Annotated[int | None, about_machine(help="Processes that make patches; 0: none.", min=0)] = None
    threads: Annotated[int | None, about_machine(help="CPU threads of the training; one a core if not given.")] = None
    device: Annotated[str, about_machine(help="auto, cpu or cuda.")] = "auto"

    def on(self, prepared: TrainingPlan) -> TrainingPlan:
        """Give the plan of the prepared samples the network that is asked for."""
        return replace(
            prepared,
            patch=(self.patch,) * 3,
            width=self.width,
            stages=self.stages,
            batch=self.batch,
            deep_supervision=self.deep_supervision,
            norm=self.norm,
        )

    def schedule(self) -> Schedule:
        """How long is trained, and how."""
        return Schedule(
            epochs=self.epochs if self.steps is None else ceil(self.steps / self.steps_per_epoch),
            steps_per_epoch=self.steps_per_epoch,
            validate_every=self.validate_every,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            freeze_norm=self.freeze_norm,
            augmentation=self.augmentation,
            weighted=self.weighted,
            workers=self.workers,
            seed=self.seed,
        )
