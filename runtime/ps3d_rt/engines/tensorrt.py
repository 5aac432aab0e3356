"""TensorRT on an NVIDIA GPU, both flavours: patches and scores are CuPy arrays and never leave the GPU.

    find in the cache or build → refuse what failed the accuracy gate → load → choose the batch → try one call

All its memory comes from CuPy's pool: the weights through an allocator, the scratch memory as an array that is
borrowed for the length of a call.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, final

from ps3d_rt.core.grid import Zyx
from ps3d_rt.devices.gpus import Gpu, find_gpu, load_cupy
from ps3d_rt.engines.base import CLASSES, Engine, EngineSpec, OnnxNetwork
from ps3d_rt.engines.batches import ALIGNMENT_BYTES, DeviceLimits, call_bytes, largest_batch, score_in_batches, try_once
from ps3d_rt.engines.cache import CachedEngine, EngineCache, EngineKey, replace_file
from ps3d_rt.engines.tensorrt_build import build_into, engine_key, load_tensorrt, log_of
from ps3d_rt.errors import CapabilityError, Ps3dError

logger = logging.getLogger(__name__)


@final
class TensorRtEngine(Engine):
    """One network on one GPU through TensorRT or TensorRT-RTX; for one stream at a time."""

    def __init__(
        self,
        network: OnnxNetwork,
        *,
        flavour: str,
        device: str = "auto",
        cache: EngineCache | None = None,
        allow_failed_gate: bool = False,
        limits: DeviceLimits | None = None,
    ) -> None:
        """Load the network's engine; the first time on a GPU, build it.

        Args:
            network: what it runs.
            flavour: ``tensorrt`` or ``tensorrt-rtx``.
            device: ``cuda:N``; ``auto`` is the first GPU.
            cache: where built engines are kept; None: the user's cache folder.
            allow_failed_gate: take an engine that failed the accuracy gate all the same.
            limits: batch and memory; None: the defaults.

        Raises:
            CapabilityError: if GPU, driver, CuPy or TensorRT is missing, the engine does not run, needs too much
                memory or failed its gate.
            InputError: if the file is not such a network.
        """
        self._gpu = find_gpu(device)
        self._trt, self._cupy = load_tensorrt(flavour), load_cupy(self._gpu)
        key = engine_key(network.path, flavour=flavour, patch=network.patch, precision=network.precision, gpu=self._gpu)
        check_alignment(network.patch)
        with self._cupy.cuda.Device(self._gpu.index):
            self._runtime = self._trt.Runtime(log_of(self._trt))
            self._allocator = pool_allocator(self._trt, self._cupy)
            self._runtime.gpu_allocator = self._allocator
            cached, self._engine = self._load(cache or EngineCache(), key, network.path, allow_failed=allow_failed_gate)
            self.spec = self._prepare(cached, key, limits or DeviceLimits())
            with self._cupy.cuda.Stream(non_blocking=True):  # on the default stream TensorRT waits for all others
                # RuntimeError: what CuPy makes of CUDA's errors.
                try_once(self._cupy, self.spec, self._infer, (Ps3dError, RuntimeError))
            if self._kernels is not None:
                replace_file(kernels_path(cached, self._gpu), bytes(self._kernels.serialize()))
            if limits is not None and limits.cuda_graph:
                self._capture()

    def _load(
        self, cache: EngineCache, key: EngineKey, onnx_path: Path, *, allow_failed: bool
    ) -> tuple[CachedEngine, Any]:
        """Load the engine of the cache; build it if there is none, or if it does not load any more."""
        log = log_of(self._trt)
        cached = cache.find(key)
        if cached is not None:
            check_gate(cached, allow_failed=allow_failed)
            engine = self._runtime.deserialize_cuda_engine(cached.path.read_bytes())
            if engine is not None:
                return cached, engine
            logger.warning("%s does not load (%s); the engine is built again", cached.path, log.error)
        cached = build_into(cache, key, onnx_path)
        engine = self._runtime.deserialize_cuda_engine(cached.path.read_bytes())
        if engine is None:
            raise CapabilityError(f"{key.flavour} {key.version} does not run on {self._gpu.identity}: {log.error}")
        return cached, engine

    def _prepare(self, cached: CachedEngine, key: EngineKey, limits: DeviceLimits) -> EngineSpec:
        """Choose the batch and make what runs it."""
        engine, trt, stream = self._engine, self._trt, self._cupy.cuda.Stream(non_blocking=True)
        scratch = {b: engine.get_device_memory_size_for_profile_v2(i) for i, b in enumerate(key.batches)}
        weights = cached.path.stat().st_size
        needs = {b: weights + scratch[b] + call_bytes(b, key.patch) for b in key.batches}
        batch = largest_batch(needs, limits)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        self._kernels = _kernels(config, cached, self._gpu) if key.flavour == "tensorrt-rtx" else None
        self._context = engine.create_execution_context(config)
        if self._context is None:
            raise CapabilityError(f"{key.flavour} cannot start on {self._gpu.identity}: {log_of(trt).error}")
        self._context.set_optimization_profile_async(key.batches.index(batch), stream.ptr)
        stream.synchronize()
        self._patches, self._scores = _tensor_names(trt, engine)
        self._context.set_input_shape(self._patches, (batch, 1, *key.patch))
        self._scratch_bytes, self._graph = scratch[batch], None
        return EngineSpec(
            name=key.flavour,
            patch=key.patch,
            device=self._gpu.device,
            precision=arithmetic(cached.manifest["facts"]["precision"], self._gpu),
            batch=batch,
            memory_bytes=needs[batch],
        )

    def _capture(self) -> None:
        """Record the kernels of one call, on arrays of our own, as a CUDA graph."""
        cupy, batch, patch = self._cupy, self.spec.batch, self.spec.patch
        self._graph_patches = cupy.zeros((batch, 1, *patch), dtype=cupy.float32)
        self._graph_scores = cupy.empty((batch, CLASSES, *patch), dtype=cupy.float32)
        self._graph_scratch = cupy.cuda.alloc(self._scratch_bytes)
        with cupy.cuda.Stream(non_blocking=True) as stream:
            self._launch(self._graph_patches, self._graph_scores, self._graph_scratch)
            stream.synchronize()
            stream.begin_capture()
            self._launch(self._graph_patches, self._graph_scores, self._graph_scratch)
            self._graph = stream.end_capture()

    def _infer(self, patches: Any) -> Any:
        with self._cupy.cuda.Device(self._gpu.index):
            return score_in_batches(patches, self.spec.batch, self._run)

    def _run(self, patches: Any, scores: Any) -> None:
        if self._graph is None:
            # Back in the pool when this returns; the pool hands it out again on this stream only, thus after the run.
            self._launch(patches, scores, self._cupy.cuda.alloc(self._scratch_bytes))
            return
        self._graph_patches[...] = patches
        self._graph.launch(self._cupy.cuda.get_current_stream())
        scores[...] = self._graph_scores

    def _launch(self, patches: Any, scores: Any, scratch: Any) -> None:
        context = self._context
        context.set_device_memory(scratch.ptr, self._scratch_bytes)
        context.set_tensor_address(self._patches, patches.data.ptr)
        context.set_tensor_address(self._scores, scores.data.ptr)
        if not context.execute_async_v3(self._cupy.cuda.get_current_stream().ptr):
            raise Ps3dError(f"{self.spec.name} failed on {self.spec.device}: {log_of(self._trt).error}")

    def close(self) -> None:
        """Give the GPU's memory back; what runs on it is waited for."""
        with self._cupy.cuda.Device(self._gpu.index) as device:
            device.synchronize()
            self._graph = self._graph_patches = self._graph_scores = self._graph_scratch = None
            self._context = self._kernels = self._engine = self._runtime = None  # in this order


def check_gate(cached: CachedEngine, *, allow_failed: bool) -> None:
    """Refuse an engine that failed the accuracy gate.

    Raises:
        CapabilityError: if it failed and that is not allowed.
    """
    gate = cached.gate
    if gate is None:
        logger.info("%s has not been through the accuracy gate (ps3d-rt export gate)", cached.path.name)
    elif not gate.passed and not allow_failed:
        raise CapabilityError(
            f"the engine {cached.path} failed the accuracy gate ({gate.measured}); take another precision, "
            "or ask for the engine by its name to use it all the same."
        )


def check_alignment(patch: Zyx) -> None:
    """Refuse a patch that is no multiple of TensorRT's alignment: every patch of a batch must start at one.

    Raises:
        CapabilityError: if it is not.
    """
    if call_bytes(1, patch) // (1 + CLASSES) % ALIGNMENT_BYTES:
        raise CapabilityError(
            f"the patch {patch} is not a multiple of 64 voxels, as TensorRT needs it; use onnxruntime-cuda."
        )


def arithmetic(precision: str, gpu: Gpu) -> str:
    """Name what a GPU computes a network of ``precision`` in: float32 is TF32 from compute capability 8.0 on.

    >>> arithmetic("fp32+int8", Gpu(0, "A", (8, 6), 0, (13, 0)))
    'int8+tf32'
    """
    names = {"tf32" if name == "fp32" and gpu.capability >= (8, 0) else name for name in precision.split("+")}
    return "+".join(sorted(names))


def pool_allocator(trt: Any, cupy: Any) -> Any:
    """Make the allocator through which TensorRT takes its memory from CuPy's pool."""

    class PoolAllocator(trt.IGpuAsyncAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IGpuAsyncAllocator.__init__(self)
            self.held: dict[int, Any] = {}

        def allocate_async(self, size: int, alignment: int, flags: int, stream: int) -> int:
            if size == 0:
                return 0
            try:
                with cupy.cuda.ExternalStream(stream):
                    memory = cupy.cuda.alloc(size)  # aligned to 512 bytes, more than is ever asked for
            except cupy.cuda.memory.OutOfMemoryError:
                return 0  # TensorRT makes an error of its own of it
            self.held[memory.ptr] = memory
            return int(memory.ptr)

        def deallocate_async(self, memory: int, stream: int) -> bool:
            return memory == 0 or self.held.pop(memory, None) is not None

    return PoolAllocator()


def _tensor_names(trt: Any, engine: Any) -> tuple[str, str]:
    """Names of input and output; the builder saw that there is one of each."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    first, second = sorted(names, key=lambda name: engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT)
    return first, second


def _kernels(config: Any, cached: CachedEngine, gpu: Gpu) -> Any:
    """Let TensorRT-RTX begin with the kernels it compiled for this engine and GPU before."""
    kernels = config.create_runtime_cache()
    path = kernels_path(cached, gpu)
    if path.exists() and not kernels.deserialize(path.read_bytes()):
        logger.info("%s is of another driver or version; kernels are compiled again", path)
    config.set_runtime_cache(kernels)
    return kernels


def kernels_path(cached: CachedEngine, gpu: Gpu) -> Path:
    """Say where TensorRT-RTX's kernels for one engine and GPU lie."""
    name = "".join(c if c.isalnum() else "-" for c in gpu.identity)
    return cached.path.with_suffix(f".{name}.kernels")
