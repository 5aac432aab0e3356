"""Which device the stages of a run use, and which workers run their tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from ps3d_rt.core.arrays import gpu_index
from ps3d_rt.devices import Device, GpuDevice, device_named
from ps3d_rt.devices.budget import DeviceBudget, RunBudget
from ps3d_rt.devices.several import ONLY_GPU, GpuProcesses, gpu_processes
from ps3d_rt.workers import Mapper, Workers


@dataclass(frozen=True)
class Placement:
    """Where the network and the particles are computed."""

    device: Device
    """As tasks see it."""
    sweeps: Mapper
    """Maps sweeps of the network."""
    chunks: Mapper
    """Maps chunks that are put together."""


def budget_of(devices: tuple[str, ...], run: RunBudget) -> DeviceBudget:
    """Spend a budget on the devices of a run: ``cpu``, ``cuda:N`` or several GPUs, which have a process each.

    Raises:
        InputError: as :meth:`Device.budget`.
    """
    budget = device_named(devices[0]).budget(run)
    return budget if len(devices) == 1 else replace(budget, processes=len(devices), chunks_at_once=1)


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """What a run may take."""

    processes: int
    """On the CPU."""
    threads: int | None
    """None: one a core."""
    chunks_at_once: int
    """Chunks that the memory of a GPU holds at a time; of no meaning on a CPU."""
    gpu_bytes: int
    """Of each GPU."""


@contextmanager
def placed(devices: tuple[str, ...], workers: Workers, run: RunLimits) -> Iterator[Placement]:
    """Place a run on its devices.

    Args:
        devices: ``cpu``, ``cuda:N`` or several GPUs.
        workers: what does the rest of the run.
        run: what the run may take.

    Raises:
        CapabilityError: if it takes more, or a GPU is not there.
    """
    if len(devices) > 1:
        with gpu_processes(devices, run.gpu_bytes) as processes:
            yield Placement(GpuDevice(ONLY_GPU), processes, processes)
        return
    device = device_named(devices[0])
    with (
        # In one process the engine has all cores or the GPU, so sweeps take turns.
        Workers(threads=1) if run.processes == 1 else nullcontext(workers) as sweeps,
        device.chunk_workers(workers, run.chunks_at_once, run.threads) as chunks,
    ):
        yield Placement(device, sweeps, chunks)


def placed_on_cluster(device: str, workers: Mapper, alone: Mapper, gpu_bytes: int) -> Placement:
    """Place a run on workers of a cluster.

    Args:
        device: of every worker: ``cpu``, or its own GPU.
        workers: does tasks that share a worker.
        alone: does tasks that need all of a worker's cores, or its GPU.
        gpu_bytes: that a run may take of a GPU.
    """
    if gpu_index(device) is None:
        return Placement(device_named(device), alone, workers)
    processes = GpuProcesses(alone, gpu_bytes)
    return Placement(GpuDevice(ONLY_GPU), processes, processes)
