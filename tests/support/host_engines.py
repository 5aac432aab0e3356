"""Stand-ins for CuPy, TensorRT and ONNX Runtime's CUDA part: they compute on the CPU, from the addresses they get."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from ps3d_rt.core.arrays import Array
from ps3d_rt.devices import gpus
from ps3d_rt.engines import onnxruntime_cuda

PATCH, BATCHES = (16, 16, 16), (1, 2, 4, 8)
GPU = gpus.Gpu(0, "H200", (9, 0), 139 * 2**30, (13, 0))
SCRATCH = {1: 1000, 2: 2000, 4: 4000, 8: 8000}


class ndarray(np.ndarray):  # noqa: N801 - the name it has in CuPy
    """A NumPy array that shows itself as CuPy's."""

    __module__ = "cupy"

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=0)


class Stream:
    """Remembers what happened on it; ``current`` is the innermost that was entered."""

    entered: list[Stream] = []  # noqa: RUF012

    def __init__(self, ptr: int = 0, *, non_blocking: bool = False) -> None:
        self.ptr, self.log = ptr or id(self), []

    def __enter__(self) -> Stream:
        Stream.entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        Stream.entered.pop()

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def record(self) -> Stream:
        return self

    def wait_event(self, other: Stream) -> None:
        self.log.append(("waits for", other.ptr))

    def begin_capture(self) -> None:
        self.log.append("capture")

    def end_capture(self) -> Any:
        launch = Context.running[-1].launch  # a graph runs the last call again, on the same addresses
        return SimpleNamespace(launch=lambda stream: (stream.log.append("graph"), launch()))


class Memory:
    """Some bytes; what CuPy's pool hands out."""

    def __init__(self, size: int) -> None:
        self.size, self.held = size, np.empty(max(size, 1), np.uint8)
        self.ptr = self.held.ctypes.data


@contextmanager
def device(_index: int) -> Iterator[Any]:
    yield SimpleNamespace(synchronize=lambda: None)


def cupy_stand_in() -> ModuleType:
    def own(function: Callable[..., Array]) -> Callable[..., Array]:
        return lambda *args, **options: function(*args, **options).view(ndarray)

    module, null = ModuleType("cupy"), Stream(1)
    module.__dict__.update(__version__="14", float32=np.float32, ndarray=ndarray, all=np.all, flip=own(np.flip))
    for name in ("zeros", "empty", "ascontiguousarray", "asarray", "isfinite"):
        setattr(module, name, own(getattr(np, name)))
    module.__dict__["cuda"] = SimpleNamespace(
        Device=device,
        Stream=Stream,
        ExternalStream=Stream,
        alloc=Memory,
        get_current_stream=lambda: Stream.entered[-1] if Stream.entered else null,
        memory=SimpleNamespace(OutOfMemoryError=MemoryError),
    )
    return module


class Context:
    """Runs when shape, scratch memory and both addresses are there."""

    running: list[Context] = []  # noqa: RUF012

    def __init__(self, engine: CudaEngine, config: Any) -> None:
        assert config.strategy == "USER_MANAGED"
        self.engine, self.batch, self.shape, self.scratch = engine, 0, (), 0
        self.place: dict[str, int] = {}
        self.batches: list[int] = []

    def set_optimization_profile_async(self, index: int, stream: int) -> None:
        assert stream
        self.batch = BATCHES[index]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        assert (name, shape[0]) == ("patches", self.batch)
        self.shape = shape

    def set_device_memory(self, ptr: int, size: int) -> None:
        assert ptr
        assert size == SCRATCH[self.batch]

    def set_tensor_address(self, name: str, ptr: int) -> None:
        self.place[name] = ptr

    def execute_async_v3(self, stream: int) -> bool:
        Context.running.append(self)
        place = dict(self.place)
        self.launch = lambda: self._compute(place["patches"], place["scores"])
        self.batches.append(self.batch)
        self.engine.streams.append(stream)
        self.launch()
        return self.engine.works

    def _compute(self, patches: int, scores: int) -> None:
        x = np.ctypeslib.as_array(ctypes.cast(patches, ctypes.POINTER(ctypes.c_float)), self.shape)
        (result,) = self.engine.session.run(None, {"patches": x})
        ctypes.memmove(scores, result.ctypes.data, result.nbytes)


class CudaEngine:
    """An ONNX file as TensorRT's engine: two tensors, a profile a batch."""

    works = True
    num_io_tensors = 2

    def __init__(self, content: bytes) -> None:
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.streams: list[int] = []

    def get_tensor_name(self, i: int) -> str:
        return ("scores", "patches")[i]  # TensorRT promises no order

    def get_tensor_mode(self, name: str) -> str:
        return {"patches": "INPUT", "scores": "OUTPUT"}[name]

    def get_device_memory_size_for_profile_v2(self, i: int) -> int:
        return SCRATCH[BATCHES[i]]

    def create_runtime_config(self) -> Any:
        config = SimpleNamespace(strategy=None, cache=None)
        config.set_execution_context_allocation_strategy = lambda strategy: setattr(config, "strategy", strategy)
        config.set_runtime_cache = lambda kernels: setattr(config, "cache", kernels)
        config.create_runtime_cache = Kernels
        return config

    def create_execution_context(self, config: Any) -> Context:
        self.context = Context(self, config)
        return self.context


class Kernels:
    """What TensorRT-RTX compiled."""

    loaded: list[bytes] = []  # noqa: RUF012

    def deserialize(self, content: bytes) -> bool:
        Kernels.loaded.append(content)
        return True

    def serialize(self) -> bytes:
        return b"compiled kernels"


class Runtime:
    """Loads engines, but none that begins with ``old``."""

    last: CudaEngine

    def __init__(self, _log: Any) -> None:
        self.gpu_allocator: Any = None

    def deserialize_cuda_engine(self, content: bytes) -> CudaEngine | None:
        assert self.gpu_allocator is not None
        if content.startswith(b"old"):
            return None
        Runtime.last = CudaEngine(content)
        return Runtime.last


def tensorrt_stand_in(name: str) -> ModuleType:
    severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)
    module = ModuleType(name)
    module.__dict__.update(
        __version__="99.1",
        Runtime=Runtime,
        ILogger=type("ILogger", (), {"Severity": severity}),
        IGpuAsyncAllocator=type("IGpuAsyncAllocator", (), {}),
        TensorIOMode=SimpleNamespace(INPUT="INPUT"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="USER_MANAGED"),
    )
    return module


class CudaSession:
    """A session on the CPU that takes memory "on cuda"; its providers are those it was given."""

    providers = (onnxruntime_cuda.PROVIDER, "CPUExecutionProvider")

    def __init__(self, path: Path, options: Any, *, providers: list[Any], enable_fallback: int) -> None:
        assert not enable_fallback, "it would fall back in silence"
        ((name, self.settings),) = providers
        assert name == onnxruntime_cuda.PROVIDER
        self.real = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs

    def get_providers(self) -> list[str]:
        return list(self.providers)

    def io_binding(self) -> Any:
        def on_cpu(bind: Callable[..., None], name: str, kind: str, index: int, *rest: Any) -> None:
            assert (kind, index) == ("cuda", 0)
            bind(name, "cpu", 0, *rest)

        real = self.real.io_binding()
        takes = {what: partial(on_cpu, getattr(real, what)) for what in ("bind_input", "bind_output")}
        return SimpleNamespace(binding=real, **takes)

    def run_with_iobinding(self, bound: Any, options: Any) -> None:
        assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        self.real.run_with_iobinding(bound.binding)
