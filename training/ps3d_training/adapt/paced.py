"""A training of so many minutes: one epoch is timed, then as many follow as fit. Started again, it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ps3d_training.schedule import Epoch
from ps3d_training.training import TrainingRun, train

PACE = "pace.json"
FEWEST_EPOCHS = 2


def train_for(run: TrainingRun, minutes: float, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Path:
    """Train for about ``minutes``; the learning rate falls to 0 within them.

    How long an epoch takes is kept beside the training: a run that goes on has the length it began with.

    Args:
        run: its schedule says all but the number of epochs.
        minutes: of training, over all calls.
        on_epoch: called after every epoch.

    Returns:
        The checkpoint.

    Raises:
        InputError: as :func:`ps3d_training.training.train`.
        InterruptedRun: when stopped by the keyboard.
    """
    pace = run.out / PACE
    if not pace.is_file():
        seconds: list[float] = []

        def first(epoch: Epoch) -> None:
            seconds.append(epoch.seconds)
            on_epoch(replace(epoch, of=epochs_in(minutes, epoch.seconds)))

        train(replace(run, schedule=replace(run.schedule, epochs=1)), first)
        if not seconds:  # stopped between its first epoch and the line below: no length was chosen, so the fewest
            seconds.append(60 * minutes)
        pace.write_text(json.dumps({"epochs": epochs_in(minutes, seconds[0])}) + "\n", encoding="utf-8")
    epochs = int(json.loads(pace.read_text(encoding="utf-8"))["epochs"])
    return train(replace(run, schedule=replace(run.schedule, epochs=epochs)), on_epoch)


def epochs_in(minutes: float, seconds: float) -> int:
    """Count the epochs that fit.

    >>> epochs_in(20, 30.0), epochs_in(1, 300.0)
    (40, 2)
    """
    return max(FEWEST_EPOCHS, int(60 * minutes / max(seconds, 1e-3)))
