"""The stages together, with an engine that thresholds and erodes: what it must give can be said exactly."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

import ps3d_rt
import ps3d_rt.devices.cpu
import ps3d_rt.plan
from fake_engine import FakeEngine
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.normalize import gray_scale
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.events import Event, RunDone, RunStarted, StageAdvanced, StageDone, StageStarted
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_rt.workers import Workers

PATCH = (24, 24, 24)


def balls(shape: tuple[int, int, int], centers: list[tuple[int, int, int]], radius: float) -> Array:
    """Bright balls on a dark ground, numbered in the order of ``centers``."""
    grid = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    for label, center in enumerate(centers, start=1):
        labels[((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) <= radius**2] = label
    return labels


def gray(labels: Array, seed: int = 0) -> Array:
    noise = np.random.default_rng(seed).normal(0, 200, labels.shape)
    return (np.where(labels > 0, 30000, 8000) + noise).astype(np.uint16)


CENTERS = [(8, 10, 12), (10, 40, 14), (30, 12, 50), (34, 42, 20), (36, 36, 48)]
HALFWAY = 2.0
"""Normalized gray value between ground and balls where balls fill a few percent of the volume."""
LABELS = balls((46, 54, 62), CENTERS, 6.5)


def bundle(**changes: Any) -> ModelBundle:
    fields = {"name": "fake", "patch": PATCH, "target_size_voxels": 13.0, "border_thickness_voxels": 2.0}
    return ModelBundle(**(fields | {"members": ("a.onnx",), "sha256": {"a.onnx": "0"}} | changes))


def run(image: Array, tell: Any = lambda event: None, engine: Engine | None = None, **changes: Any) -> ps3d_rt.Result:
    fields: dict[str, Any] = {"spacing_mm": (0.01,) * 3, "particle_size_mm": 0.13, "overlap": 0.5}
    config = PredictConfig(**(fields | changes))
    return predict_volume(
        ArrayVolume(image, 0.01, name="balls"), bundle(), engine or FakeEngine(PATCH, threshold=HALFWAY), config, tell
    )


def test_separate_balls_come_back_whole_and_in_order() -> None:
    result = run(gray(LABELS))
    assert np.array_equal(result.labels, LABELS)
    assert result.labels.dtype == np.uint32
    assert np.allclose(result.particles.centroid_z_mm, [(z + 0.5) * 0.01 for z, _, _ in CENTERS])
    assert result.run["particles"] == len(result.particles) == len(CENTERS)


@pytest.mark.parametrize("size_mm", [0.065, 0.1, 0.26])
def test_resampling_there_and_back_keeps_every_ball(size_mm: float) -> None:
    result = run(gray(LABELS), particle_size_mm=size_mm)
    metrics = ps3d_rt.evaluate(result.labels, LABELS)
    assert metrics.predicted == metrics.matched == len(CENTERS)
    assert metrics.f1 > 0.88
    assert np.array_equal(np.unique(result.labels), np.arange(len(CENTERS) + 1)), "ids have no gaps"


def test_patch_overlap_and_skipping_do_not_change_the_labels() -> None:
    want = run(gray(LABELS)).labels
    for overlap in (0.25, 0.6):
        assert np.array_equal(run(gray(LABELS), overlap=overlap).labels, want)
    assert np.array_equal(run(gray(LABELS), skip_empty=False).labels, want)


def test_empty_patches_are_skipped_and_counted() -> None:
    labels = balls((30, 120, 30), [(15, 12, 15)], 6.5)
    result = run(gray(labels))
    patches = result.run["patches"]
    assert patches["skipped"] > 0
    assert patches["computed"] + patches["skipped"] == patches["planned"]
    assert np.array_equal(result.labels, labels)
    assert run(gray(labels), skip_empty=False).run["patches"]["skipped"] == 0


def test_every_stage_reads_every_plane_once() -> None:
    class Counting(ArrayVolume):
        def __init__(self, array: Array) -> None:
            super().__init__(array, 0.01)
            self.planes = np.zeros(len(array), int)

        def _read_into(self, out: Array, box: Any) -> None:
            self.planes[box.start[0] : box.stop[0]] += 1
            super()._read_into(out, box)

    volume = Counting(gray(LABELS))
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.17, overlap=0.5)
    predict_volume(volume, bundle(), FakeEngine(PATCH, threshold=HALFWAY), config)
    assert set(volume.planes) == {3}, "once each for the gray scale, the network and the table"


@pytest.mark.parametrize("size_mm", [0.08, 0.13, 0.2])
@pytest.mark.parametrize(("shard", "workers"), [((8, 16, 16), 1), ((16, 8, 24), 3), ((8, 64, 64), 2)])
def test_neither_shards_nor_chunks_nor_sweeps_change_the_result(
    monkeypatch: pytest.MonkeyPatch, size_mm: float, shard: tuple[int, int, int], workers: int
) -> None:
    want = run(gray(LABELS), particle_size_mm=size_mm)
    with monkeypatch.context() as small:
        small.setattr(ps3d_rt.plan, "WORK_SHARD", shard)
        small.setattr(ps3d_rt.stages.storage, "WORK_SHARD", shard)
        small.setattr(ps3d_rt.devices.cpu, "SWEEP_SHARE", 1e-9)
        # Threads do what processes would: the sweeps of a plan for several workers.
        small.setattr(ps3d_rt.stages.run, "Workers", lambda processes=1, threads=None: Workers(1, threads))
        cut = run(gray(LABELS), particle_size_mm=size_mm, chunk=16, workers=workers)
    assert cut.run["patches"]["planned"] >= want.run["patches"]["planned"]
    assert prod(cut.run["parameters"]["chunk_voxels"]) < prod(want.run["parameters"]["chunk_voxels"])
    assert cut.labels.tobytes() == want.labels.tobytes()
    for name, column in want.particles.columns().items():
        assert column.tobytes() == cut.particles.columns()[name].tobytes(), name


def test_a_volume_smaller_than_a_patch_works() -> None:
    labels = balls((14, 15, 40), [(7, 7, 10), (7, 7, 30)], 5)
    assert np.array_equal(run(gray(labels), particle_size_mm=0.13).labels, labels)


def test_events_tell_the_run_from_start_to_end() -> None:
    seen: list[Event] = []
    result = run(gray(LABELS), seen.append)
    (begun,) = (event for event in seen if isinstance(event, RunStarted))
    assert begun.patches == result.run["patches"]["planned"]
    assert seen[-1] == RunDone(len(CENTERS), pytest.approx(sum(result.run["seconds"].values())), 0, 0.0)
    stages = [event.stage for event in seen if isinstance(event, StageStarted)]
    assert stages == [event.stage for event in seen if isinstance(event, StageDone)] == list(result.run["seconds"])
    for start in (event for event in seen if isinstance(event, StageStarted)):
        done = [event.done for event in seen if isinstance(event, StageAdvanced) and event.stage == start.stage]
        assert done == sorted(done)
        assert done[-1] == start.total


def test_run_says_what_ran() -> None:
    facts = run(gray(LABELS)).run
    engine = {"name": "fake", "patch": PATCH, "device": "cpu", "precision": "fp32", "batch": 2}
    engine |= {"mirror_axes": (), "memory_bytes": None, "more_devices": (), "choice": "", "reason": "", "warnings": ()}
    assert facts["engine"] == engine
    assert facts["model"]["name"] == "fake"
    assert len(facts["model"]["sha256"]) == 64
    assert facts["scan"]["shape"] == (46, 54, 62)
    assert facts["parameters"]["zoom"] == pytest.approx((1, 1, 1))
    assert "numpy" in facts["versions"]


def test_constants_of_a_model_replace_the_volumes_own_gray_scale() -> None:
    volume = ArrayVolume(gray(LABELS), 0.01)
    model = bundle(gray_scheme="constants", gray_mean=19000.0, gray_std=5000.0)
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5)
    facts = predict_volume(volume, model, FakeEngine(PATCH), config).run["parameters"]
    assert (facts["gray_mean"], facts["gray_std"]) == (19000.0, 5000.0)


def test_the_table_has_gray_quantiles_and_histograms() -> None:
    particles = run(gray(LABELS)).particles
    assert np.all(np.abs(particles.gray_p50 - 30000) < 1000), "to a bin's width"
    assert np.array_equal(particles.gray_histogram.sum(axis=1), particles.volume_voxels)


def test_the_table_says_how_sure_the_network_is() -> None:
    image = gray(LABELS)
    faint = LABELS == 2
    image[faint] = image[faint] * 0.59
    for size_mm in (0.13, 0.26):
        particles = run(image, particle_size_mm=size_mm).particles
        assert np.argmin(particles.confidence) == 1, "the faint one, whatever its number on the normalized grid"
        assert 0.5 < particles.confidence[1] < 0.9 < np.delete(particles.confidence, 1).min() <= 1


def test_scores_follow_particles_that_have_other_numbers_on_the_networks_grid() -> None:
    """On that grid, half as fine, both begin in one plane, where the second comes first."""
    labels = balls((34, 54, 26), [(12, 40, 12), (13, 12, 12)], 6.5)
    image = gray(labels)
    image[labels == 2] = image[labels == 2] * 0.59
    particles = run(image, particle_size_mm=0.26).particles
    assert particles.centroid_y_mm[0] > particles.centroid_y_mm[1]
    assert particles.confidence[1] < 0.9 < particles.confidence[0]
    assert np.isnan(particles.core_confidence).all(), "too small for cores there"


def test_the_table_says_how_clear_cores_and_contacts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two balls touch between planes 15 and 16, where chunks meet; the third stands alone. It is sure of all."""
    image = gray(balls((46, 54, 62), [(9, 12, 14), (21, 12, 14), (34, 40, 40)], 6.5))
    whole = run(image).particles
    assert whole.contacts.tolist() == [1, 1, 0]
    assert np.all(whole.core_confidence > 0.9)
    assert np.all(whole.contact_margin[:2] > 0.9)
    assert np.isnan(whole.contact_margin[2])
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", (8, 16, 16))
    cut = run(image, chunk=16).particles
    for name, column in whole.columns().items():
        assert column.tobytes() == cut.columns()[name].tobytes(), name


def test_run_says_how_large_the_particles_are() -> None:
    result = run(gray(LABELS))
    assert result.run["size_distribution"] == size_facts(result.particles, LABELS.shape)


def test_a_model_can_ask_for_sure_particles() -> None:
    labels = balls(LABELS.shape, CENTERS, 6.0)
    image = gray(labels)
    faint = labels == 2
    image[faint] = image[faint] * 0.53
    volume = ArrayVolume(image, 0.01)
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5)
    found, dropped = [], []
    for given in ({}, {"min_confidence": 0.8}):
        result = predict_volume(volume, bundle(**given), FakeEngine(PATCH, threshold=HALFWAY), config)
        assert given.items() <= result.run["parameters"].items()
        found.append(np.unique(labels[(result.labels > 0) & (labels > 0)]).tolist())
        dropped.append(result.dropped.reason.tolist())
    assert found == [[1, 2, 3, 4, 5], [1, 3, 4, 5]]
    assert dropped == [[], ["low confidence"]]


@pytest.mark.parametrize("target_size", [7.0, 13.0, 20.0])
def test_a_model_can_ask_for_particles_of_a_size_in_voxels_of_the_scan(target_size: float) -> None:
    """Whatever the network's grid: a ball 13 voxels across, and one of 7, which has 180 voxels."""
    labels = balls((24, 24, 48), [(12, 12, 12)], 6.5) + 2 * balls((24, 24, 48), [(12, 12, 34)], 3.5)
    volume = ArrayVolume(gray(labels), 0.01)
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5)
    found = []
    for least in (0.0, 5.0, 9.0, 15.0):
        model = bundle(target_size_voxels=target_size, min_diameter_voxels=least)
        result = predict_volume(volume, model, FakeEngine(PATCH, threshold=HALFWAY), config)
        assert result.run["parameters"]["min_diameter_voxels"] == least
        found.append(len(result.particles))
    assert found == [2, 2, 1, 1], "the larger ball has 1,150 voxels: too many to be dropped"


@pytest.mark.parametrize("scheme", [{}, {"gray_scheme": "constants", "gray_mean": 9000.0, "gray_std": 5000.0}])
def test_the_network_sees_nothing_below_the_models_floor(scheme: dict[str, Any]) -> None:
    volume = ArrayVolume(gray(LABELS), 0.01)
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5, skip_empty=False)
    model = bundle(gray_floor=HALFWAY + 1, **scheme)
    result = predict_volume(volume, model, FakeEngine(PATCH, threshold=HALFWAY), config)
    assert result.run["parameters"]["gray_floor"] == HALFWAY + 1
    assert np.all(result.labels == 1), "all of the ground is as bright as a ball"


def test_the_network_sees_nothing_above_the_models_ceiling_and_the_table_all() -> None:
    image = gray(LABELS).astype(np.float32)
    image[LABELS == 1] *= 30  # the others are below the threshold then
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5, skip_empty=False)
    engine = FakeEngine(PATCH, threshold=HALFWAY)
    scan, models = ArrayVolume(image, 0.01), (bundle(), bundle(gray_ceiling=1.0))
    plain, lowered = (predict_volume(scan, model, engine, config) for model in models)
    scale = gray_scale(image, 1.0)
    assert plain.run["parameters"]["gray_ceiling"] is None
    assert lowered.run["parameters"]["gray_ceiling"] == pytest.approx(scale.ceiling)
    assert lowered.run["parameters"]["gray_std"] == pytest.approx(scale.std)
    by_hand = predict_volume(ArrayVolume(np.minimum(image, scale.ceiling), 0.01), bundle(), engine, config)
    np.testing.assert_array_equal(lowered.labels, by_hand.labels)
    assert len(lowered.particles) > len(plain.particles)
    assert lowered.particles.gray_bins == plain.particles.gray_bins == GrayBins.from_scale(gray_scale(image))
    assert lowered.particles.gray_mean.max() > scale.ceiling


@pytest.mark.parametrize(
    ("size_mm", "words"), [(0.0, "above 0"), (float("nan"), "above 0"), (0.63, "longest side"), (0.015, "two voxels")]
)
def test_particle_sizes_that_cannot_be_are_refused(size_mm: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(gray(LABELS), particle_size_mm=size_mm)


def test_nan_anywhere_is_refused() -> None:
    image = gray(LABELS).astype(np.float32)
    image[23, 5, 5] = np.nan
    with pytest.raises(InputError, match="NaN"):
        run(image)


def test_a_constant_volume_is_refused() -> None:
    with pytest.raises(InputError, match="it has no contrast"):
        run(np.full((46, 54, 62), 7, np.uint8))


def test_an_image_without_particles_gives_an_empty_result() -> None:
    noise = np.random.default_rng(0).normal(1000, 50, (46, 54, 62)).astype(np.uint16)
    result = run(noise, engine=FakeEngine(PATCH, threshold=50))
    assert len(result.particles) == 0
    assert not result.labels.any()
