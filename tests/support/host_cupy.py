"""A stand-in for CuPy on a machine without a GPU: its arrays lie on the host, its kernels are compiled by g++.

Only what the runtime uses is there, and it is as strict as CuPy: a numpy array is no argument, and an array of here is
none to numpy. The threads of a kernel run in an order that jumps, and now and then one is held up before an atomic
operation while others run: a result that depends on either shows.

Nothing is late here, but what could be late on a GPU is counted: :data:`offences` lists arrays that a thread used
before the stream that makes them was waited for, and memory that was let go while another stream could still use it.
"""

from __future__ import annotations

import ctypes
import gc
import re
import shutil
import subprocess
import tempfile
from functools import cache
from math import gcd
from pathlib import Path
from threading import local
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakSet

import numpy as np

COMPILER = shutil.which("g++")
OPTIONS = ("-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
"""No contraction: on Arm, g++ would round a product and a sum as one, which --fmad=false forbids on a GPU."""
JUMP = 7
"""Threads run from the last to the first, one in so many, again and again until all have run."""

SHIM = """
struct Index { long long x; };
static Index blockIdx, blockDim, threadIdx;
#define __global__
#define __device__ static
static bool run_next();
static unsigned int coin = 1, held_up = 0;
static void hold_up() {
    Index block = blockIdx, thread = threadIdx;
    held_up++;
    while (held_up < 30 && (coin = coin * 1664525u + 1013904223u) >> 30 != 0 && run_next()) {}
    held_up--;
    blockIdx = block;
    threadIdx = thread;
}
template <class T> T atomicAdd(T* at, T value) { hold_up(); T old = *at; *at = old + value; return old; }
template <class T> T atomicMin(T* at, T value) { hold_up(); T old = *at; if (value < old) *at = value; return old; }
template <class T> T atomicOr(T* at, T value) { hold_up(); T old = *at; *at = old | value; return old; }
"""


def call_in_order(name: str, parameters: str) -> str:
    """Source of a function that runs every thread of a kernel."""
    names = [re.split(r"[\s*]+", parameter.strip())[-1] for parameter in parameters.split(",")]
    kept = "".join(f"static {parameter.strip()}_;\n" for parameter in parameters.split(","))
    return f"""
{kept}
static long long next_, blocks_, stride_;
static bool run_next() {{
    if (next_ == blocks_ * blockDim.x) return false;
    long long at = next_++ * stride_ % (blocks_ * blockDim.x);
    blockIdx.x = at / blockDim.x;
    threadIdx.x = at % blockDim.x;
    {name}({", ".join(f"{name}_" for name in names)});
    return true;
}}
extern "C" void run(long long blocks, long long threads, long long stride, {parameters}) {{
    next_ = 0, blocks_ = blocks, blockDim.x = threads, stride_ = stride;
    {" ".join(f"{name}_ = {name};" for name in names)}
    while (run_next()) {{}}
}}
"""


@cache
def compiled(source: str, name: str) -> Any:
    """Build a kernel for the host."""
    parameters = " ".join(re.search(rf"__global__ void {name}\((.*?)\)", source, re.DOTALL)[1].split())
    folder = Path(tempfile.mkdtemp(prefix="ps3d-kernel-"))
    (folder / "kernel.cpp").write_text(SHIM + source + call_in_order(name, parameters))
    subprocess.run([COMPILER, *OPTIONS, "-o", "kernel.so", "kernel.cpp"], cwd=folder, check=True)
    run = ctypes.PyDLL(str(folder / "kernel.so")).run  # holds the GIL: a kernel keeps its state in static variables
    shutil.rmtree(folder)
    scalars = [not re.search(r"\*", parameter) for parameter in parameters.split(",")]
    run.argtypes = [ctypes.c_longlong] * 3 + [ctypes.c_longlong if scalar else ctypes.c_void_p for scalar in scalars]
    run.restype = None
    return run


FORGIVEN = "all offences of this test are forgiven"
offences: list[str] = []
_mine = local()


class Stream:
    """Counts what it was asked to do, and how much of that somebody waited for."""

    every: WeakSet[Stream] = WeakSet()  # noqa: RUF012 - of all streams, as it says

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking, "the default stream waits for all others"
        self.asked = self.done = 0
        Stream.every.add(self)

    def use(self) -> None:
        _mine.stream = self

    def synchronize(self) -> None:
        self.done = self.asked


def counted_offences() -> set[str]:
    """Count, and forget, what was done wrong since the last time."""
    gc.collect()
    found = set(offences)
    offences.clear()
    return set() if FORGIVEN in found else found


def current_stream() -> Stream:
    if not hasattr(_mine, "stream"):
        _mine.stream = Stream(non_blocking=True)
    return _mine.stream


class Memory:
    """Memory of an array and its views: the last order of every stream that read or wrote it."""

    def __init__(self) -> None:
        self.owner = current_stream()
        self.reads: dict[Stream, int] = {}
        self.writes: dict[Stream, int] = {}

    def touch(self, *, write: bool) -> None:
        here = current_stream()
        here.asked += 1
        if pending(self.writes, here) or (write and pending(self.reads, here)):
            offences.append("an array was used that another stream may not be done with")
        (self.writes if write else self.reads)[here] = here.asked

    def __del__(self) -> None:
        if pending(self.writes, self.owner) or pending(self.reads, self.owner):
            offences.append("memory was let go that another stream may still use")


def pending(orders: dict[Stream, int], here: Stream) -> bool:
    """Whether another stream than ``here`` may not have come to one of these orders."""
    return any(order > stream.done for stream, order in orders.items() if stream is not here)


class RawKernel:
    """A kernel by its source and name."""

    def __init__(self, source: str, name: str, options: tuple[str, ...]) -> None:
        assert options == ("--fmad=false",), "g++ gets nothing that stands for other options"
        self.source, self.name = source, name

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...]) -> None:
        threads = grid[0] * block[0]
        stride = next(n for n in range(threads - JUMP, 0, -1) if gcd(n, threads) == 1)
        values = [lowered(arg, write=True).ctypes.data if isinstance(arg, ndarray) else int(arg) for arg in args]
        compiled(self.source, self.name)(grid[0], block[0], stride, *values)


def lowered(value: Any, *, write: bool = False) -> Any:
    """Take the host array out of every array of here."""
    if isinstance(value, ndarray):
        value._memory.touch(write=write)
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type numpy.ndarray; CuPy converts no host array by itself.")
    if isinstance(value, tuple | list):
        return type(value)(map(lowered, value))
    return value


def lifted(value: Any, *sources: Any) -> Any:
    """Put host arrays, and the scalars that CuPy keeps on the GPU, into arrays of here, or views of ``sources``."""
    if isinstance(value, np.ndarray | np.generic):
        host = np.asarray(value)
        owners = [x for x in sources if isinstance(x, ndarray) and np.may_share_memory(x._host, host)]
        return ndarray(host, owners[0]._memory if owners else None)
    return tuple(lifted(part, *sources) for part in value) if isinstance(value, tuple) else value


def on_arrays(function: Any) -> Any:
    """Let a function of numpy work on arrays of here."""

    def call(*args: Any, **kwargs: Any) -> Any:
        given = {name: lowered(value, write=name == "out") for name, value in kwargs.items()}
        return lifted(function(*map(lowered, args), **given), *args, *kwargs.values())

    return call


class ndarray:  # noqa: N801 - as CuPy calls it
    """An array on the GPU that is none."""

    __module__ = "cupy"
    __array_ufunc__ = None  # numpy leaves operators to us, and refuses us in its functions

    def __init__(self, host: np.ndarray, memory: Memory | None = None) -> None:
        self._host = host
        self._memory = memory or Memory()
        if memory is None:
            self._memory.touch(write=True)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._host, name)
        if not callable(found) or isinstance(found, np.dtype):
            return found
        return lambda *args, **kwargs: on_arrays(getattr(np.ndarray, name))(self, *args, **kwargs)

    @property
    def device(self) -> Device:
        return Device(0)

    def get(self, out: np.ndarray | None = None) -> np.ndarray:
        assert out is not None
        assert out.flags.c_contiguous
        assert (out.shape, out.dtype) == (self.shape, self.dtype)
        out[...] = lowered(self)
        current_stream().synchronize()
        return out

    def item(self) -> Any:
        value = lowered(self).item()
        current_stream().synchronize()
        return value

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getitem__(self, key: Any) -> ndarray:
        return lifted(lowered(self)[lowered(key)], self)

    def __setitem__(self, key: Any, value: Any) -> None:
        lowered(self, write=True)[lowered(key)] = lowered(value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._host)

    def __int__(self) -> int:
        return int(self.item())

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())


def _operator(name: str) -> Any:
    def call(self: ndarray, *others: Any) -> Any:
        in_place = name.startswith("__i") and name != "__invert__"
        result = getattr(lowered(self, write=in_place), name)(*map(lowered, others))
        return self if in_place else lifted(result, self)

    return call


for kind in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor", "lshift", "rshift"):
    for name in (f"__{kind}__", f"__r{kind}__", f"__i{kind}__"):
        setattr(ndarray, name, _operator(name))
for kind in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "invert", "abs"):
    setattr(ndarray, f"__{kind}__", _operator(f"__{kind}__"))
ndarray.__hash__ = None


class OutOfMemoryError(MemoryError):
    """Ends a run: what is let go in whatever order after it does no harm."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        offences.append(FORGIVEN)


class Device:
    """GPU 0 is there."""

    def __init__(self, number: int) -> None:
        if number != 0:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = number

    def synchronize(self) -> None:
        for stream in Stream.every:
            stream.synchronize()

    def use(self) -> None:
        pass

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Pool:
    """Remembers its limit."""

    limit = 0

    def get_limit(self) -> int:
        return self.limit

    def set_limit(self, size: int) -> None:
        self.limit = size

    def free_all_blocks(self) -> None:
        pass


def at_its_address(x: Any) -> np.ndarray:
    """See what a CUDA array interface describes, which lies on the host here."""
    facts = x.__cuda_array_interface__
    kind, (address, _) = np.dtype(facts["typestr"]), facts["data"]
    count = int(np.prod(facts["shape"])) * kind.itemsize
    return np.frombuffer((ctypes.c_char * count).from_address(address), kind).reshape(facts["shape"])


def asarray(x: Any, dtype: Any = None) -> ndarray:
    if isinstance(x, ndarray):
        return x
    return ndarray(at_its_address(x) if hasattr(x, "__cuda_array_interface__") else np.array(x, dtype))


def modules() -> dict[str, ModuleType]:
    """Make ``cupy`` and ``cupyx`` as modules."""
    cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
    pool = Pool()
    cupy.ndarray, cupy.RawKernel = ndarray, RawKernel
    cupy.__version__ = "0"
    cupy.asarray = asarray
    cupy.from_dlpack = lambda x: ndarray(x.__dlpack__())  # its capsule is the host array itself here
    cupy.ascontiguousarray = lambda x: ndarray(np.ascontiguousarray(lowered(x)))
    cupy.get_default_memory_pool = lambda: pool
    cupy.cuda = SimpleNamespace(
        Device=Device,
        Stream=Stream,
        runtime=SimpleNamespace(CUDARuntimeError=RuntimeError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    )

    def of_numpy(name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found
        return on_arrays(found)

    cupy.__getattr__ = of_numpy
    cupyx.empty_pinned = np.empty
    return {"cupy": cupy, "cupyx": cupyx}
