"""OpenVINO on the CPU: the default engine.

One patch is one inference request of fixed shape (1, 1, *patch), and as many requests are in flight as
OpenVINO has streams. So scores cannot depend on which patches travel together, and nothing is padded.
Measured on 2 cores (U-Net, width 16, 4 stages, 64³ and 96³): batches of 2 or 4 are not faster than that.

Compiled networks are not kept on disk (CACHE_DIR): the default model takes .15 CPU seconds to compile in int8 and .04
to load, .06 and .03 in fp32; and OpenVINO 2026.4 gives the same file to fp32 and bf16, whichever was compiled first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.engines.base import CLASSES, Engine, EngineSpec
from ps3d_rt.errors import CapabilityError, InputError, not_installed

# Our names of the arithmetic against OpenVINO's: what can be asked for, and what a layer says of itself.
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_COMPUTED = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_ARITHMETIC = ("Convolution", "Deconvolution", "MatMul", "FullyConnected")


@final
class OpenVinoEngine(Engine):
    """One ONNX network on the CPU through OpenVINO."""

    def __init__(
        self,
        onnx_path: Path,
        patch: Zyx,
        *,
        precision: str = "auto",
        threads: int | None = None,
        device: str = "CPU",
    ) -> None:
        """Read and compile the network; this takes well under a second.

        Args:
            onnx_path: network with input (B, 1, z, y, x) float32 and output (B, 3, z, y, x) float32.
            patch: input of the network, voxels z, y, x.
            precision: ``auto`` is bf16 where the CPU computes in it, else fp32; or one of the two by name.
            threads: CPU threads to use; None leaves it to OpenVINO, which takes the physical cores.
            device: ``CPU``, or ``GPU`` for Intel's, which computes in fp32.

        Raises:
            CapabilityError: if OpenVINO is not installed or finds no such device, or bf16 was asked for and is not
                there.
            InputError: if the file is not such a network, or an option is not one of the above.
        """
        openvino = _load()
        self._tensor = openvino.Tensor
        core = openvino.Core()
        on_gpu = device != "CPU"
        settings = _gpu_settings(core, precision) if on_gpu else _cpu_settings(core, precision, threads)
        model = _read(core, onnx_path, patch)
        compiled, warnings = _compile(core, model, device, settings, required=precision != "auto")
        requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(requests)]
        self.spec = EngineSpec(
            name="openvino-gpu" if on_gpu else "openvino",
            patch=patch,
            device="cpu",  # where patches and scores lie
            precision="fp32" if on_gpu else _actual_precision(compiled),
            batch=requests,
            warnings=warnings,
        )

    def _infer(self, patches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        patches = np.ascontiguousarray(patches)
        scores = np.empty((len(patches), CLASSES, *self.spec.patch), np.float32)
        for i in range(len(patches)):
            request = self._requests[i % len(self._requests)]
            if i >= len(self._requests):
                request.wait()
            # Shared memory: OpenVINO reads the patch and writes the scores where they lie.
            request.set_input_tensor(self._tensor(patches[i : i + 1], shared_memory=True))
            request.set_output_tensor(self._tensor(scores[i : i + 1], shared_memory=True))
            request.start_async()
        for request in self._requests[: len(patches)]:
            request.wait()
        return scores

    def close(self) -> None:
        """Release the compiled network."""
        self._requests = []


def cpu_facts() -> dict[str, Any]:
    """Say what the speed of a precision depends on: CPU, OpenVINO, and what oneDNN may use.

    Raises:
        CapabilityError: if OpenVINO is not installed.
    """
    openvino = _load()
    core = openvino.Core()
    return {
        "name": core.get_property("CPU", "FULL_DEVICE_NAME"),
        "capabilities": sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        "limit": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "openvino": openvino.__version__,
    }


def _load() -> Any:
    try:
        with _without_telemetry():
            return import_module("openvino")
    except ImportError as error:
        raise not_installed(f"OpenVINO does not load ({error})", "openvino") from error


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Hide ``openvino_telemetry``, as if it were not installed, while OpenVINO loads.

    ``import openvino`` imports its converter, which reports every import to Google Analytics unless a file in the home
    folder says not to (openvino/tools/ovc/__init__.py). Without the package it takes a stub that sends nothing.
    """
    name = "openvino_telemetry"
    if name in sys.modules:  # somebody else's program has loaded it already
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # what Python reads as "not there"
    try:
        yield
    finally:
        del sys.modules[name]


def _cpu_settings(core: Any, precision: str, threads: int | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[_choose_precision(core, precision)],
        "PERFORMANCE_HINT": "THROUGHPUT",
        # Pinned threads of several processes would meet on the same cores, and other stages share them.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads is {threads}; at least 1 is needed, or leave it out to use every core.")
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def _gpu_settings(core: Any, precision: str) -> dict[str, Any]:
    if not any(name.partition(".")[0] == "GPU" for name in core.available_devices):
        raise CapabilityError(
            f"OpenVINO finds no GPU, only {', '.join(core.available_devices)}; it takes those of Intel, with their "
            "driver for OpenCL. Use engine openvino without one."
        )
    if precision not in ("auto", "fp32"):
        raise CapabilityError(f"precision is {precision!r}; openvino-gpu computes in fp32.")
    # Its own default there is fp16, which no accuracy gate has seen.
    return {"INFERENCE_PRECISION_HINT": _HINTS["fp32"], "PERFORMANCE_HINT": "THROUGHPUT"}


def _choose_precision(core: Any, wanted: str) -> str:
    if wanted not in ("auto", *_HINTS):
        raise InputError(f"precision is {wanted!r}; OpenVINO takes auto, {', '.join(_HINTS)}.")
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and not has_bf16:
        raise CapabilityError("this CPU does not compute in bf16; use precision auto or fp32.")
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    return wanted


def _read(core: Any, onnx_path: Path, patch: Zyx) -> Any:
    """Read the network and fix its input to one patch."""
    try:
        model = core.read_model(onnx_path)
        model.reshape([1, 1, *patch])
        result = tuple(model.output(0).shape)
    except RuntimeError as error:
        raise InputError(
            f"{onnx_path} is not an ONNX network for patches of {patch} voxels; export the model again. "
            f"OpenVINO says: {error}"
        ) from error
    if result != (1, CLASSES, *patch):
        raise InputError(f"{onnx_path} gives {result} for one patch, not {(1, CLASSES, *patch)}; export it again.")
    return model


def _compile(
    core: Any, model: Any, device: str, settings: dict[str, Any], *, required: bool
) -> tuple[Any, tuple[str, ...]]:
    """Compile in the wanted precision, or in fp32 with a warning if bf16 fails and is not ``required``.

    A CPU has bf16, and oneDNN may still be told not to use it (ONEDNN_MAX_CPU_ISA): then it finds no kernel.
    """
    try:
        return core.compile_model(model, device, settings), ()
    except RuntimeError as error:
        if device != "CPU":
            raise CapabilityError(
                f"OpenVINO does not build the network for {device}; use engine openvino. — OpenVINO says: {error}"
            ) from error
        if settings["INFERENCE_PRECISION_HINT"] != "bf16":
            raise
        reason = " ".join(str(error).split())
        if required:
            raise CapabilityError(
                f"OpenVINO does not build the network in bf16; use precision auto or fp32. — OpenVINO says: {reason}"
            ) from error
    compiled = core.compile_model(model, "CPU", settings | {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled, (f"OpenVINO does not build the network in bf16, so it runs in fp32. — OpenVINO says: {reason}",)


def _actual_precision(compiled: Any) -> str:
    """Ask the compiled graph what its convolutions compute in; the hint is only a wish."""
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    found = {str(info["runtimePrecision"].value) for info in layers if info["layerType"].value in _ARITHMETIC}
    return "+".join(sorted({_COMPUTED.get(precision, precision) for precision in found})) or "fp32"
