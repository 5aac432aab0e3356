"""The stages together with an engine on a GPU: what comes back is what the same scores give on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import numpy as np
import pytest

import ps3d_rt.plan
from fake_engine import FakeEngine
from ps3d_rt.api import as_volume
from ps3d_rt.core.arrays import asnumpy, is_cupy_array
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import CapabilityError
from ps3d_rt.pipeline import RunResult, predict_volume
from ps3d_rt.plan import PredictConfig

PATCH = (24, 24, 24)


@pytest.fixture(scope="module")
def model(fake_model: Any) -> Any:
    return fake_model(patch=PATCH[0], target_size_voxels=13.0)


@final
class GpuEngine(Engine):
    """The fake engine with its patches and scores on a GPU, though it computes on the host."""

    def __init__(self, cupy: Any, most_patches: int = 10**9) -> None:
        self._cupy, self._left = cupy, most_patches
        self._host = FakeEngine(PATCH, threshold=2.0)
        self.spec = replace(self._host.spec, device="cuda:0")

    def _infer(self, patches: Any) -> Any:
        assert is_cupy_array(patches)
        assert len(patches) <= self.spec.batch
        self._left -= len(patches)
        if self._left < 0:
            raise self._cupy.cuda.memory.OutOfMemoryError(2**40, 0, 2**33)
        return self._cupy.asarray(self._host.infer(asnumpy(patches)))


def scan(dtype: Any = np.uint16) -> np.ndarray[Any, Any]:
    grid = np.indices((34, 40, 90))
    image = np.random.default_rng(0).normal(80, 2, grid.shape[1:])
    for center in ((8, 10, 12), (24, 28, 14), (12, 13, 24), (22, 22, 50)):
        image[((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) <= 6.5**2] += 150
    return image.astype(dtype)


@pytest.fixture
def run(model: Any) -> Callable[..., RunResult]:
    def call(engine: Engine, image: Any, **changes: Any) -> RunResult:
        fields: dict[str, Any] = {"spacing_mm": (0.01,) * 3, "particle_size_mm": 0.13, "overlap": 0.5}
        return predict_volume(as_volume(image, 0.01), model, engine, PredictConfig(**(fields | changes)))

    return call


@pytest.mark.parametrize(
    ("dtype", "size_mm", "skip"), [(np.uint16, 0.13, True), (np.uint8, 0.2, False), (np.float32, 0.1, True)]
)
def test_a_gpu_gives_the_bytes_of_the_cpu(cupy, monkeypatch, dtype, size_mm, skip, run):
    want = run(FakeEngine(PATCH, threshold=2.0), scan(dtype), particle_size_mm=size_mm, skip_empty=skip)
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", (8, 16, 16))
    found = run(GpuEngine(cupy), scan(dtype), particle_size_mm=size_mm, skip_empty=skip, chunk=16)
    assert want.run["particles"] == len(want.particles) > 2
    assert found.labels.tobytes() == want.labels.tobytes()
    for name, column in want.particles.columns().items():
        np.testing.assert_array_equal(found.particles.columns()[name], column, err_msg=name)
    assert found.run["patches"]["skipped"] == want.run["patches"]["skipped"]
    assert found.run["engine"]["device"] == "cuda:0"


def test_a_scan_on_the_gpu_gives_the_bytes_of_one_on_the_host(cupy, run, monkeypatch):
    want = run(FakeEngine(PATCH, threshold=2.0), scan())
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", (8, 16, 16))
    found = run(GpuEngine(cupy), cupy.asarray(scan()), chunk=16)
    assert found.labels.tobytes() == want.labels.tobytes()
    np.testing.assert_array_equal(found.particles.gray_mean, want.particles.gray_mean)


def test_calls_are_full_though_patches_between_are_empty(cupy, run, monkeypatch):
    sizes = []
    image = scan()
    image[:, :, 30:60] = 80  # nothing in there: some patches of every layer are empty
    engine = GpuEngine(cupy)
    infer = engine._infer
    monkeypatch.setattr(engine, "_infer", lambda patches: sizes.append(len(patches)) or infer(patches))
    found = run(engine, image)
    patches, layers = found.run["patches"], 3
    assert patches["skipped"] > 0
    assert sum(sizes) == patches["computed"]
    assert sum(size < engine.spec.batch for size in sizes) <= layers, "only the last call of a layer may be short"


def test_a_gpu_that_runs_out_of_memory_is_no_bug(cupy, run):
    with pytest.raises(CapabilityError, match=r"cuda:0: 2\.0 GiB.*--gpu-memory"):
        run(GpuEngine(cupy, most_patches=3), scan(), gpu_memory_bytes=2**31)
