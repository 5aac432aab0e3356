"""The engines of a GPU where there is none: CuPy, TensorRT and ONNX Runtime's CUDA part are stand-ins.

The stand-ins compute, on the CPU, from the addresses they are given: a wrong address, shape, batch or order shows in
the scores. "Engines" are ONNX files, which a stand-in for TensorRT loads into ONNX Runtime. What only a GPU can show
is in test_engines_gpu.py.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from host_engines import (
    Context,
    CudaEngine,
    CudaSession,
    Kernels,
    Runtime,
    Stream,
    cupy_stand_in,
    ndarray,
    tensorrt_stand_in,
)
from ps3d_rt.core.arrays import Array
from ps3d_rt.devices import gpus
from ps3d_rt.engines import DeviceLimits, onnxruntime_cuda, open_engine, tensorrt
from ps3d_rt.engines.cache import CachedEngine, EngineCache, EngineKey, Verdict
from ps3d_rt.engines.onnxruntime_cuda import provider_options
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle

PATCH, BATCHES = (16, 16, 16), (1, 2, 4, 8)
GPU = gpus.Gpu(0, "H200", (9, 0), 139 * 2**30, (13, 0))
SCRATCH = {1: 1000, 2: 2000, 4: 4000, 8: 8000}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[EngineKey]:
    """A machine with a GPU, CuPy and TensorRT-RTX; the keys of the engines that were built."""
    monkeypatch.setattr(gpus, "find_gpus", lambda: (GPU,))
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in())
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", tensorrt_stand_in("tensorrt_rtx"))
    sys.modules["tensorrt_rtx"].__spec__ = SimpleNamespace()
    keys: list[EngineKey] = []

    def build_into(cache: EngineCache, key: EngineKey, onnx: Path) -> CachedEngine:
        keys.append(key)
        return cache.store(key, onnx.read_bytes(), {"precision": "fp32"})

    monkeypatch.setattr(tensorrt, "build_into", build_into)
    Context.running.clear()
    Kernels.loaded.clear()
    return keys


def some_patches(count: int) -> Array:
    patches = np.random.default_rng(0).standard_normal((count, 1, *PATCH), dtype=np.float32)
    return patches.view(ndarray)


def on_the_cpu(bundle: ModelBundle, patches: Array) -> Array:
    with open_engine(bundle, engine="onnxruntime", device="cpu") as ready:
        return ready.infer(np.array(patches))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("asked", [{}, {"batch": 3}, {"cuda_graph": True}, {"batch": 1}])
def test_tensorrt_scores_what_it_is_given_where_it_lies(tiny_bundle: ModelBundle, asked: dict[str, Any]) -> None:
    limits = DeviceLimits(**asked)
    patches, batch = some_patches(11), {8: 8, 3: 2, 1: 1}[limits.batch]
    with (
        open_engine(tiny_bundle, engine="tensorrt-rtx", device="cuda:0", limits=limits) as ready,
        Stream() as stream,
    ):
        assert ready.spec.device == "cuda:0"
        assert (ready.spec.name, ready.spec.precision, ready.spec.batch) == ("tensorrt-rtx", "tf32", batch)
        assert (
            ready.spec.memory_bytes == SCRATCH[batch] + batch * 4 * 16**3 * 4 + tiny_bundle.onnx_paths[0].stat().st_size
        )
        scores = ready.infer(patches[:, :, :, ::-1])
        assert type(scores) is ndarray
        np.testing.assert_allclose(scores, on_the_cpu(tiny_bundle, patches[:, :, :, ::-1]), atol=1e-5)
        if limits.cuda_graph:
            assert stream.log == ["graph", "graph"], "eleven patches in calls of eight, nothing waited for"
        else:
            assert Runtime.last.streams[-1] == stream.ptr, "CuPy's current stream"
            assert stream.log == []
            assert set(Runtime.last.context.batches) == {batch}
        first = scores[:3].copy()
        ready.infer(some_patches(3) + 1)
        np.testing.assert_array_equal(scores[:3], first, "the scores are the caller's own")


def test_an_engine_is_built_once(tiny_bundle: ModelBundle, built: list[EngineKey]) -> None:
    for _ in range(2):
        with open_engine(tiny_bundle, engine="tensorrt-rtx") as ready:
            assert ready.spec.batch == 8
    (key,) = built
    assert (key.flavour, key.version, key.gpu, key.patch) == ("tensorrt-rtx", "99.1", "H200 9.0", PATCH)
    assert Kernels.loaded == [b"compiled kernels"], "compiled by the first, taken over by the second"
    with open_engine(dataclasses.replace(tiny_bundle, provenance={"precision": "fp16"}), engine="tensorrt-rtx"):
        assert [key.precision for key in built] == ["fp32", "fp16"]


def test_an_engine_that_does_not_load_any_more_is_built_anew(
    tiny_bundle: ModelBundle, built: list[EngineKey], caplog: pytest.LogCaptureFixture
) -> None:
    open_engine(tiny_bundle, engine="tensorrt-rtx").close()
    EngineCache().store(built[0], b"old engine", {"precision": "fp32"})
    with caplog.at_level(logging.WARNING), open_engine(tiny_bundle, engine="tensorrt-rtx") as ready:
        assert ready.infer(some_patches(1)).shape == (1, 3, *PATCH)
    assert len(built) == 2
    assert "does not load" in caplog.text


@pytest.mark.parametrize(
    ("of", "what", "broken", "says"),
    [
        (Runtime, "deserialize_cuda_engine", lambda *_: None, r"tensorrt-rtx 99\.1 does not run on H200 9\.0"),
        (CudaEngine, "create_execution_context", lambda *_: None, r"tensorrt-rtx cannot start on H200 9\.0"),
        (CudaEngine, "works", False, "tensorrt-rtx does not run on cuda:0"),
    ],
)
def test_an_engine_that_does_not_run_is_a_missing_capability(
    tiny_bundle: ModelBundle,
    built: list[EngineKey],
    monkeypatch: pytest.MonkeyPatch,
    of: Any,
    what: str,
    broken: Any,
    says: str,
) -> None:
    monkeypatch.setattr(of, what, broken)
    with pytest.raises(CapabilityError, match=says):
        open_engine(tiny_bundle, engine="tensorrt-rtx")


def test_a_failed_gate_is_refused_unless_the_engine_is_named(
    tiny_bundle: ModelBundle, built: list[EngineKey], caplog: pytest.LogCaptureFixture
) -> None:
    with open_engine(tiny_bundle) as ready:
        assert ready.spec.name == "tensorrt-rtx"
    cached = EngineCache().find(built[0])
    assert cached is not None
    cached.record_gate(Verdict(False, {"F1_instance": [0.8, 0.9]}))
    with pytest.raises(CapabilityError, match=r"failed the accuracy gate.*0\.8") as caught:
        open_engine(tiny_bundle, device="cuda:0")
    assert caught.value.exit_code == 3
    with caplog.at_level(logging.WARNING), open_engine(tiny_bundle) as ready:
        assert ready.spec.device == "cpu", "no other engine loads on this GPU"
    assert "cuda:0 (H200) is not used" in caplog.text
    assert "failed the accuracy gate" in caplog.text
    with open_engine(tiny_bundle, engine="tensorrt-rtx") as ready:
        assert ready.spec.name == "tensorrt-rtx"
    cached.record_gate(Verdict(True, {}))
    with open_engine(tiny_bundle) as ready:
        assert ready.spec.name == "tensorrt-rtx"


def test_a_budget_makes_the_batch_smaller(tiny_bundle: ModelBundle, built: list[EngineKey]) -> None:
    with open_engine(tiny_bundle, engine="tensorrt-rtx") as ready:
        most = ready.spec.memory_bytes
    assert most is not None
    with open_engine(tiny_bundle, engine="tensorrt-rtx", limits=DeviceLimits(memory_bytes=most - 1)) as ready:
        assert ready.spec.batch == 4
    with pytest.raises(CapabilityError, match="GiB of device memory"):
        open_engine(tiny_bundle, engine="tensorrt-rtx", limits=DeviceLimits(memory_bytes=1000))


def test_arrays_must_lie_where_the_engine_is(tiny_bundle: ModelBundle, built: list[EngineKey]) -> None:
    with (
        open_engine(tiny_bundle, engine="tensorrt-rtx") as ready,
        pytest.raises(InputError, match="patches are on cpu, the engine on cuda:0"),
    ):
        ready.infer(np.array(some_patches(1)))
    with (
        open_engine(tiny_bundle, engine="openvino") as ready,
        pytest.raises(InputError, match="patches are on cuda:0, the engine on cpu"),
    ):
        ready.infer(some_patches(1))


def test_mirrors_ensembles_and_other_processes_work_on_a_gpu(
    tiny_bundle: ModelBundle, tiny_networks: tuple[Path, Path], built: list[EngineKey]
) -> None:
    (tiny_bundle.path / "b.onnx").write_bytes(tiny_networks[1].read_bytes())
    both = dataclasses.replace(tiny_bundle, members=("a.onnx", "b.onnx"), mirror_axes=(0, 2))
    patches = some_patches(2)
    with open_engine(both, engine="tensorrt-rtx") as ready:
        scores = ready.infer(patches)
        assert type(scores) is ndarray
        np.testing.assert_allclose(scores, on_the_cpu(both, patches), atol=1e-5)
    assert len(built) == 2
    with open_engine(tiny_bundle, limits=DeviceLimits(batch=2)) as ready:
        there = pickle.loads(pickle.dumps(ready))
    assert there.spec == ready.spec
    assert (there.spec.name, there.spec.device, there.spec.batch) == ("tensorrt-rtx", "cuda:0", 2)


def test_a_gpu_computes_in_the_models_precision(tiny_bundle: ModelBundle, built: list[EngineKey]) -> None:
    with pytest.raises(CapabilityError, match="the one it was exported in, fp32"):
        open_engine(tiny_bundle, engine="tensorrt-rtx", precision="bf16")


# --- ONNX Runtime ---


@pytest.fixture
def ort_cuda(built: list[EngineKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine without TensorRT-RTX, with ONNX Runtime's CUDA build."""
    for module in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnxruntime_cuda.PROVIDER])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    runtime = SimpleNamespace(**vars(onnxruntime) | {"InferenceSession": CudaSession})
    monkeypatch.setattr(onnxruntime_cuda, "load_onnxruntime", lambda: runtime)


@pytest.mark.usefixtures("ort_cuda")
def test_onnxruntime_computes_in_place_and_in_order(tiny_bundle: ModelBundle, caplog: pytest.LogCaptureFixture) -> None:
    patches = some_patches(5)
    with (
        caplog.at_level(logging.DEBUG, "ps3d_rt"),
        open_engine(tiny_bundle, limits=DeviceLimits(batch=2)) as ready,
        Stream() as stream,
    ):
        assert (ready.spec.name, ready.spec.device, ready.spec.batch) == ("onnxruntime-cuda", "cuda:0", 2)
        np.testing.assert_allclose(ready.infer(patches), on_the_cpu(tiny_bundle, patches), atol=1e-5)
        own = ready._engine._stream
    assert stream.log == [("waits for", own.ptr)] * 3, "what comes after waits for the scores"
    assert own.log[-4:] == [("waits for", stream.ptr)] * 3 + ["synchronize"], "a call waits for its patches"
    assert "engine tensorrt-rtx is not available" in caplog.text, "it says what it would rather have used"
    assert "on cuda:0: onnxruntime-cuda, tf32" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_providers_options_are_texts() -> None:
    options = provider_options(GPU, 77, DeviceLimits(memory_bytes=2**30))
    assert options == {
        "device_id": "0",
        "user_compute_stream": "77",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": "1073741824",
    }


@pytest.mark.usefixtures("ort_cuda")
def test_a_cuda_part_that_does_not_load_is_no_cpu_in_disguise(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CudaSession, "providers", ("CPUExecutionProvider",))
    with pytest.raises(CapabilityError, match="cannot load its CUDA part"):
        open_engine(tiny_bundle, engine="onnxruntime-cuda")


def test_onnxruntime_without_cuda_is_named(tiny_bundle: ModelBundle, built: list[EngineKey]) -> None:
    with pytest.raises(CapabilityError, match=r"the build without CUDA.*pip install onnxruntime-gpu"):
        open_engine(tiny_bundle, engine="onnxruntime-cuda")


@pytest.mark.usefixtures("ort_cuda")
def test_a_gpu_without_cupy_is_not_used_and_that_is_said(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with caplog.at_level(logging.WARNING), open_engine(tiny_bundle) as ready:
        assert ready.spec.device == "cpu"
    assert "cuda:0 (H200) is not used" in caplog.text
    with pytest.raises(CapabilityError, match=r'pip install "ps3d-rt\[gpu\]"'):
        open_engine(tiny_bundle, device="cuda:0")
