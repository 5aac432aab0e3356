"""How long and how fast a run goes, and what it says after every epoch. No torch here: commands load it at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from ps3d_rt.errors import InputError
from ps3d_training.augment.presets import PRESETS

LEARNING_RATES = {"adamw": 1e-3, "sgd": 1e-2}
"""Optimizer → learning rate it starts with. ``sgd`` with all that belongs to it is nnU-Net's."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to."""

    number: int
    """Counted from 1."""
    of: int
    train_loss: float
    """Cross-entropy minus Dice: −1 is perfect."""
    validation_loss: float
    dice: tuple[float, ...]
    """Core and border, over the validation patches: a sign of progress, not a score."""
    f1_instance: float | None
    """Of a whole validation sample; None in the epochs between."""
    seconds: float
    data_wait_seconds: float
    """Of those, spent waiting for patches."""
    step_seconds: float
    """A training step, mean, waiting included."""
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast. Only the optimizer is fixed by a checkpoint: a run can be made longer later."""

    epochs: int = 100
    steps_per_epoch: int = 250
    validation_steps: int = 20
    validate_every: int = 10
    """Epochs from one segmented validation sample to the next; the last epoch has one too. 0: never."""
    optimizer: str = "adamw"
    """``adamw``: falls along a half cosine; ``sgd``: Nesterov momentum, falls along nnU-Net's polynomial."""
    learning_rate: float | None = None
    """At the start; None: what :data:`LEARNING_RATES` has for the optimizer."""
    freeze_norm: int | None = None
    """Epochs after which a batch norm uses the statistics of all it has seen, as in inference, and no longer those of
    its batch: what a patch shows then depends on its own voxels alone. None: never."""
    augmentation: str = "fast"
    """Preset by which patches are varied: a key of :data:`ps3d_training.augment.presets.PRESETS`."""
    weighted: bool = False
    """Whether small particles and contacts weigh more in the loss: :mod:`ps3d_training.weights`."""
    workers: int | None = None
    """Processes that make patches beside the training; 0 makes them in between; None: one, more for a GPU."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in LEARNING_RATES:
            raise InputError(f"optimizer is {self.optimizer!r}; it is {' or '.join(LEARNING_RATES)}.")
        if self.augmentation not in PRESETS:
            raise InputError(f"augmentation is {self.augmentation!r}; it is one of {', '.join(PRESETS)}.")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise InputError(f"learning rate is {self.learning_rate}; it must be above 0.")

    def learning_rate_at(self, epoch: int) -> float:
        """Give the learning rate of an epoch, counted from 0: near 0 in the last one.

        It follows from the epoch alone, so that a longer run only needs another ``epochs``.

        >>> schedule = Schedule(epochs=100, optimizer="sgd")
        >>> [round(schedule.learning_rate_at(epoch), 6) for epoch in (0, 50, 99)]
        [0.01, 0.005359, 0.000158]
        """
        done = epoch / self.epochs
        start = self.learning_rate if self.learning_rate is not None else LEARNING_RATES[self.optimizer]
        return start * (0.5 * (1 + cos(pi * done)) if self.optimizer == "adamw" else (1 - done) ** 0.9)

    def validates(self, epoch: int) -> bool:
        """Whether a sample is segmented after an epoch, counted from 0.

        >>> [epoch for epoch in range(25) if Schedule(epochs=25).validates(epoch)]
        [9, 19, 24]
        """
        if self.validate_every == 0:
            return False
        return (epoch + 1) % self.validate_every == 0 or epoch + 1 == self.epochs
