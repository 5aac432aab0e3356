"""What every engine is: patches in, softmax scores out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from ps3d_rt.core.arrays import array_namespace, is_cupy_array
from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

CLASSES = 3
"""Background, core, border."""


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """What an engine runs and where. Known before the first patch, written into ``run.json``."""

    name: str
    """``openvino``, ``onnxruntime``, ``tensorrt``, …"""
    patch: Zyx
    """Input of the network, voxels z, y, x."""
    device: str
    """``cpu`` or ``cuda:N``."""
    precision: str
    """``fp32``, ``bf16``, ``tf32``, …: what the arithmetic really uses."""
    choice: str = ""
    """The precision as ``--precision`` names it: ``bf16+int8`` is ``int8``."""
    reason: str = ""
    """Why it was chosen. For people: it decides nothing."""
    batch: int
    """Patches a call that the engine runs fastest with."""
    mirror_axes: tuple[int, ...] = ()
    """Axes along which scores are averaged over mirror images: 0, 1, 2 for z, y, x."""
    memory_bytes: int | None = None
    """Memory of the GPU that the network and a call of ``batch`` patches take; None: not known."""
    more_devices: tuple[str, ...] = ()
    """GPUs that a run uses beside ``device``, each by a process with an engine of its own; all of one kind."""
    warnings: tuple[str, ...] = ()
    """What a person must know of how it was built, a sentence each."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Everything that a run works on."""
        return (self.device, *self.more_devices)


@dataclass(frozen=True, kw_only=True)
class OnnxNetwork:
    """A network that an engine is built of."""

    path: Path
    """ONNX with input (B, 1, z, y, x) float32 and output (B, 3, z, y, x) float32, B open."""
    patch: Zyx
    """Its input, voxels z, y, x."""
    precision: str = "fp32"
    """What it is exported in: ``fp32``, ``fp16`` or ``int8``."""


class Engine(ABC):
    """A network ready to run. Use as a context manager; subclasses are final.

    A subclass opens its resources in ``__init__``, releases them in ``close`` and computes in ``_infer``.
    """

    spec: EngineSpec

    def __reduce__(self) -> tuple[Callable[[], Engine], tuple[()]]:
        """Refuse to be pickled: worker processes open an engine again, see :mod:`ps3d_rt.engines.shared`."""
        raise InputError("this engine was not opened by open_engine, so worker processes cannot; use one process.")

    @final
    def infer(self, patches: Any) -> Any:
        """Score patches; on a GPU, queue that on CuPy's current stream and return.

        Args:
            patches: (n, 1, *patch) float32, normalized gray values, n ≥ 1, on the engine's device: a NumPy array for
                an engine on the CPU, a CuPy array for one on a GPU.

        Returns:
            (n, 3, *patch) float32, softmax over background, core, border; of the same kind, the caller's own memory.

        Raises:
            InputError: if ``patches`` does not fit :attr:`spec`.
        """
        if patches.ndim != 5 or patches.shape[0] < 1 or patches.shape[1:] != (1, *self.spec.patch):
            z, y, x = self.spec.patch
            raise InputError(f"patches have shape {patches.shape}; this model takes (n, 1, {z}, {y}, {x}), n ≥ 1.")
        if patches.dtype != array_namespace(patches).float32:
            raise InputError(f"patches are {patches.dtype}; an engine takes float32.")
        place = f"cuda:{patches.device.id}" if is_cupy_array(patches) else "cpu"
        if place != self.spec.device:
            raise InputError(f"patches are on {place}, the engine on {self.spec.device}; move them there first.")
        return self._infer(patches)

    @abstractmethod
    def _infer(self, patches: Any) -> Any: ...

    def close(self) -> None:  # noqa: B027 - engines without resources need not override it
        """Release the network and its memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
