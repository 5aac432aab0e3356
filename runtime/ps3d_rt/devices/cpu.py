"""The CPU as a device: NumPy arrays in the machine's memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, final

import numpy as np

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.core.grid import Zyx
from ps3d_rt.devices.base import Device
from ps3d_rt.devices.budget import DeviceBudget, RunBudget, RunNeeds
from ps3d_rt.memory import BASE_BYTES, SWEEP_SHARE, task_bytes
from ps3d_rt.workers import Workers


@final
@dataclass(frozen=True)
class CpuDevice(Device):
    """NumPy arrays in the machine's memory, whose budget bounds tasks, not the device."""

    name: str = "cpu"
    batches_per_call: ClassVar[int] = 2
    """Streams that end early wait for the others; more are not faster, and a run stops after a call."""

    @property
    def namespace(self) -> ModuleType:
        """NumPy."""
        return np

    def check(self) -> None:
        """Do nothing: it is there."""

    def active(self) -> AbstractContextManager[object]:
        """Do nothing: it always is."""
        return nullcontext()

    def start(self) -> None:
        """Do nothing: threads need no stream."""

    def finish(self) -> None:
        """Do nothing: what was asked is done."""

    def upload(self, array: Any) -> Any:
        """Give back a NumPy array; one that lies on a GPU is brought from there."""
        return asnumpy(array)

    def limited(self, limit_bytes: int) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def budget(self, run: RunBudget) -> DeviceBudget:
        """Spend the machine's memory: a share on sweeps; chunks as large as one task of them fits."""
        base = run.workers * BASE_BYTES
        for_sweeps = min(int(run.memory_bytes * SWEEP_SHARE), run.memory_bytes - base)
        return DeviceBudget(
            processes=run.workers,
            sweep_bytes=for_sweeps // run.workers,
            host_sweeps=run.workers,
            chunk=_chunk_that_fits(run.memory_bytes - base, run.chunk, run.shard),
            chunks_at_once=run.workers,
        )

    def host_peak_bytes(self, needs: RunNeeds) -> int:
        """Everything lies there: all sweeps, or what the hungriest of the other stages holds."""
        return max(needs.tasks_bytes, needs.base_bytes + needs.processes * needs.sweep_bytes)

    def peak_bytes(self, needs: RunNeeds) -> int:
        """Give 0."""
        return 0

    def chunk_workers(self, workers: Workers, at_once: int, threads: int | None) -> AbstractContextManager[Workers]:
        """Give back the workers: a run counts what the machine's memory holds."""
        return nullcontext(workers)


def _chunk_that_fits(budget_bytes: int, chunk: Zyx, shard: Zyx) -> Zyx:
    """Make a chunk of whole shards, less deep and then less wide if the budget does not hold a task of it."""
    z, y, x = chunk
    smaller = [(depth, y, x) for depth in range(z, 0, -shard[0])]
    smaller += [(shard[0], width, width) for width in range(y - shard[1], 0, -shard[1])]
    return next((chunk for chunk in smaller if task_bytes(chunk) <= budget_bytes), smaller[-1])
