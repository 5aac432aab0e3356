"""Several GPUs: each has a process that sees no other GPU. The rest of a run does not know that there are several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ps3d_rt.core.arrays import gpu_index
from ps3d_rt.devices import gpus
from ps3d_rt.devices.gpu import GpuDevice
from ps3d_rt.errors import InputError
from ps3d_rt.workers import Mapper, Workers

ONLY_GPU = "cuda:0"
"""The GPU of a process that was started to work on one of several: it sees no other."""


def find_devices(device: str) -> tuple[str, ...]:
    """Take apart what a run is to work on: one device, or several GPUs of one kind.

    Args:
        device: ``auto``, ``cpu``, ``cuda:N``, several GPUs as ``cuda:0,cuda:1``, or ``cuda:all``.

    Returns:
        Each by its name; ``auto``, ``cpu`` and ``cuda:N`` as they are, and not looked for.

    Raises:
        CapabilityError: if one of several GPUs is not there.
        InputError: if the text is none of these, names a GPU twice, or the GPUs differ: then labels would depend on
            which GPU did what.
    """
    names = tuple(device.split(","))
    if device == "cuda:all":
        names = tuple(gpu.device for gpu in gpus.find_gpus())
    if len(names) == 1:
        return names
    if None in map(gpu_index, names) or len(set(names)) < len(names):
        raise InputError(f"device is {device!r}; several devices are GPUs, each named once: cuda:0,cuda:1.")
    kinds = {name: gpus.find_gpu(name).identity for name in names}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise InputError(
            f"the GPUs of one run must be of one kind; these are {listed}. Name one GPU, or GPUs of one kind."
        )
    return names


def environment_of(device: str, visible: str | None) -> dict[str, str]:
    """Give the environment of a process that sees one GPU only, as :data:`ONLY_GPU`.

    Args:
        device: ``cuda:N``, as this process numbers its GPUs.
        visible: CUDA_VISIBLE_DEVICES of this process; None: not set.

    >>> environment_of("cuda:1", None), environment_of("cuda:1", "4,6")
    ({'CUDA_VISIBLE_DEVICES': '1'}, {'CUDA_VISIBLE_DEVICES': '6'})
    """
    number = gpu_index(device) or 0
    return {"CUDA_VISIBLE_DEVICES": str(number) if visible is None else visible.split(",")[number].strip()}


@dataclass(frozen=True)
class GpuProcesses:
    """Processes that have a GPU each, under the name :data:`ONLY_GPU`; CuPy's memory stays within a limit there."""

    workers: Mapper
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
        return self.workers.map(
            LimitedTask(task, GpuDevice(ONLY_GPU), self.limit_bytes), items, on_progress, at_once=at_once
        )


@dataclass(frozen=True)
class LimitedTask:
    """A task for such a process: the limit holds there from the first one on."""

    task: Callable[[Any], Any]
    device: GpuDevice
    limit_bytes: int

    def __call__(self, item: Any) -> Any:
        """Do the task.

        Raises:
            CapabilityError: if it needs more memory.
        """
        self.device.start()
        self.device.keep_within(self.limit_bytes)
        with self.device.explained(self.limit_bytes):
            return self.task(item)


@contextmanager
def gpu_processes(devices: tuple[str, ...], limit_bytes: int) -> Iterator[GpuProcesses]:
    """Start a process for each of several GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    with Workers(len(devices), variables=[environment_of(device, visible) for device in devices]) as workers:
        yield GpuProcesses(workers, limit_bytes)
