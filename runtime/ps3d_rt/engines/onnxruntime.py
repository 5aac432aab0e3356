"""ONNX Runtime on the CPU: the portable second engine, fp32.

By other names it is an engine on the small GPUs it knows, none of which has been run by us (docs/gpu.md). Patches and
scores lie in the machine's memory there too.

Patches are run one by one: scores cannot depend on which patches travel together, and larger batches
were measured to be no faster.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.engines.base import CLASSES, Engine, EngineSpec
from ps3d_rt.errors import CapabilityError, InputError, not_installed

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
    "onnxruntime-coreml": "CoreMLExecutionProvider",
}
"""Engine → what computes in ONNX Runtime."""
_BUILDS = {
    "onnxruntime-directml": "it comes for Windows: pip uninstall onnxruntime, then pip install onnxruntime-directml, "
    "which has the CPU too",
    "onnxruntime-coreml": "ONNX Runtime for macOS has it",
}


@final
class OnnxRuntimeEngine(Engine):
    """One ONNX network on the CPU, or a small GPU, through ONNX Runtime."""

    def __init__(
        self,
        onnx_path: Path,
        patch: Zyx,
        *,
        precision: str = "auto",
        threads: int | None = None,
        name: str = "onnxruntime",
    ) -> None:
        """Load the network.

        Args:
            onnx_path: network with input (B, 1, z, y, x) float32 and output (B, 3, z, y, x) float32.
            patch: input of the network, voxels z, y, x.
            precision: ``auto`` and ``fp32`` are the same here.
            threads: CPU threads to use; None leaves it to ONNX Runtime, which takes the physical cores.
            name: one of :data:`PROVIDERS`.

        Raises:
            CapabilityError: if ONNX Runtime is not installed or lacks what ``name`` needs, the GPU does not run all of
                the network, or bf16 was asked for.
            InputError: if the file is not such a network, or an option is not one of the above.
        """
        if precision == "bf16":
            raise CapabilityError("ONNX Runtime has no bf16 on a CPU; use engine openvino, or precision fp32.")
        if precision not in ("auto", "fp32"):
            raise InputError(f"precision is {precision!r}; ONNX Runtime takes auto or fp32.")
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; at least 1 is needed, or leave it out to use every core.")
        runtime = load_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0  # 0: its own default
        options.log_severity_level = 3  # its warnings, of kernels it lacks in half precision, help nobody who predicts
        self._session = (
            _on_gpu(runtime, onnx_path, patch, options, name)
            if name in _BUILDS
            else open_session(runtime, onnx_path, patch, options, [PROVIDERS[name]])
        )
        self._input = self._session.get_inputs()[0].name
        self.spec = EngineSpec(name=name, patch=patch, device="cpu", precision="fp32", batch=1)

    def _infer(self, patches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        scores = np.empty((len(patches), CLASSES, *self.spec.patch), np.float32)
        for i in range(len(patches)):
            scores[i : i + 1] = self._session.run(None, {self._input: np.ascontiguousarray(patches[i : i + 1])})[0]
        return scores

    def close(self) -> None:
        """Release the session."""
        self._session = None


def _on_gpu(runtime: Any, onnx_path: Path, patch: Zyx, options: Any, name: str) -> Any:
    """Load a network on a small GPU, or refuse it: no part may run on the CPU in silence."""
    if PROVIDERS[name] not in runtime.get_available_providers():
        raise CapabilityError(f"{name}: this ONNX Runtime has no {PROVIDERS[name]}; {_BUILDS[name]}.")
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.enable_mem_pattern = False  # DirectML takes no other
    try:
        return open_session(runtime, onnx_path, patch, options, [PROVIDERS[name]])
    except InputError as error:
        raise CapabilityError(
            f"{name} does not run all of {onnx_path.name} here; use engine openvino. — It says: {error.__cause__}"
        ) from error


def load_onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        CapabilityError: if it does not load.
    """
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise not_installed(f"ONNX Runtime does not load ({error})", "onnxruntime") from error


def errors_of_onnxruntime(*names: str) -> tuple[type[Exception], ...]:
    """Return the exceptions that its sessions raise; they share no base class."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    return tuple(getattr(state, name) for name in names)


def open_session(runtime: Any, onnx_path: Path, patch: Zyx, options: Any, providers: list[Any]) -> Any:
    """Load a network on the first of ``providers``, and on no other.

    Raises:
        InputError: if the file is not a network from (B, 1, *patch) to (B, 3, *patch).
    """
    refusals = errors_of_onnxruntime("Fail", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    try:
        session = runtime.InferenceSession(onnx_path, options, providers=providers, enable_fallback=0)
    except refusals as error:
        raise InputError(
            f"{onnx_path} is not a network ONNX Runtime can read; export the model again. It says: {error}"
        ) from error
    for kind, value, channels in (("takes", session.get_inputs()[0], 1), ("gives", session.get_outputs()[0], CLASSES)):
        wanted = (channels, *patch)
        # A dimension left open is a name or None.
        if len(value.shape) != 5 or any(
            isinstance(n, int) and n != w for n, w in zip(value.shape[1:], wanted, strict=True)
        ):
            raise InputError(f"{onnx_path} {kind} {value.shape}, not (B, {wanted}); export the model again.")
    return session
