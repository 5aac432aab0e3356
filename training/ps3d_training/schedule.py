"""How long a run takes, and what it says after every epoch. No torch here: commands load it at once."""

from __future__ import annotations

from dataclasses import dataclass


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
    seconds: float
    data_wait_seconds: float
    """Of those, spent waiting for patches."""
    step_seconds: float
    """A training step, mean, waiting included."""
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast. None of it is fixed by a checkpoint: a run can be made longer later."""

    epochs: int = 100
    steps_per_epoch: int = 250
    validation_steps: int = 20
    learning_rate: float = 1e-3
    workers: int | None = None
    """Processes that make patches beside the training; 0 makes them in between; None: one, more for a GPU."""
    seed: int = 0
