"""What every device is: arrays, a stream for each thread, a budget of memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, ClassVar

from numpy.typing import NDArray

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.devices.budget import DeviceBudget, RunBudget, RunNeeds
from ps3d_rt.workers import Workers


class Device(ABC):
    """One CPU or GPU. It holds its name only: it can be pickled, and threads and processes share it.

    Every thread has a stream of its own, so copies of one thread and kernels of another overlap, and what a thread
    frees is used again by itself only. Arrays pass between threads under one rule: who hands one over, and who lets go
    of one that came from another thread, calls :meth:`finish` first. On a CPU all of this does nothing.
    """

    name: str
    """``cpu`` or ``cuda:N``."""
    batches_per_call: ClassVar[int]
    """Batches of patches that stages hand to the engine in one call."""

    @property
    @abstractmethod
    def namespace(self) -> ModuleType:
        """The module that makes arrays here: numpy or cupy.

        Raises:
            CapabilityError: if CuPy does not load.
        """

    @abstractmethod
    def check(self) -> None:
        """Make sure that the device is there.

        Raises:
            CapabilityError: saying why not.
        """

    @abstractmethod
    def active(self) -> AbstractContextManager[object]:
        """Make it the current device of this thread, and leave the streams alone."""

    @abstractmethod
    def start(self) -> None:
        """Let this thread, which is ours, work here from now on, on a stream of its own.

        Raises:
            CapabilityError: if CuPy or the GPU is not there.
        """

    @abstractmethod
    def finish(self) -> None:
        """Wait for all that this thread has asked of the device since :meth:`start`."""

    @abstractmethod
    def upload(self, array: Any) -> Any:
        """Give the values of a NumPy or CuPy array as an array of the device; one that is there already comes back."""

    def download(self, array: Any) -> NDArray[Any]:
        """Bring an array of the device to the host and wait for it; a NumPy array comes back as it is."""
        return asnumpy(array)

    @abstractmethod
    def limited(self, limit_bytes: int) -> AbstractContextManager[None]:
        """Keep the memory of the device within a limit, and release it at the end.

        Raises:
            CapabilityError: if what is done inside needs more.
        """

    @abstractmethod
    def budget(self, run: RunBudget) -> DeviceBudget:
        """Spend a budget of memory.

        Raises:
            InputError: if it is too small, or worker processes are asked for where they cannot help.
        """

    @abstractmethod
    def host_peak_bytes(self, needs: RunNeeds) -> int:
        """Forecast the peak of all processes of a run in the machine's memory."""

    @abstractmethod
    def peak_bytes(self, needs: RunNeeds) -> int:
        """Forecast the peak in memory of the device's own; 0 if it has none."""

    @abstractmethod
    def chunk_workers(self, workers: Workers, at_once: int, threads: int | None) -> AbstractContextManager[Workers]:
        """Choose who puts chunks together here.

        Args:
            workers: what does the rest of the run.
            at_once: chunks that the memory of the device holds at a time.
            threads: that a run may use; None: one a core.
        """
