"""Work on a GPU: which stream a thread uses, how data goes there and back, how much memory is taken.

Every thread that works on a GPU has a stream of its own. So copies of one thread and kernels of another overlap, and
what a thread frees is used again by itself only. Arrays pass between threads under one rule: who hands one over, and
who lets go of one that came from another thread, waits for its own stream first (:func:`finish`).

On a CPU all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import local
from typing import Any

from numpy.typing import DTypeLike

from ps3d_rt.core.arrays import asnumpy, gpu_index, namespace_of
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError
from ps3d_rt.stages.storage import Store

_mine = local()


def use(device: str) -> None:
    """Let this thread, which is ours, work on ``device`` from now on, on a stream of its own.

    Raises:
        CapabilityError: if CuPy or the GPU is not there.
    """
    gpu = gpu_index(device)
    if gpu is None or getattr(_mine, "device", None) == device:
        return
    xp = namespace_of(device)
    try:
        xp.cuda.Device(gpu).use()
        _mine.stream = xp.cuda.Stream(non_blocking=True)
    except xp.cuda.runtime.CUDARuntimeError as error:
        raise CapabilityError(f"{device} cannot be used ({error}); ps3d-rt doctor lists the GPUs.") from error
    _mine.stream.use()
    _mine.device = device


def finish(device: str) -> None:
    """Wait for all that this thread has asked of ``device``."""
    if gpu_index(device) is not None:
        _mine.stream.synchronize()


@contextmanager
def memory_limit(device: str, limit_bytes: int) -> Iterator[None]:
    """Keep CuPy's memory on a GPU, and with it that of engines which take theirs from CuPy, within a limit.

    Raises:
        CapabilityError: if what is done inside needs more.
    """
    gpu = gpu_index(device)
    if gpu is None:
        yield
        return
    xp = namespace_of(device)
    pool = xp.get_default_memory_pool()
    with xp.cuda.Device(gpu):
        before = pool.get_limit()
        pool.set_limit(size=limit_bytes)
    try:
        with _explained(xp, device, limit_bytes):
            yield
    finally:
        with xp.cuda.Device(gpu):
            pool.set_limit(size=before)
            pool.free_all_blocks()


@contextmanager
def _explained(xp: Any, device: str, limit_bytes: int) -> Iterator[None]:
    try:
        yield
    except xp.cuda.memory.OutOfMemoryError as error:
        raise CapabilityError(
            f"{device}: {limit_bytes / 2**30:.1f} GiB of its memory are not enough, or not free ({error}); "
            "close what else uses the GPU, raise --gpu-memory, or pass a smaller --chunk."
        ) from error


@dataclass(frozen=True)
class LimitedTask:
    """A task for processes that have a GPU each: there, CuPy's memory stays within a limit from the first one on."""

    task: Callable[[Any], Any]
    device: str
    limit_bytes: int

    def __call__(self, item: Any) -> Any:
        """Do the task.

        Raises:
            CapabilityError: if it needs more memory.
        """
        use(self.device)
        xp = namespace_of(self.device)
        xp.get_default_memory_pool().set_limit(size=self.limit_bytes)
        with _explained(xp, self.device, self.limit_bytes):
            return self.task(item)


@dataclass(frozen=True)
class DeviceStore:
    """A store whose arrays are on a GPU while a task has them: reads go up, writes come back."""

    store: Store
    device: str

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make sure that ``name`` is there."""
        self.store.create(name, dtype)

    def read(self, name: str, box: Box) -> Any:
        """Return the values of ``name`` in ``box`` as an array on the GPU."""
        use(self.device)
        return namespace_of(self.device).asarray(self.store.read(name, box))

    def write(self, name: str, box: Box, values: Any) -> None:
        """Set the values of ``name`` in ``box``."""
        self.store.write(name, box, asnumpy(values))
