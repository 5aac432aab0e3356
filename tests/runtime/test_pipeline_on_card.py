"""The stages together with an engine on a card: what comes back is what the same scores give on a CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np
import pytest

import ps3d_rt.plan
from ps3d_rt.core.arrays import asnumpy, is_cupy_array
from ps3d_rt.engines.base import Engine
from ps3d_rt.engines.fake import FakeEngine
from ps3d_rt.errors import CapabilityError
from ps3d_rt.io.volume import ArrayVolume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import Result, predict_volume
from ps3d_rt.plan import PredictConfig

PATCH = (24, 24, 24)
BUNDLE = ModelBundle(
    name="fake",
    patch=PATCH,
    target_size_voxels=13.0,
    border_thickness_voxels=2.0,
    members=("a.onnx",),
    sha256={"a.onnx": "0"},
)


@final
class CardEngine(Engine):
    """The fake engine with its patches and scores on a card, though it computes on the host."""

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


def run(engine: Engine, image: Any, **changes: Any) -> Result:
    fields: dict[str, Any] = {"spacing_mm": (0.01,) * 3, "particle_size_mm": 0.13, "overlap": 0.5}
    return predict_volume(ArrayVolume(image, 0.01), BUNDLE, engine, PredictConfig(**(fields | changes)))


@pytest.mark.parametrize(
    ("dtype", "size_mm", "skip"), [(np.uint16, 0.13, True), (np.uint8, 0.2, False), (np.float32, 0.1, True)]
)
def test_a_card_gives_the_bytes_of_the_cpu(cupy, monkeypatch, dtype, size_mm, skip):
    want = run(FakeEngine(PATCH, threshold=2.0), scan(dtype), particle_size_mm=size_mm, skip_empty=skip)
    monkeypatch.setattr(ps3d_rt.plan, "SHARD", (8, 16, 16))
    found = run(CardEngine(cupy), scan(dtype), particle_size_mm=size_mm, skip_empty=skip, chunk=16)
    assert want.run["particles"] == len(want.particles) > 2
    assert found.labels.tobytes() == want.labels.tobytes()
    for name, column in want.particles.columns().items():
        np.testing.assert_array_equal(found.particles.columns()[name], column, err_msg=name)
    assert found.run["patches"]["skipped"] == want.run["patches"]["skipped"]
    assert found.run["engine"]["device"] == "cuda:0"


def test_a_card_that_runs_out_of_memory_is_no_bug(cupy):
    with pytest.raises(CapabilityError, match=r"cuda:0: 2\.0 GiB.*--gpu-memory"):
        run(CardEngine(cupy, most_patches=3), scan(), gpu_memory_bytes=2**31)
