"""The engines on a real GPU, against ONNX Runtime on the CPU. Skipped where there is no GPU, engine by engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.core.arrays import Array
from ps3d_rt.devices.gpus import Gpu, find_gpu, load_cupy
from ps3d_rt.engines import GPU_ENGINES, DeviceLimits, Engine, open_engine, tensorrt
from ps3d_rt.engines.cache import EngineCache
from ps3d_rt.engines.tensorrt_build import engine_key
from ps3d_rt.errors import CapabilityError
from ps3d_rt.model import ModelBundle, load_model

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    try:
        return find_gpu("auto")
    except CapabilityError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cupy(gpu: Gpu) -> Any:
    try:
        return load_cupy(gpu)
    except CapabilityError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path))


def opened(bundle: ModelBundle, name: str, limits: DeviceLimits | None = None) -> Engine:
    try:
        return open_engine(bundle, engine=name, limits=limits)
    except CapabilityError as error:
        pytest.skip(str(error))


def some_patches(bundle: ModelBundle, count: int) -> Array:
    return np.random.default_rng(0).standard_normal((count, 1, *bundle.patch), dtype=np.float32)


def on_the_cpu(bundle: ModelBundle, patches: Array) -> Array:
    with open_engine(bundle, engine="onnxruntime", device="cpu") as ready:
        return ready.infer(patches)


@pytest.mark.parametrize("name", GPU_ENGINES)
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_the_default_model_scores_as_on_the_cpu(cupy: Any, name: str, cuda_graph: bool) -> None:
    model = load_model()
    patches = some_patches(model, 11)
    with opened(model, name, DeviceLimits(cuda_graph=cuda_graph)) as ready, cupy.cuda.Stream(non_blocking=True):
        assert (ready.spec.name, ready.spec.device) == (name, "cuda:0")
        scores = ready.infer(cupy.asarray(patches)).get()
    expected = on_the_cpu(model, patches)
    assert np.ptp(expected) > 0.5
    # TF32 has ten bits behind the point.
    np.testing.assert_allclose(scores, expected, atol=0.05)
    assert (scores.argmax(1) == expected.argmax(1)).mean() > 0.995
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("name", GPU_ENGINES)
def test_scores_do_not_depend_on_the_company(cupy: Any, tiny_bundle: ModelBundle, name: str) -> None:
    patches = cupy.asarray(some_patches(tiny_bundle, 11))
    with opened(tiny_bundle, name, DeviceLimits(batch=4)) as ready:
        together = ready.infer(patches)
        alone = cupy.concatenate([ready.infer(patch[None]) for patch in patches])
        assert bool((together == alone).all())
        assert bool((ready.infer(patches[::-1]) == together[::-1]).all()), "of any strides"
        assert bool((ready.infer(patches) == together).all()), "and the same a second time"


@pytest.mark.parametrize("name", GPU_ENGINES)
def test_infer_follows_the_current_stream(cupy: Any, tiny_bundle: ModelBundle, name: str) -> None:
    patches = cupy.asarray(some_patches(tiny_bundle, 8))
    with opened(tiny_bundle, name) as ready:
        expected = ready.infer(patches)
        cupy.cuda.Device(0).synchronize()
        with cupy.cuda.Stream(non_blocking=True) as stream:
            late = cupy.zeros_like(patches)
            work = cupy.ones((4000, 4000), dtype=cupy.float32)
            for _ in range(50):
                work = work @ work * 1e-4  # keeps the stream busy
            late[...] = patches + 0 * work[0, 0]
            scores = ready.infer(late)
            assert not stream.done, "infer waited for the GPU"
            late[...] = 7  # comes after the run, though the host is there before it
            np.testing.assert_array_equal(scores.get(), expected.get())


@pytest.mark.parametrize("name", GPU_ENGINES)
def test_mirrors_and_ensembles_stay_on_the_gpu(
    cupy: Any, tiny_bundle: ModelBundle, tiny_networks: tuple[Path, Path], name: str
) -> None:
    (tiny_bundle.path / "b.onnx").write_bytes(tiny_networks[1].read_bytes())
    both = dataclasses.replace(tiny_bundle, members=("a.onnx", "b.onnx"), mirror_axes=(0, 2))
    patches = some_patches(both, 3)
    with opened(both, name) as ready:
        scores = ready.infer(cupy.asarray(patches))
        assert isinstance(scores, cupy.ndarray)
        np.testing.assert_allclose(scores.get(), on_the_cpu(both, patches), atol=0.05)


@pytest.mark.parametrize("name", GPU_ENGINES[:2])
def test_tensorrt_lives_in_cupys_pool_and_in_its_budget(cupy: Any, tiny_bundle: ModelBundle, name: str) -> None:
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.used_bytes()
    with opened(tiny_bundle, name) as ready:
        assert pool.used_bytes() > before, "the weights"
        most = ready.spec.memory_bytes
    assert pool.used_bytes() <= before, "all of it is given back"
    assert most is not None
    with opened(tiny_bundle, name, DeviceLimits(memory_bytes=most - 1)) as ready:
        assert ready.spec.batch < 8


@pytest.mark.parametrize("name", GPU_ENGINES[:2])
def test_an_engine_is_built_once_and_again_when_it_is_damaged(
    cupy: Any, gpu: Gpu, tiny_bundle: ModelBundle, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[Path] = []
    real = tensorrt.build_into

    def count(cache: EngineCache, key: Any, onnx: Path) -> Any:
        builds.append(onnx)
        return real(cache, key, onnx)

    monkeypatch.setattr(tensorrt, "build_into", count)
    for _ in range(2):
        opened(tiny_bundle, name).close()
    assert len(builds) == 1
    network = tiny_bundle.onnx_paths[0]
    key = engine_key(network, flavour=name, patch=tiny_bundle.patch, precision="fp32", gpu=gpu)
    EngineCache().store(key, b"no engine", {"precision": "fp32"})
    with opened(tiny_bundle, name) as ready:
        assert ready.infer(cupy.zeros((1, 1, *tiny_bundle.patch), dtype=cupy.float32)).shape[1] == 3
    assert len(builds) == 2
