"""What moves the weights: an optimizer with its pace, and the moving average that is exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.optim.swa_utils import AveragedModel

from ps3d_training.schedule import Schedule

AVERAGE_DECAY = 0.999


def make_optimizer(schedule: Schedule, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Build the optimizer that ``schedule`` names; weight decay and momentum belong to it."""
    rate = schedule.learning_rate_at(0)
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=1e-2, fused=True)
    return torch.optim.SGD(parameters, rate, momentum=0.99, nesterov=True, weight_decay=3e-5)


class RatePerEpoch:
    """Sets the learning rate of an epoch, in the place of a scheduler of torch."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
        self.optimizer, self.schedule = optimizer, schedule

    def step(self, epoch: int) -> None:
        """Set the learning rate of ``epoch``, counted from 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate_at(epoch)


def averaged(network: torch.nn.Module) -> AveragedModel:
    """Start a moving average of ``network``: weights and, where it has a batch norm, its mean and variance."""
    return AveragedModel(network, multi_avg_fn=_average, use_buffers=True)


def _average(averages: Sequence[torch.Tensor], current: Sequence[torch.Tensor], steps: torch.Tensor | int) -> None:
    """Move every average towards the current value; at first faster, to forget the initial weights."""
    share = max(1 - AVERAGE_DECAY, 9 / (10 + int(steps)))
    for average, value in zip(averages, current, strict=True):
        if average.is_floating_point():
            average.lerp_(value, share)
        else:  # a batch norm counts its batches
            average.copy_(value)
