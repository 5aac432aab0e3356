"""ONNX Runtime on an NVIDIA GPU: the second engine there. Patches and scores are CuPy arrays and never leave the GPU.

It computes on a stream of its own, chosen when the network is loaded; events order it with CuPy's current stream, so
nobody waits on the host. Its memory is its own too: CuPy's pool cannot serve it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.devices.gpus import Gpu, find_gpu, load_cupy
from ps3d_rt.engines.base import CLASSES, Engine, EngineSpec
from ps3d_rt.engines.batches import DeviceLimits, score_in_batches, try_once
from ps3d_rt.engines.onnxruntime import errors_of_onnxruntime, load_onnxruntime, open_session
from ps3d_rt.engines.tensorrt import arithmetic
from ps3d_rt.errors import CapabilityError, not_installed

PROVIDER = "CUDAExecutionProvider"
SEARCH = "HEURISTIC"
"""How cuDNN chooses its convolutions. ONNX Runtime's DEFAULT has meant cuDNN's slow fallback since 1.20."""


@final
class OnnxRuntimeCudaEngine(Engine):
    """One ONNX network on one GPU through ONNX Runtime."""

    def __init__(
        self,
        onnx_path: Path,
        patch: Zyx,
        *,
        precision: str = "fp32",
        device: str = "auto",
        limits: DeviceLimits | None = None,
    ) -> None:
        """Load the network and run it once, which is when convolutions are chosen.

        Args:
            onnx_path: network with input (B, 1, z, y, x) float32 and output (B, 3, z, y, x) float32.
            patch: input of the network, voxels z, y, x.
            precision: what the network is exported in: ``fp32``, ``fp16`` or ``int8``.
            device: ``cuda:N``; ``auto`` is the first GPU.
            limits: batch and memory; None: the defaults.

        Raises:
            CapabilityError: if GPU, driver, CuPy or ONNX Runtime's CUDA build is missing, or the network does not run.
            InputError: if the file is not such a network.
        """
        limits = limits or DeviceLimits()
        self._gpu = find_gpu(device)
        runtime = load_onnxruntime()
        if PROVIDER not in runtime.get_available_providers():
            raise CapabilityError(
                f"ONNX Runtime {runtime.__version__} is the build without CUDA; both builds share one folder, so: "
                "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu, which has the CPU too."
            )
        self._cupy = load_cupy(self._gpu)
        runtime.preload_dlls()  # CUDA and cuDNN from the packages of the extra, where the system has none
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        options = provider_options(self._gpu, self._stream.ptr, limits)
        failures: tuple[type[Exception], ...] = (
            RuntimeError,
            *errors_of_onnxruntime("EPFail", "Fail", "RuntimeException"),
        )
        try:
            self._session = open_session(runtime, onnx_path, patch, runtime.SessionOptions(), [(PROVIDER, options)])
        except failures as error:
            raise CapabilityError(f"ONNX Runtime does not start on {self._gpu.identity}: {error}") from error
        if PROVIDER not in self._session.get_providers():
            raise not_installed(
                "ONNX Runtime cannot load its CUDA part; CUDA or cuDNN is missing or of another version",
                "onnxruntime-gpu[cuda,cudnn]",
            )
        self._options = runtime.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")  # events order the streams
        self.spec = EngineSpec(
            name="onnxruntime-cuda",
            patch=patch,
            device=self._gpu.device,
            precision=arithmetic(precision, self._gpu),
            batch=limits.batch,
            memory_bytes=limits.memory_bytes,
        )
        try_once(self._cupy, self.spec, self._infer, failures)

    def _infer(self, patches: Any) -> Any:
        with self._cupy.cuda.Device(self._gpu.index):
            return score_in_batches(patches, self.spec.batch, self._run)

    def _run(self, patches: Any, scores: Any) -> None:
        current = self._cupy.cuda.get_current_stream()
        self._stream.wait_event(current.record())
        place, pointers = ("cuda", self._gpu.index), (patches.data.ptr, scores.data.ptr)
        run_bound(self._session, place, patches.shape, pointers, self._options)
        current.wait_event(self._stream.record())

    def close(self) -> None:
        """Release the session; what runs is waited for."""
        self._stream.synchronize()
        self._session = None


def provider_options(gpu: Gpu, stream: int, limits: DeviceLimits) -> dict[str, str]:
    """Write the options of the CUDA provider; all of them are texts."""
    options = {
        "device_id": str(gpu.index),
        "user_compute_stream": str(stream),
        "cudnn_conv_algo_search": SEARCH,
        "arena_extend_strategy": "kSameAsRequested",  # the other doubles what it takes
    }
    if limits.memory_bytes is not None:
        options["gpu_mem_limit"] = str(limits.memory_bytes)
    return options


def run_bound(
    session: Any, place: tuple[str, int], shape: tuple[int, ...], pointers: tuple[int, int], options: Any = None
) -> None:
    """Run a network on memory that is there already.

    Args:
        session: of ONNX Runtime.
        place: kind and number of the device the memory is on: ``("cuda", 0)``.
        shape: (n, 1, z, y, x) of the patches.
        pointers: addresses of the patches and of the (n, 3, z, y, x) scores; both float32 and contiguous.
        options: of the run.
    """
    count, _, *patch = shape
    binding = session.io_binding()
    binding.bind_input(session.get_inputs()[0].name, *place, np.float32, shape, pointers[0])
    binding.bind_output(session.get_outputs()[0].name, *place, np.float32, (count, CLASSES, *patch), pointers[1])
    session.run_with_iobinding(binding, options)
