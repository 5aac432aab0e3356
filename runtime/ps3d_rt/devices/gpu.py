"""One NVIDIA GPU through CuPy: which stream a thread uses, how data goes there and back, how much memory is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import ceil, prod
from threading import local
from typing import Any, ClassVar, cast, final

from ps3d_rt.core.arrays import gpu_index, namespace_of
from ps3d_rt.core.grid import Zyx
from ps3d_rt.devices.base import Device
from ps3d_rt.devices.budget import DeviceBudget, RunBudget, RunNeeds
from ps3d_rt.devices.gpus import find_gpu, load_cupy
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.memory import HALO
from ps3d_rt.workers import Workers, usable_cores

BYTES_PER_VOXEL = 36
"""Of a chunk with its halo: labels, roots, two numberings and what is made in between; all voxels free."""
HOST_BYTES_PER_VOXEL = 10
"""Of a chunk with its halo on its way to a GPU and back, in pinned memory; not measured."""
HOST_BASE_BYTES = 2 * 2**30
"""Of a process with CUDA, CuPy and an engine for a GPU; not measured."""

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
                f"{self.name}: {limit_bytes / 2**30:.1f} GiB of its memory are too little, or are not free ({error}); "
                "close what else uses the GPU, raise --gpu-memory, or pass a smaller --chunk."
            ) from error

    def budget(self, run: RunBudget) -> DeviceBudget:
        """Spend the GPU's memory.

        Half goes to the planes of a sweep, a quarter to the network. Chunks are put together after all sweeps and may
        take half too. The rest is for what was freed in pieces too small to use again.

        >>> shard = (64, 256, 256)
        >>> run = RunBudget(memory_bytes=0, gpu_memory_bytes=4 * 2**30, workers=1, chunk=(256, 256, 256), shard=shard)
        >>> spent = GpuDevice("cuda:0").budget(run)
        >>> spent.sweep_bytes, spent.chunk, spent.chunks_at_once
        (2147483648, (256, 256, 256), 2)
        """
        if run.workers > 1:
            raise InputError(
                f"workers is {run.workers}, but a GPU is used by one process, and more are of no use; "
                "leave out --workers, use several GPUs (--device cuda:0,cuda:1), or the CPU (--device cpu)."
            )
        half, shard = run.gpu_memory_bytes // 2, run.shard
        z, y, x = run.chunk
        while z > shard[0] and _chunk_bytes((z, y, x)) > half:
            z -= shard[0]
        while y > shard[1] and _chunk_bytes((z, y, x)) > half:
            y, x = y - shard[1], x - shard[2]
        at_once = half // _chunk_bytes((z, y, x))
        if at_once < 1:
            raise InputError(
                f"a budget of {run.gpu_memory_bytes / 2**30:.2f} GiB of GPU memory holds no chunk of {(z, y, x)} "
                f"voxels; pass --gpu-memory {ceil(2 * _chunk_bytes(shard) / 2**30)} or more, or use --device cpu."
            )
        return DeviceBudget(processes=1, sweep_bytes=half, host_sweeps=0, chunk=(z, y, x), chunks_at_once=at_once)

    def host_peak_bytes(self, needs: RunNeeds) -> int:
        """Slabs of the scan that are read, and the classes and scores that are written; all else is on the GPU."""
        chunks = needs.chunks * needs.chunk_voxels * HOST_BYTES_PER_VOXEL
        return needs.processes * (HOST_BASE_BYTES + max(needs.slab_bytes, chunks))

    def peak_bytes(self, needs: RunNeeds) -> int:
        """Add the network to the planes of a sweep, or to chunks."""
        chunks = needs.chunks * needs.chunk_voxels * BYTES_PER_VOXEL
        return needs.network_bytes + max(needs.sweep_bytes, chunks)

    def chunk_workers(self, workers: Workers, at_once: int, threads: int | None) -> AbstractContextManager[Workers]:
        """Make no more threads than chunks fit: memory that one of them frees serves no other."""
        return Workers(threads=min(at_once, threads or usable_cores()))


def _chunk_bytes(chunk: Zyx) -> int:
    return prod(n + 2 * HALO for n in chunk) * BYTES_PER_VOXEL
