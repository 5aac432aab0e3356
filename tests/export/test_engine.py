"""Engines are built once, where a GPU is there with the norm that is fastest; a stand-in takes TensorRT's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine
from ps3d_export import engine as module
from ps3d_export.engine import export_engine, patches_per_s
from ps3d_export.variant import export_variant
from ps3d_rt.devices.gpus import Gpu
from ps3d_rt.engines.base import OnnxNetwork
from ps3d_rt.engines.cache import EngineCache, EngineKey
from ps3d_rt.errors import CapabilityError

GPU = Gpu(0, "A GPU", (8, 9), 2**33, (13, 0))


@pytest.fixture
def builds(monkeypatch) -> list[tuple[str, str]]:
    """TensorRT replaced: what was built, as (network, norm)."""
    done: list[tuple[str, str]] = []

    def key(path: Path, *, flavour: str, patch: Any, precision: str, gpu: Gpu | None) -> EngineKey:
        name = "" if gpu is None else gpu.identity
        shape = {"patch": patch, "batches": (1,)}
        return EngineKey(onnx_sha256=path.name, flavour=flavour, version="1", gpu=name, precision=precision, **shape)

    def build(cache: EngineCache, key: EngineKey, onnx: Path, *, norm: str = "native") -> Any:
        done.append((onnx.name, norm))
        return cache.store(key, norm.encode(), {"norm": norm})

    class Opened:
        def __init__(self, network: OnnxNetwork, *, cache: EngineCache, **options: Any) -> None:
            assert (network.path.name, network.precision) == (done[-1][0], "fp32")
            assert options == {"flavour": "tensorrt", "device": "cuda:0"}
            (path,) = cache.folder.glob("*.engine")
            self.norm = path.read_text()

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(module, "engine_key", key)
    monkeypatch.setattr(module, "build_into", build)
    monkeypatch.setattr(module, "TensorRtEngine", Opened)
    monkeypatch.setattr(module, "patches_per_s", lambda engine: {"native": 10.0, "plugin": 12.5}[engine.norm])
    return done


def no_gpu(device: str) -> Gpu:
    raise CapabilityError(f"{device} is not there")


def test_without_a_gpu_each_network_is_built_once(bundle, builds, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_gpu", no_gpu)
    cache = EngineCache(tmp_path / "engines")
    for _ in range(2):
        engines = export_engine(bundle, flavour="tensorrt-rtx", cache=cache)
        assert [engine.manifest["key"]["onnx_sha256"] for engine in engines] == ["a.onnx", "b.onnx"]
        assert [engine.manifest["key"]["gpu"] for engine in engines] == ["", ""]
        assert builds == [("a.onnx", "native"), ("b.onnx", "native")]


def test_on_a_gpu_the_norms_are_timed_and_the_fastest_kept(bundle, builds, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_gpu", lambda device: GPU)
    cache = EngineCache(tmp_path / "engines")
    engines = export_engine(bundle, flavour="tensorrt", cache=cache)
    assert builds == [("a.onnx", "native"), ("a.onnx", "plugin"), ("b.onnx", "native"), ("b.onnx", "plugin")]
    for engine in engines:
        assert engine.path.read_bytes() == b"plugin"
        assert engine.manifest["facts"] == {"norm": "plugin", "patches_per_s_by_norm": {"native": 10.0, "plugin": 12.5}}
    assert len(list(cache.folder.glob("*.engine"))) == 2


def test_a_gpu_asked_for_by_name_must_be_there(bundle, builds, monkeypatch):
    monkeypatch.setattr(module, "find_gpu", no_gpu)
    with pytest.raises(CapabilityError, match="cuda:3 is not there"):
        export_engine(bundle, flavour="tensorrt-rtx", device="cuda:3")
    assert builds == []


def test_speed_is_patches_over_time_without_the_first_call(monkeypatch):
    clock = iter(np.cumsum([0, 100, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2]))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    assert patches_per_s(FakeEngine((8, 8, 8))) == pytest.approx(1.0)  # batches of two


def test_a_real_engine_is_built_without_a_gpu(bundle, tmp_path, monkeypatch):
    """In half precision, ahead of time; skipped where TensorRT-RTX is not installed."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    monkeypatch.setattr(module, "find_gpu", no_gpu)
    half = export_variant(bundle, tmp_path / "half.ps3d", precision="fp16", rewrites=True)
    engine, _ = export_engine(half, flavour="tensorrt-rtx", cache=EngineCache(tmp_path / "engines"))
    facts = engine.manifest["facts"]
    assert facts["precision"] == "fp16"
    assert {tensor["type"] for tensor in (*facts["inputs"], *facts["outputs"])} == {"FLOAT"}
    assert facts["layers"]["NORMALIZATION"] == 3
    assert "DECONVOLUTION" not in facts["layers"]
