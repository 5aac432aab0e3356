"""One NVIDIA GPU through CuPy: which stream a thread uses, how data goes there and back, how much memory is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import local
from typing import Any, ClassVar, cast, final

from ps3d_rt.core.arrays import gpu_index, namespace_of
from ps3d_rt.devices.base import Device
from ps3d_rt.devices.gpus import find_gpu, load_cupy
from ps3d_rt.errors import CapabilityError
from ps3d_rt.workers import Workers, usable_cores

_mine = local()


@final
@dataclass(frozen=True)
class GpuDevice(Device):
    """CuPy arrays on ``cuda:N``."""

    name: str
    batches_per_call: ClassVar[int] = 1
    """One batch fills the GPU, and more would hold more memory."""

    @property
    def index(self) -> int:
        """Its number."""
        return cast(int, gpu_index(self.name))

    @property
    def namespace(self) -> Any:
        """CuPy."""
        return namespace_of(self.name)

    def check(self) -> None:
        """Ask the driver for the GPU, and let CuPy open it."""
        load_cupy(find_gpu(self.name))

    def active(self) -> AbstractContextManager[object]:
        """Make it CUDA's current device in this thread."""
        return cast(AbstractContextManager[object], self.namespace.cuda.Device(self.index))

    def start(self) -> None:
        """Use the GPU on a stream of this thread."""
        if getattr(_mine, "device", None) == self.name:
            return
        cuda = self.namespace.cuda
        try:
            cuda.Device(self.index).use()
            _mine.stream = cuda.Stream(non_blocking=True)
        except cuda.runtime.CUDARuntimeError as error:
            raise CapabilityError(f"{self.name} cannot be used ({error}); ps3d-rt doctor lists the GPUs.") from error
        _mine.stream.use()
        _mine.device = self.name

    def finish(self) -> None:
        """Wait for the stream of this thread."""
        _mine.stream.synchronize()

    def upload(self, array: Any) -> Any:
        """Copy an array to the GPU, on this thread's current stream."""
        with self.active():
            return self.namespace.asarray(array)

    @contextmanager
    def limited(self, limit_bytes: int) -> Iterator[None]:
        """Limit CuPy's pool, and with it engines that take their memory from there."""
        pool = self.namespace.get_default_memory_pool()
        with self.active():
            before = pool.get_limit()
            pool.set_limit(size=limit_bytes)
        try:
            with self.explained(limit_bytes):
                yield
        finally:
            with self.active():
                pool.set_limit(size=before)
                pool.free_all_blocks()

    def keep_within(self, limit_bytes: int) -> None:
        """Limit CuPy's pool for as long as this process lives."""
        self.namespace.get_default_memory_pool().set_limit(size=limit_bytes)

    @contextmanager
    def explained(self, limit_bytes: int) -> Iterator[None]:
        """Say what to do when memory does not suffice.

        Raises:
            CapabilityError: if it does not.
        """
        try:
            yield
        except self.namespace.cuda.memory.OutOfMemoryError as error:
            raise CapabilityError(
                f"{self.name}: {limit_bytes / 2**30:.1f} GiB of its memory are not enough, or not free ({error}); "
                "close what else uses the GPU, raise --gpu-memory, or pass a smaller --chunk."
            ) from error

    def chunk_workers(self, workers: Workers, at_once: int, threads: int | None) -> AbstractContextManager[Workers]:
        """Make no more threads than chunks fit: memory that one of them frees serves no other."""
        return Workers(threads=min(at_once, threads or usable_cores()))
