"""A run on several GPUs: a process each, which knows its GPU under the name ONLY_GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ps3d_rt.engines.gpus import ONLY_GPU, environment_of
from ps3d_rt.stages.device import LimitedTask
from ps3d_rt.stages.prediction import Prediction
from ps3d_rt.workers import Workers


@dataclass(frozen=True)
class GpuProcesses:
    """Processes that have a GPU each."""

    workers: Workers
    limit_bytes: int

    def map(
        self,
        task: Callable[[Any], Any],
        items: Iterable[Any],
        on_progress: Callable[[Any], object] | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Any]:
        """Map as :meth:`ps3d_rt.workers.Workers.map` does."""
        return self.workers.map(LimitedTask(task, ONLY_GPU, self.limit_bytes), items, on_progress, at_once=at_once)


@contextmanager
def gpu_processes(prediction: Prediction) -> Iterator[GpuProcesses | None]:
    """Start a process a GPU, if there are several. What is computed on the CPU stays with the threads of this one."""
    devices = prediction.plan.devices
    if len(devices) == 1:
        yield None
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    with Workers(len(devices), variables=[environment_of(device, visible) for device in devices]) as workers:
        yield GpuProcesses(workers, prediction.config.gpu_memory_bytes)
