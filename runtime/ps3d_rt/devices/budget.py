"""Memory of devices, planned before a run: what it may take, and what it will take."""

from __future__ import annotations

from dataclasses import dataclass

from ps3d_rt.core.grid import Zyx


@dataclass(frozen=True, kw_only=True)
class RunBudget:
    """What a run may take, and how it is to be cut."""

    memory_bytes: int
    """Of the machine."""
    gpu_memory_bytes: int
    """Of each GPU."""
    workers: int
    """Processes on the CPU."""
    chunk: Zyx
    """The largest chunk wanted, whole shards, voxels."""
    shard: Zyx
    """What a task writes whole, voxels."""


@dataclass(frozen=True, kw_only=True)
class DeviceBudget:
    """How a device spends it."""

    processes: int
    """That run sweeps of the network at a time."""
    sweep_bytes: int
    """For the planes of a sweep."""
    host_sweeps: int
    """Sweeps at a time whose planes lie in the machine's memory."""
    chunk: Zyx
    """Voxels, whole shards."""
    chunks_at_once: int
    """Chunks at a time that a process can work on."""


@dataclass(frozen=True, kw_only=True)
class RunNeeds:
    """What a run holds at a time."""

    sweep_bytes: int
    """The planes of the widest sweep."""
    slab_bytes: int
    """A slab of the scan and what the network makes of it."""
    chunk_voxels: int
    """A chunk with its halo."""
    chunks: int
    """At a time in a process."""
    processes: int
    base_bytes: int
    """Of the processes on the CPU, whatever they do."""
    tasks_bytes: int
    """Peak of all that is not the network, with ``base_bytes``, if all of it is in the machine's memory."""
    network_bytes: int
    """Of the engine, in the memory of its device."""
