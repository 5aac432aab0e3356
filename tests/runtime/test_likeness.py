"""A scan unlike the training samples is told from one like them, and a run says so once, whatever its chunks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.core.grid import Box
from ps3d_rt.core.likeness import SCALES, TrainingCloud, compare, learn_cloud, likeness_facts
from ps3d_rt.errors import InputError
from ps3d_rt.events import Event, Warned
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig


def rows(count: int = 40, seed: int = 0) -> list[dict[str, float]]:
    """Samples whose noise and contrast go together."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        a, b = draw.standard_normal(2)
        found.append({"noise": float(np.exp(-2 + 0.3 * a)), "level_p50": float(2 + 0.5 * a + 0.05 * b), "fill": 0.3})
    return found


def test_what_never_changes_says_nothing_and_what_goes_together_is_judged_together() -> None:
    cloud = learn_cloud(rows())
    assert cloud.names == ("noise", "level_p50")
    usual = {"noise": float(np.exp(-2)), "level_p50": 2.0, "fill": 0.9}
    assert compare(usual, cloud).distance < 0.3
    # Either alone is well within the samples; together they never come so.
    odd = compare(usual | {"noise": float(np.exp(-2 + 0.5)), "level_p50": 2 - 0.8}, cloud)
    assert odd.deviation < cloud.deviation_limit
    assert odd.apart == ()
    assert odd.distance > 2 * compare(usual | {"level_p50": 2.8, "noise": float(np.exp(-2 + 0.5))}, cloud).distance


def test_training_samples_and_others_like_them_are_alike() -> None:
    cloud = learn_cloud(rows())
    assert not any(compare(row, cloud).is_unlike for row in rows())
    assert sum(compare(row, cloud).is_unlike for row in rows(200, seed=1)) <= 4


def test_one_odd_training_sample_does_not_move_the_limit() -> None:
    usual, odd = learn_cloud(rows(60)), learn_cloud([*rows(60), {"noise": 30.0, "level_p50": 9.0, "fill": 0.3}])
    assert odd.limit == pytest.approx(usual.limit, rel=0.3)
    assert compare({"noise": 60.0, "level_p50": 2.0}, odd).is_unlike


def test_the_farthest_statistic_is_named_first() -> None:
    found = compare({"noise": 30.0, "level_p50": 4.5}, learn_cloud(rows()))
    assert found.is_unlike
    assert found.apart == ("noise", "level_p50")


def test_one_number_far_off_is_enough_however_many_are_usual() -> None:
    draw = np.random.default_rng(0)
    samples = [{name: float(draw.normal(2, 0.3)) for name in SCALES} for _ in range(60)]
    cloud, usual = learn_cloud(samples), dict.fromkeys(SCALES, 2.0)
    odd = compare(usual | {"edge_over_1": 2 + 0.3 * 1.2 * cloud.deviation_limit}, cloud)
    assert (odd.distance > odd.limit, odd.is_unlike, odd.apart) == (False, True, ("edge_over_1",))


def test_statistics_that_are_not_known_are_left_out() -> None:
    cloud = learn_cloud([*rows(), {"noise": 0.13}])
    assert compare({"noise": 0.13}, cloud).distance < 0.5
    assert compare({}, cloud).distance == 0
    assert compare({"noise": 30.0}, cloud).is_unlike


def test_a_cloud_goes_through_json() -> None:
    cloud = learn_cloud(rows())
    again = TrainingCloud.from_json(json.loads(json.dumps(cloud.to_json())))
    for row in rows(5, seed=3):
        assert compare(row, again).distance == pytest.approx(compare(row, cloud).distance, rel=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["noise"]},
        {"limit": "far"},
        {"mean": [0.0, float("nan")]},
        {"names": ["noise", "smell"]},
        {"low": None},
    ],
)
def test_a_damaged_cloud_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="training_statistics"):
        TrainingCloud.from_json(learn_cloud(rows()).to_json() | change)


def test_a_few_samples_are_no_cloud() -> None:
    with pytest.raises(InputError, match="7 samples"):
        learn_cloud(rows(7))


def test_every_statistic_has_a_scale_and_words() -> None:
    for scale, words in SCALES.values():
        assert np.isfinite(scale(0.0))
        assert words


@pytest.fixture(scope="module")
def volume() -> ArrayVolume:
    """Bright balls in a grid, 12 voxels across (simulated)."""
    z, y, x = np.indices((48, 96, 80)).astype(float)
    distance = np.sqrt((z % 16 - 8) ** 2 + (y % 16 - 8) ** 2 + (x % 16 - 8) ** 2)
    noise = np.random.default_rng(0).normal(0, 300, z.shape)
    return ArrayVolume((np.where(distance < 6, 30000, 9000) + noise).astype(np.uint16), 0.01, name="ore")


def run(volume: ArrayVolume, statistics: dict[str, Any], **config: Any) -> tuple[dict[str, Any], list[Event]]:
    events: list[Event] = []
    model = fake_bundle(16, training_statistics=statistics)
    settings = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.12, overlap=0.5, **config)
    engine = FakeEngine((16, 16, 16), threshold=1.0)
    return predict_volume(volume, model, engine, settings, events.append).run, events


def around(likeness: dict[str, Any]) -> TrainingCloud:
    """Training samples that look like a scan."""
    draw = np.random.default_rng(0)
    values = likeness["statistics"]
    return learn_cloud([{n: v * float(draw.uniform(0.9, 1.1)) for n, v in values.items()} for _ in range(20)])


def test_a_run_is_silent_without_statistics_and_among_its_like_and_warns_elsewhere(volume: ArrayVolume) -> None:
    assert "likeness" not in run(volume, {})[0]
    unlike, events = run(volume, learn_cloud(rows()).to_json())
    assert unlike["likeness"]["unlike"]
    (text,) = [event.text for event in events if isinstance(event, Warned) and event.kind == "unlike the training"]
    assert text in unlike["warnings"]
    assert "train adapt" in text
    alike, events = run(volume, around(unlike["likeness"]).to_json())
    assert not alike["likeness"]["unlike"]
    assert not [e for e in events if isinstance(e, Warned) and e.kind == "unlike the training"]


def test_chunks_and_the_layout_of_the_file_change_no_number(volume: ArrayVolume) -> None:
    statistics = learn_cloud(rows()).to_json()
    first = run(volume, statistics)[0]["likeness"]
    assert first["statistics"]["fill"] > 0.1
    assert run(volume, statistics, chunk=32)[0]["likeness"] == first

    in_chunks = ArrayVolume(volume.read(Box.of_shape(volume.shape)), 0.01, name="ore")
    assert volume.chunk == (1, 96, 80), "tiles of a layer are read together"
    in_chunks.chunk = (16, 16, 16)
    assert run(in_chunks, statistics)[0]["likeness"] == first


def test_the_facts_hold_plain_numbers() -> None:
    facts = likeness_facts({"noise": 30.0, "level_p50": 2.0}, learn_cloud(rows()))
    assert json.loads(json.dumps(facts)) == facts
    assert list(facts["apart"]) == ["noise"]


def test_the_field_is_optional_in_a_bundle() -> None:
    bundle = fake_bundle(16)
    assert "training_statistics" not in bundle.to_json()
    assert "training_statistics" in replace(bundle, training_statistics={"names": []}).to_json()
