"""A training of seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ps3d_training.plan import TrainingPlan
from ps3d_training.schedule import Schedule
from ps3d_training.training import TrainingRun

PLAN = TrainingPlan(target_size_voxels=8, border_thickness_voxels=1.0, patch=(16, 16, 16), stages=2, width=4)
SCHEDULE = Schedule(epochs=2, steps_per_epoch=3, validation_steps=2, workers=0)


def run_of(prepared: Path, out: Path, **schedule: Any) -> TrainingRun:
    return TrainingRun(
        prepared=prepared, out=out, plan=PLAN, schedule=replace(SCHEDULE, **schedule), device="cpu", threads=1
    )
