"""Engines for the GPUs of laptops, which are not here: what they ask for, on stand-ins that compute on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest

from ps3d_rt.engines import onnxruntime as ours
from ps3d_rt.engines import open_engine
from ps3d_rt.engines.factory import SMALL_GPU_ENGINES
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle

ONNX_RUNTIME = {"onnxruntime-directml": "DmlExecutionProvider", "onnxruntime-coreml": "CoreMLExecutionProvider"}


def some_patches(count: int) -> Any:
    return np.random.default_rng(0).standard_normal((count, 1, 16, 16, 16), dtype=np.float32)


@pytest.fixture
def expected(tiny_bundle: ModelBundle) -> Any:
    with open_engine(tiny_bundle, engine="openvino", precision="fp32") as ready:
        return ready.infer(some_patches(3))


@pytest.mark.parametrize(
    ("engine", "cure"),
    [
        ("openvino-gpu", "OpenVINO finds no GPU, only CPU; .* Use engine openvino"),
        ("onnxruntime-directml", "no DmlExecutionProvider; .*pip install onnxruntime-directml"),
        ("onnxruntime-coreml", "no CoreMLExecutionProvider; ONNX Runtime for macOS has it"),
    ],
)
def test_what_is_not_there_is_a_missing_capability(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, engine: str, cure: str
) -> None:
    monkeypatch.setattr(openvino.Core, "available_devices", ["CPU"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(CapabilityError, match=cure):
        open_engine(tiny_bundle, engine=engine)


@pytest.mark.parametrize("engine", SMALL_GPU_ENGINES)
def test_they_do_not_run_on_an_nvidia_gpu(tiny_bundle: ModelBundle, engine: str) -> None:
    with pytest.raises(InputError, match=f"{engine} does not run on device cuda:0"):
        open_engine(tiny_bundle, engine=engine, device="cuda:0")


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A GPU of Intel's that computes on the CPU; the settings that it was asked for."""
    asked: list[dict[str, Any]] = []
    compile_model = openvino.Core.compile_model

    def on_the_cpu(core: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
        assert device == "GPU"
        asked.append(settings)
        return compile_model(core, model, "CPU", settings)

    monkeypatch.setattr(openvino.Core, "available_devices", ["CPU", "GPU.0", "GPU.1"])
    monkeypatch.setattr(openvino.Core, "compile_model", on_the_cpu)
    return asked


def test_intels_gpu_computes_in_fp32(tiny_bundle: ModelBundle, expected: Any, intel: list[dict[str, Any]]) -> None:
    with open_engine(tiny_bundle, engine="openvino-gpu") as ready:
        assert (ready.spec.name, ready.spec.device, ready.spec.precision) == ("openvino-gpu", "cpu", "fp32")
        np.testing.assert_allclose(ready.infer(some_patches(3)), expected, atol=1e-5)
    assert intel == [{"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}]
    with pytest.raises(CapabilityError, match="precision is 'bf16'; openvino-gpu computes in fp32"):
        open_engine(tiny_bundle, engine="openvino-gpu", precision="bf16")


@pytest.mark.parametrize("engine", ONNX_RUNTIME)
def test_onnx_runtime_runs_all_of_it_there_or_none(
    tiny_bundle: ModelBundle, expected: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    open_session = ours.open_session
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(ONNX_RUNTIME.values()))

    def on_the_cpu(runtime: Any, path: Any, patch: Any, options: Any, providers: list[str]) -> Any:
        assert providers == [ONNX_RUNTIME[engine]]
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        assert not options.enable_mem_pattern
        return open_session(runtime, path, patch, onnxruntime.SessionOptions(), ["CPUExecutionProvider"])

    monkeypatch.setattr(ours, "open_session", on_the_cpu)
    with open_engine(tiny_bundle, engine=engine) as ready:
        assert (ready.spec.name, ready.spec.device, ready.spec.precision) == (engine, "cpu", "fp32")
        np.testing.assert_allclose(ready.infer(some_patches(3)), expected, atol=1e-5)

    def in_part(*_: Any) -> Any:
        raise InputError("not a network") from RuntimeError("some nodes are not supported")

    monkeypatch.setattr(ours, "open_session", in_part)
    with pytest.raises(CapabilityError, match=r"does not run all of a\.onnx here; .*some nodes are not supported"):
        open_engine(tiny_bundle, engine=engine)
