from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.grid import Zyx
from ps3d_rt.engines import open_engine
from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.engines.ensemble import EnsembleEngine
from ps3d_rt.engines.mirrored import MirroredEngine
from ps3d_rt.model import ModelBundle, write_bundle

PATCH = (2, 3, 4)


class Ramp(Engine):
    """Scores that depend on the place in the patch, and on the voxel behind; it counts its calls."""

    def __init__(self, patch: Zyx = PATCH) -> None:
        self.spec = EngineSpec(name="ramp", patch=patch, device="cpu", precision="fp32", batch=1)
        self.ramp = np.arange(np.prod(patch), dtype=np.float32).reshape(patch)
        self.calls, self.closed = 0, False

    def _infer(self, patches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.calls += 1
        return np.concatenate([patches, patches * self.ramp, patches + self.ramp], axis=1)

    def close(self) -> None:
        self.closed = True


def some_patches(patch: Zyx = PATCH) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal((2, 1, *patch), dtype=np.float32)


@pytest.mark.parametrize(
    ("axes", "flips"),
    [
        ((0,), ["", "z"]),
        ((2,), ["", "x"]),
        ((0, 2), ["", "z", "x", "zx"]),
        ((0, 1, 2), ["", "z", "y", "x", "zy", "zx", "yx", "zyx"]),
    ],
)
def test_scores_are_the_mean_over_every_choice_of_axes(axes: tuple[int, ...], flips: list[str]) -> None:
    inner, patches = Ramp(), some_patches()
    scores = MirroredEngine(inner, axes).infer(patches)
    assert inner.calls == len(flips)
    # The voxel goes and comes back; only the ramp of the place is turned.
    ramp = np.mean([np.flip(inner.ramp, ["zyx".index(axis) for axis in flip]) for flip in flips], axis=0)
    np.testing.assert_allclose(scores[:, 0], patches[:, 0], rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1], patches[:, 0] * ramp, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores[:, 2], patches[:, 0] + ramp, rtol=1e-5, atol=1e-5)
    assert scores.dtype == np.float32


class Halves(Engine):
    """Scores from functions that every array library has."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.spec = EngineSpec(name="halves", patch=PATCH, device="cpu", precision="fp32", batch=1)

    def _infer(self, patches: Any) -> Any:
        return array_namespace(patches).concat([patches, patches * self.share, -patches], axis=1)


def test_mirrors_and_ensembles_work_on_any_array_library() -> None:
    patches = some_patches()
    for of in (
        lambda: MirroredEngine(Halves(0.25), (0, 2)),
        lambda: EnsembleEngine([Halves(0.25), Halves(0.75), Halves(0.0)]),
    ):
        expected = of().infer(patches)
        strict = of().infer(array_api_strict.asarray(patches))
        assert strict.dtype == array_api_strict.float32
        np.testing.assert_array_equal(np.asarray(strict), expected)


def test_it_says_that_it_mirrors_and_closes_what_it_took_over() -> None:
    inner = Ramp()
    with MirroredEngine(inner, (0, 1)) as ready:
        assert ready.spec == dataclasses.replace(inner.spec, mirror_axes=(0, 1))
    assert inner.closed


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_mirrored_patches_have_mirrored_scores(tiny_bundle: ModelBundle, engine: str) -> None:
    bundle = dataclasses.replace(tiny_bundle, mirror_axes=(0, 1, 2))
    patches = some_patches(bundle.patch)
    with open_engine(bundle, engine=engine, precision="fp32") as ready:
        scores, turned = ready.infer(patches), ready.infer(patches[:, :, ::-1, :, ::-1])
    with open_engine(tiny_bundle, engine=engine, precision="fp32") as plain:
        alone = plain.infer(patches)
    np.testing.assert_allclose(turned[:, :, ::-1, :, ::-1], scores, atol=1e-5)
    assert np.abs(alone - scores).max() > 0.01, "the network itself is not symmetric"


def test_the_model_decides_unless_it_is_said(tiny_bundle: ModelBundle) -> None:
    some = dataclasses.replace(tiny_bundle, mirror_axes=(1,))

    def axes(bundle: ModelBundle, mirror: bool | None) -> tuple[int, ...]:
        with open_engine(bundle, engine="fake", mirror=mirror) as ready:
            return ready.spec.mirror_axes

    assert [axes(tiny_bundle, mirror) for mirror in (None, False, True)] == [(), (), (0, 1, 2)]
    assert [axes(some, mirror) for mirror in (None, False, True)] == [(1,), (), (1,)]


def test_workers_open_the_same_mirrors(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    files = {"a.onnx": tiny_bundle.path / "a.onnx"}
    bundle = write_bundle(tmp_path / "m.ps3d", dataclasses.replace(tiny_bundle, mirror_axes=(0,)), files)
    for mirror in (None, False, True):
        with open_engine(bundle, engine="fake", mirror=mirror) as ready:
            there = pickle.loads(pickle.dumps(ready))
        assert there.spec == ready.spec
        assert isinstance(there, MirroredEngine) == (mirror is not False)
