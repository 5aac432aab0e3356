"""The gate lets through what segments as well as float32 and refuses the rest, and the verdict reaches the engine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, final

import numpy as np
import pytest

from fake_engine import FakeEngine
from ps3d_export import verdicts
from ps3d_export.gate import judge, reason
from ps3d_export.samples import GATE, read_samples, simulate
from ps3d_export.variant import export_variant
from ps3d_export.verdicts import judge_model, record, record_in_bundle, reference_of
from ps3d_rt.engines import Engine, EngineSpec, open_engine
from ps3d_rt.engines.cache import EngineCache, EngineKey, Verdict
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import load_model

PATCH = (16, 16, 16)
BETWEEN, BELOW = 1.0, -0.1
"""Thresholds between the gray value of a contact and of a ball, and below both: then balls that touch are merged."""


@final
class Changed(Engine):
    """The fake engine, with its scores changed or another threshold."""

    def __init__(self, change: Any, threshold: float = BETWEEN) -> None:
        self._engine, self._change = FakeEngine(PATCH, threshold=threshold, border_voxels=1), change
        self.spec = replace(self._engine.spec, name="changed")

    def _infer(self, patches: Any) -> Any:
        scores = self._engine.infer(patches)
        self._change(scores)
        return scores


def a_little(scores: Any) -> None:
    scores += np.float32(1e-3)


def one_nan(scores: Any) -> None:
    scores[0, 2, 0, 0, 0] = np.nan


def infinite(scores: Any) -> None:
    scores[0, 0, :2, 0, 0] = np.inf


def verdict_on(change: Any, bundle: Any, samples: list[Any], threshold: float = BETWEEN) -> Verdict:
    reference = FakeEngine(PATCH, threshold=BETWEEN, border_voxels=1)
    return judge(Changed(change, threshold), reference, bundle, samples)


def test_an_engine_that_finds_the_same_passes(bundle, balls):
    verdict = verdict_on(a_little, bundle, [balls("a"), balls("b")])
    assert verdict.passed
    measured = json.loads(json.dumps(verdict.measured))
    assert measured["reference"]["f1_instance"] > 0.7
    assert measured["difference"] == {"f1_instance": 0, "merger_ratio": 0, "splitter_ratio": 0}
    assert [row["name"] for row in measured["samples"]] == ["a", "b"]
    assert measured["samples"][0]["particles"] == 6
    assert measured["standard_error"] == 0
    for name in ("engine", "reference"):
        assert measured[name]["patches_per_s"] > 0
        assert measured[name]["not_finite"] == 0
    assert measured["engine"]["spec"]["name"] == "changed"


def test_an_engine_that_merges_particles_fails(bundle, balls):
    verdict = verdict_on(a_little, bundle, [balls("a")], BELOW)
    assert not verdict.passed
    difference = verdict.measured["difference"]
    assert difference["f1_instance"] < -0.005
    assert difference["merger_ratio"] == pytest.approx(2 / 6)
    assert f"{difference['f1_instance']:+.4f} against float32" in reason(verdict)


@pytest.mark.parametrize(("change", "counted"), [(one_nan, 1), (infinite, 2)])
def test_an_engine_with_scores_that_are_not_finite_fails(bundle, balls, change, counted):
    verdict = verdict_on(change, bundle, [balls("a")])
    assert not verdict.passed
    calls = verdict.measured["engine"]["not_finite"] / counted
    assert calls == int(calls) >= 1
    assert "NaN or infinite" in reason(verdict)


def test_the_scatter_of_the_samples_is_told(bundle, balls, monkeypatch):
    found = iter([0.81, 0.8, 0.77, 0.8])  # engine, reference; differences 0.01 and -0.03
    monkeypatch.setattr(
        "ps3d_export.gate._measured",
        lambda *_: {"f1_instance": next(found), "merger_ratio": 0.0, "splitter_ratio": 0.0},
    )
    measured = verdict_on(a_little, bundle, [balls("a"), balls("b")]).measured
    assert measured["difference"]["f1_instance"] == pytest.approx(-0.01)
    assert measured["standard_error"] == pytest.approx(0.02)


@pytest.mark.parametrize(("loss", "passed"), [(0.0049, True), (0.0051, False), (-0.2, True)])
def test_half_a_hundredth_may_be_lost(bundle, balls, monkeypatch, loss, passed):
    found = iter([0.9 - loss, 0.9])
    monkeypatch.setattr(
        "ps3d_export.gate._measured",
        lambda *_: {"f1_instance": next(found), "merger_ratio": 0.0, "splitter_ratio": 0.0},
    )
    assert verdict_on(a_little, bundle, [balls("a")]).passed == passed


def test_samples_that_the_reference_cannot_segment_judge_nobody(bundle, balls):
    blind = FakeEngine(PATCH, threshold=50.0)
    with pytest.raises(InputError, match=r"float32 reference reaches F1_instance 0\.000"):
        judge(blind, blind, bundle, [balls("a")])
    with pytest.raises(InputError, match="no sample"):
        judge(blind, blind, bundle, [])


def test_the_default_model_passes_in_half_precision_in_onnx_runtime(tmp_path):
    """On two small samples. Eight bits take all of the gate's to judge: of so few particles one merger decides."""
    whole = load_model()
    samples = simulate(tmp_path / "samples", [GATE[0] | {"count": 2, "shape": "64"}])
    variant = export_variant(whole, tmp_path / "low.ps3d", precision="fp16")
    with open_engine(variant, engine="onnxruntime") as low, open_engine(whole, engine="onnxruntime") as full:
        verdict = judge(low, full, whole, read_samples(samples))
    assert verdict.passed, reason(verdict)
    assert verdict.measured["reference"]["f1_instance"] > 0.6


@pytest.fixture
def half(bundle, tmp_path):
    return export_variant(bundle, tmp_path / "half.ps3d", precision="fp16")


def test_a_variant_is_judged_against_the_model_it_came_from(bundle, half, tmp_path):
    assert reference_of(bundle) is bundle
    assert reference_of(half).hash == bundle.hash  # it lies in the same folder
    assert reference_of(half, str(bundle.path)).hash == bundle.hash
    with pytest.raises(InputError, match="not exported from this 'default'"):
        reference_of(half, "default")
    bundle.path.rename(tmp_path / "elsewhere.ps3d")
    with pytest.raises(InputError, match="--reference PATH"):
        reference_of(half)


@pytest.mark.parametrize("passed", [True, False])
def test_a_model_that_failed_is_used_only_by_an_engine_that_is_named(half, passed):
    judged = record_in_bundle(half, Verdict(passed, {"difference": {"f1_instance": -0.1}}))
    assert load_model(half.path) == judged
    assert judged.provenance["gate"] == {"passed": passed, "measured": {"difference": {"f1_instance": -0.1}}}
    assert (judged.hash, judged.sha256) == (half.hash, half.sha256)
    if passed:
        open_engine(judged, device="cpu").close()
    else:
        with pytest.raises(CapabilityError, match="failed the accuracy gate"):
            open_engine(judged, device="cpu")
    open_engine(judged, engine="onnxruntime").close()


def test_the_whole_way_of_a_variant(half, folder, monkeypatch):
    """Judged, failed, written down, and judged again all the same."""
    opened = []

    def open_fake(model: Any, **options: Any) -> Engine:
        opened.append((model.name, "gate" in model.provenance, options))
        return Changed(a_little, BELOW if model.name == "half" else BETWEEN)

    monkeypatch.setattr(verdicts, "open_engine", open_fake)
    for _ in range(2):
        verdict, kept = judge_model(half.path, engine="openvino", samples=folder)
        assert not verdict.passed
        assert kept == [half.path / "model.json"]
        assert load_model(half.path).provenance["gate"]["passed"] is False
    as_asked = {"engine": "openvino", "device": "auto", "precision": "auto"}
    assert opened == [("half", False, as_asked), ("tiny", False, {"device": "cpu", "precision": "fp32"})] * 2


def test_a_model_of_ones_own_is_judged_but_not_changed(bundle, folder, monkeypatch):
    monkeypatch.setattr(verdicts, "open_engine", lambda *_, **__: Changed(a_little))
    before = (bundle.path / "model.json").read_bytes()
    verdict, kept = judge_model(bundle.path, samples=folder)
    assert verdict.passed
    assert kept == []
    assert (bundle.path / "model.json").read_bytes() == before


def test_the_verdict_on_a_built_engine_goes_into_its_manifest(half, tmp_path, monkeypatch):
    cache = EngineCache(tmp_path / "engines")

    def key(path: Any, **asked: Any) -> EngineKey:
        assert (asked["precision"], asked["patch"], asked["gpu"]) == ("fp16", PATCH, "the GPU of cuda:1")
        return EngineKey(
            onnx_sha256=path.name,
            flavour=asked["flavour"],
            version="1",
            gpu="",
            precision="fp16",
            patch=PATCH,
            batches=(1,),
        )

    monkeypatch.setattr(verdicts, "engine_key", key)
    monkeypatch.setattr(verdicts, "find_gpu", lambda device: f"the GPU of {device}")
    keys = [
        key(path, flavour="tensorrt", precision="fp16", patch=PATCH, gpu="the GPU of cuda:1")
        for path in half.onnx_paths
    ]
    for one in keys:
        cache.store(one, b"engine", {})
    spec = EngineSpec(name="tensorrt", patch=PATCH, device="cuda:1", precision="fp16", batch=1)
    written = record(half, spec, Verdict(False, {"why": "a test"}), cache)
    assert len(written) == 2
    for one in keys:
        assert cache.find(one).gate == Verdict(False, {"why": "a test"})
    assert "gate" not in load_model(half.path).provenance


def test_a_zip_is_not_judged_in_vain(half, tmp_path):
    import shutil  # noqa: PLC0415

    zipped = shutil.make_archive(str(tmp_path / "zipped"), "zip", half.path)
    with pytest.raises(InputError, match="unpack it first"):
        judge_model(zipped)
