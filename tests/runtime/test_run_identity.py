"""Which run it is: all that decides the labels, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine
from ps3d_rt.core.grid import Box
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.hashed import HashedReads
from ps3d_rt.io.selected import select
from ps3d_rt.pipeline import prepare
from ps3d_rt.plan import PredictConfig
from ps3d_rt.stages.prediction import Prediction, identity_before_plan


@pytest.fixture(scope="module")
def model(fake_model: Any) -> Any:
    return fake_model(patch=16)


@pytest.fixture(scope="module")
def volume() -> ArrayVolume:
    """Bright cubes in noise."""
    clean = np.where((np.indices((40, 36, 20)) % 16 < 10).all(axis=0), 30000, 9000)
    noise = np.random.default_rng(0).normal(0, 100, clean.shape)
    return ArrayVolume((clean + noise).astype(np.uint16), name="ore")


@pytest.fixture(scope="module")
def begun(volume: ArrayVolume, model: Any) -> Prediction:
    config = PredictConfig(spacing_mm=(0.01, 0.01, 0.01), particle_size_mm=0.12, overlap=0.25)
    return prepare(volume, model, FakeEngine(model.patch), config)


@pytest.mark.parametrize(
    "changed",
    [
        lambda run: replace(run, config=replace(run.config, spacing_mm=(0.01, 0.01, 0.02))),
        lambda run: replace(run, config=replace(run.config, skip_empty=not run.config.skip_empty)),
        lambda run: replace(run, model=replace(run.model, lowpass=not run.model.lowpass)),
        lambda run: replace(run, volume=select(run.volume, [(None, None), (4, None), (None, None)], None)),
        lambda run: replace(run, scan={**run.scan, "voxels": "others"}),
    ],
)
def test_whatever_decides_the_labels_decides_which_run_it_is(begun: Prediction, changed: Any) -> None:
    assert known_before_plan(replace(begun)) == known_before_plan(begun)
    assert known_before_plan(changed(begun)) != known_before_plan(begun)


def test_another_version_is_another_run(begun: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    before = known_before_plan(begun)
    monkeypatch.setattr("ps3d_rt.stages.prediction.versions", lambda: {"ps3d-rt": "of tomorrow"})
    assert known_before_plan(begun) != before


def known_before_plan(run: Prediction) -> dict[str, Any]:
    return identity_before_plan(run.volume, run.model, run.engine, run.config, run.gray, run.scan)


@pytest.mark.parametrize(
    ("reads", "is_same"),
    [
        ([((0, 0, 0), (4, 5, 6)), ((4, 0, 0), (8, 5, 6))], True),
        ([((4, 0, 0), (8, 5, 6)), ((0, 0, 0), (4, 5, 6))], True),
        ([((0, 0, 0), (4, 5, 6))], False),
    ],
)
def test_the_hash_of_a_scan_does_not_depend_on_the_order_of_the_reads(reads: list[Any], is_same: bool) -> None:
    def hash_of(voxels: np.ndarray, boxes: list[Any]) -> str:
        hashed = HashedReads(ArrayVolume(voxels))
        for start, stop in boxes:
            hashed.read(Box(start, stop))
        return hashed.hash

    voxels = np.arange(8 * 5 * 6).reshape(8, 5, 6)
    halves = [((0, 0, 0), (4, 5, 6)), ((4, 0, 0), (8, 5, 6))]
    assert (hash_of(voxels, reads) == hash_of(voxels, halves)) == is_same
    assert hash_of(np.roll(voxels, 4, axis=0), halves) != hash_of(voxels, halves), "where the voxels lie counts"
    changed = voxels.copy()
    changed[5, 4, 4] += 1
    assert hash_of(changed, halves) != hash_of(voxels, halves)


def test_speeds_that_were_measured_do_not_make_another_run(volume: ArrayVolume, model: Any) -> None:
    def identity_of(**changes: str) -> dict[str, Any]:
        engine = FakeEngine(model.patch)
        engine.spec = replace(engine.spec, **changes)
        config = PredictConfig(spacing_mm=(0.01, 0.01, 0.01), particle_size_mm=0.12, overlap=0.25)
        return prepare(volume, model, engine, config).identity()

    first = identity_of(choice="bf16", reason="one")
    assert identity_of(choice="bf16", reason="another") == first
    assert identity_of(choice="int8", reason="one") != first
