"""A scan teaches a model without labels: what is rendered looks like it, and only what is better is adopted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.core.scan_statistics import measure_volume
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.samples import find_samples
from ps3d_rt.model import ModelBundle, load_model, write_bundle
from ps3d_training.adapt import scan_teaches
from ps3d_training.adapt.go_on import Continuation
from ps3d_training.adapt.judge import Judgement, bright_voxels, judge, reasons_against
from ps3d_training.adapt.look import look_at_part
from ps3d_training.adapt.parts import SegmentedPart, segmented_parts, two_parts
from ps3d_training.adapt.render import fit, in_contrasts, render_samples
from ps3d_training.adapt.scan_teaches import Adaptation, adapt
from ps3d_training.recipe_sources import Source
from ps3d_training.synth.sample import image_of
from ps3d_training.synth.spec import SampleSpec
from toy_training import PLAN

PATCH, SIZE = (16, 16, 16), 0.12
SHAPE = (112, 48, 48)


@pytest.fixture(scope="module")
def truth() -> Array:
    """Balls 12 voxels across on a lattice of 16."""
    z, y, x = np.indices(SHAPE)
    ball = ((z % 16 - 8) ** 2 + (y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 36
    return np.where(ball, 1 + z // 16 * 9 + y // 16 * 3 + x // 16, 0).astype(np.uint16)


@pytest.fixture(scope="module")
def scan(truth: Array) -> ArrayVolume:
    """The balls at two gray values, blurred by nothing, noisy (simulated)."""
    gray = np.where(truth == 0, 9000, np.where(truth % 2, 24000, 32000))
    noise = np.random.default_rng(0).normal(0, 1500, SHAPE)
    return ArrayVolume((gray + noise).astype(np.uint16), 0.01, name="ore")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "weights").write_bytes(b"none")
    plan = replace(PLAN, target_size_voxels=12, border_thickness_voxels=2)
    fields: dict[str, Any] = {"patch": PATCH, "target_size_voxels": 12.0, "border_thickness_voxels": 2.0}
    about = ModelBundle(
        name="start", members=("fold_0.onnx",), provenance={"training_plan": asdict(plan)}, overlap=0.5, **fields
    )
    return write_bundle(folder / "start.ps3d", about, {"fold_0.onnx": folder / "weights"})


def engine(threshold: float = 0.6) -> FakeEngine:
    return FakeEngine(PATCH, threshold=threshold)


@pytest.fixture(scope="module")
def parts(scan: ArrayVolume, bundle: ModelBundle) -> tuple[SegmentedPart, SegmentedPart]:
    return segmented_parts(scan, bundle, engine(), SIZE)


def test_the_two_parts_lie_apart_and_inside() -> None:
    for shape, size in (((400, 100, 100), 10.0), ((60, 90, 200), 12.0), ((71, 71, 71), 10.0)):
        first, last = two_parts(shape, size)
        assert first.intersect(Box.of_shape(shape)) == first
        assert last.intersect(Box.of_shape(shape)) == last
        axis = int(np.argmax(shape))
        assert last.start[axis] - first.stop[axis] >= size - 1
        assert first.shape == last.shape
    with pytest.raises(InputError, match="need 84"):
        two_parts((80, 80, 80), 12)


def test_a_scan_in_which_nothing_is_sure_teaches_nothing(scan: ArrayVolume, bundle: ModelBundle) -> None:
    with pytest.raises(InputError, match="train update"):
        segmented_parts(scan, bundle, engine(99.0), SIZE)


def test_what_is_rendered_measures_as_the_scan_does(parts: tuple[SegmentedPart, SegmentedPart]) -> None:
    look = look_at_part(parts[0], 12.0)
    assert look.size_voxels == 12
    assert look.spacing_mm == pytest.approx(0.01)
    # The lighter balls stand out by 23/15 of what the darker ones do.
    assert look.levels[-1] / look.levels[0] == pytest.approx(23 / 15, rel=0.05)
    assert (look.touching, look.fill) == (0, pytest.approx(905 / 16**3, rel=0.1))
    labels = look.labels[:48, :48, :48]
    found = measure_volume(in_contrasts(image_of(labels, replace(fit(look), shape=labels.shape)), look), labels)
    assert found["noise"] == pytest.approx(look.statistics["noise"], rel=0.2)
    for name in ("level_p10", "level_p90"):
        assert found[name] == pytest.approx(look.statistics[name], rel=0.15), name
    assert found["noise_over_3"] == pytest.approx(look.statistics["noise_over_3"], rel=0.25)


def test_samples_have_the_shapes_of_the_scan_and_of_packings_in_turn(
    parts: tuple[SegmentedPart, SegmentedPart],
) -> None:
    samples = list(render_samples(look_at_part(parts[0], 12.0), 4, "ore"))
    assert [sample.name for sample in samples] == [f"ore_{k:03d}" for k in range(4)]
    own = np.bincount(samples[0].labels.ravel())[1:]
    whole = own[own > 0.9 * own.max()]
    assert len(whole) >= 3
    assert np.ptp(whole) <= 0.1 * own.max(), "balls of one size"
    packed = np.bincount(samples[1].labels.ravel())[1:]
    assert np.std(packed) > 0.15 * np.mean(packed)
    for sample in samples:
        bright = sample.image[sample.labels > 0].mean() - sample.image[sample.labels == 0].mean()
        assert bright > 1000
        assert sample.labels.max() > 1


def test_judging_prefers_a_segmentation_that_finds_all_and_holds_still(
    parts: tuple[SegmentedPart, SegmentedPart], bundle: ModelBundle, truth: Array
) -> None:
    left_out = parts[1]
    good, poor = (judge(bundle, engine(threshold), left_out) for threshold in (0.6, 2.2))
    assert good.foreground > 0.9
    assert good.agreement > 0.8
    assert good.total > poor.total + 0.1
    assert reasons_against(poor, good, (0.8, 0.8)) == []
    box = two_parts(SHAPE, 12.0)[1]
    assert np.mean(bright_voxels(left_out) == (truth[box.slices] > 0)) > 0.95


def test_a_model_is_adopted_only_if_nothing_speaks_against_it() -> None:
    before = Judgement(agreement=0.8, foreground=0.9, dropped=0.05, particles=100)
    better = Judgement(agreement=0.85, foreground=0.92, dropped=0.04, particles=110)
    assert reasons_against(before, better, (0.7, 0.695)) == []
    assert "no better" in reasons_against(before, before, (0.7, 0.7))[0]
    assert "first training" in reasons_against(before, better, (0.7, 0.68))[0]
    fooled = replace(better, agreement=0.99, foreground=0.85)
    assert reasons_against(before, fooled, (0.7, 0.7)) == ["its foreground is worse (0.900 before, 0.850)"]


@pytest.fixture
def adaptation(monkeypatch: pytest.MonkeyPatch, bundle: ModelBundle) -> Callable[[float], Adaptation]:
    """Everything but the training itself; the new model is one of another threshold."""
    thresholds = {"start": 1.2, "candidate": 1.2}

    def trained(how: Any, start: ModelBundle, new: set[str], work: Path, out: Path) -> ModelBundle:
        assert {sample.name for sample in find_samples(work / "new")} == new
        files = {name: start.path / name for name in start.sha256}
        return write_bundle(out, replace(start, name=out.stem), files, overwrite=True)

    monkeypatch.setattr(scan_teaches, "train_on", trained)
    monkeypatch.setattr(scan_teaches, "open_engine", lambda model, **options: engine(thresholds[model.name]))

    def make(threshold: float) -> Adaptation:
        thresholds["candidate"] = threshold
        how = Continuation(minutes=0, old_samples=0, sources=(Source(tiny, 1.0, 0),))
        return Adaptation(how=how, samples=2, own_samples=1, with_int8=False)

    return make


def tiny(seed: int) -> SampleSpec:
    return SampleSpec(seed=seed, shape=(32, 32, 32), particle_size_voxels=12, fill=0.3, noise=0.02)


def test_the_better_model_is_written_and_shown(
    scan: ArrayVolume, bundle: ModelBundle, tmp_path: Path, adaptation: Callable[[float], Adaptation]
) -> None:
    out = tmp_path / "plant.ps3d"
    result = adapt([scan], out, adaptation(0.6), init=str(bundle.path), particle_size_mm=SIZE)
    assert result["adopted"], result["reasons"]
    assert load_model(out).name == "plant"
    assert result["after"]["total"] > result["before"]["total"]
    assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / ".plant.training" / "adapt.json").read_text(encoding="utf-8")) == result


def test_a_model_that_is_no_better_is_not_written(
    scan: ArrayVolume, bundle: ModelBundle, tmp_path: Path, adaptation: Callable[[float], Adaptation]
) -> None:
    out = tmp_path / "plant.ps3d"
    result = adapt([scan], out, adaptation(1.2), init=str(bundle.path), particle_size_mm=SIZE)
    assert not result["adopted"]
    assert not out.exists()
    assert "no better" in result["reasons"][0]
