"""The CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, final

import numpy as np

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.devices.base import Device
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

    def chunk_workers(self, workers: Workers, at_once: int, threads: int | None) -> AbstractContextManager[Workers]:
        """Give back the workers: a run counts what the machine's memory holds."""
        return nullcontext(workers)
