"""Devices: where a run computes. Stages get a :class:`Device` and never ask what it is.

base.py        what every device is
cpu.py         the CPU: its arrays are NumPy arrays, its memory is the machine's
gpu.py         one NVIDIA GPU: a stream a thread, CuPy's memory pool, a budget of its own
gpu_volume.py  a scan that lies on a GPU already
gpus.py        which GPUs are there
budget.py      memory, planned before a run
placement.py   who does what in a run
several.py     all that several GPUs need beside that: a process each
"""

from __future__ import annotations

from ps3d_rt.core.arrays import gpu_index
from ps3d_rt.devices.base import Device
from ps3d_rt.devices.cpu import CpuDevice
from ps3d_rt.devices.gpu import GpuDevice

__all__ = ["CpuDevice", "Device", "GpuDevice", "device_named"]


def device_named(name: str) -> Device:
    """Give the device of ``cpu`` or ``cuda:N``; whether it is there shows when it is used.

    Raises:
        InputError: if it is neither.

    >>> device_named("cpu").name, device_named("cuda:1").name
    ('cpu', 'cuda:1')
    """
    return CpuDevice() if gpu_index(name) is None else GpuDevice(name)
