"""Each caution is said of a sample made for it, and none of a good one."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_engine
import ps3d_rt
from ps3d_rt.core import cautions
from ps3d_rt.core.cautions import find_cautions
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.core.measure import ParticleTable, measure
from ps3d_rt.events import Event, SizeMismatch, Warned
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.plan import particle_size_warnings

LOOK = {"assumed_mm": 0.15, "found_mm": 0.16, "particles": 120}
GOOD = {
    "parameters": {"particle_size_mm": 0.15},
    "gray": {"embedding": 1000.0, "noise": 50.0, "contrast": 500.0, "dark": False},
    "particle_size": {"how": "estimated", "trials": [LOOK | {"found_mm": 0.5}, LOOK]},
}


@pytest.fixture(scope="module")
def good() -> ParticleTable:
    """150 whole particles, 13 to 23 voxels across, brighter than the embedding."""
    one = measure(np.ones((1, 1, 1), np.uint8), (0.01,) * 3)
    diameters = np.linspace(13, 23, 150)
    columns = {name: np.repeat(column, 150) for name, column in one.columns().items()}
    columns["touches_edge"] = np.zeros(150, bool)
    columns["volume_voxels"] = np.round(np.pi / 6 * diameters**3).astype(np.int64)
    columns["equivalent_diameter_mm"] = diameters * 0.01
    columns["label"] = np.arange(1, 151).astype(np.uint64)
    columns["gray_mean"] = np.linspace(1400, 3000, 150)
    columns["confidence"] = np.full(150, 0.95)
    return ParticleTable(**columns, contact_pairs=one.contact_pairs)


def kinds(table: ParticleTable, facts: dict[str, Any]) -> list[str]:
    return [caution.kind for caution in find_cautions(facts, table, size_facts(table))]


def test_a_good_sample_has_none(good: ParticleTable) -> None:
    assert kinds(good, GOOD) == []
    assert kinds(good, {}) == [], "nothing is known of the run"
    assert kinds(good, {"gray": None, "particle_size": {"trials": []}}) == []


def first(count: int, values: Any, value: Any) -> Any:
    """Put ``value`` into the first entries."""
    return np.concatenate([np.full(count, value, values.dtype), values[count:]])


@pytest.mark.parametrize(
    ("kind", "facts", "changed"),
    [
        ("size mismatch", {"parameters": {"particle_size_mm": 0.4}}, lambda t: t),
        ("size estimate unsure", {"particle_size": {"trials": [LOOK | {"particles": 12}]}}, lambda t: t),
        ("size estimate unsure", {"particle_size": {"trials": [LOOK | {"found_mm": 0.2}]}}, lambda t: t),
        ("low confidence", {}, lambda t: replace(t, confidence=t.confidence - 0.12)),
        ("possibly merged", {}, lambda t: replace(t, merged_score=first(26, np.zeros(150), 0.9))),
        ("possibly split", {}, lambda t: replace(t, split_score=first(26, np.zeros(150), 0.9))),
        ("noise", {"gray": GOOD["gray"] | {"noise": 300.0}}, lambda t: t),
        ("wrong side of the embedding", {}, lambda t: replace(t, gray_mean=first(4, t.gray_mean, 900.0))),
        ("wrong side of the embedding", {"gray": GOOD["gray"] | {"dark": True}}, lambda t: t),
        ("few voxels", {}, lambda t: replace(t, volume_voxels=first(80, t.volume_voxels, 800))),
        (
            "sizes over 10:1",
            {},
            lambda t: replace(t, equivalent_diameter_mm=first(3, t.equivalent_diameter_mm, 0.02)),
        ),
        ("few whole particles", {}, lambda t: t.take(np.arange(90))),
    ],
)
def test_a_sample_made_for_a_caution_has_it_alone(
    good: ParticleTable, kind: str, facts: dict[str, Any], changed: Callable[[ParticleTable], ParticleTable]
) -> None:
    assert kinds(changed(good), GOOD | facts) == [kind]


def test_every_caution_in_the_code_is_fired_by_one_of_these_tests() -> None:
    here, there = (ast.parse(Path(path).read_text(encoding="utf-8")) for path in (__file__, cautions.__file__))
    calls = [c for c in ast.walk(there) if isinstance(c, ast.Call) and getattr(c.func, "id", "") == "Caution"]
    made = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    named = {node.value for node in ast.walk(here) if isinstance(node, ast.Constant)}
    assert len(made) >= 9
    assert made <= named


BALLS = {"pitch": 16, "across": 14, "noise": 20.0, "cut": 0}
"""125 balls in a cube, none of which a face cuts."""


def packed(pitch: int, across: int, noise: float, cut: int) -> np.ndarray:
    """Balls ``across`` wide, of gray value 9000, in 1000; ``cut`` voxels less along y and x."""
    at = (np.indices((5 * pitch,) * 3) % pitch) - (pitch - 1) / 2
    inside = (at**2).sum(axis=0) <= (across / 2) ** 2
    scan = np.where(inside, 9000.0, 1000.0)
    noisy = scan + np.random.default_rng(1).normal(0, noise, scan.shape)
    return noisy.clip(0).astype(np.uint16)[:, cut:, cut:]


@pytest.mark.parametrize(
    ("kind", "changed", "options"),
    [
        (None, {}, {}),
        ("noise", {"noise": 4500.0}, {}),
        ("few voxels", {"pitch": 12, "across": 9}, {"particle_size": 0.09}),
        ("size mismatch", {}, {"particle_size": 0.4}),
        ("few whole particles", {"cut": 16}, {}),
        ("many at the boundary", {"cut": 8}, {}),
    ],
)
def test_a_scan_made_for_a_caution_has_it_in_its_run(
    kind: str | None, changed: dict[str, Any], options: dict[str, Any]
) -> None:
    heard: list[Event] = []
    # A lattice of balls is unlike what the model was trained on, which is a caution of its own.
    model = replace(ps3d_rt.load_model(), training_statistics=None)
    given = {"spacing": 0.01, "particle_size": 0.14, "engine": "fake", "model": model} | options
    ps3d_rt.predict(packed(**(BALLS | changed)), progress=heard.append, **given)
    said = ["size mismatch" for event in heard if isinstance(event, SizeMismatch)]
    said += [event.kind for event in heard if isinstance(event, Warned) and event.kind]
    assert said == [] if kind is None else kind in said


def test_cut_and_tiny_particles(good: ParticleTable) -> None:
    cut = replace(good, touches_edge=first(40, good.touches_edge, True))
    assert kinds(cut, GOOD) == ["many at the boundary"]
    assert kinds(good.take(np.arange(0)), GOOD) == ["no particle"]
    tiny = replace(good, volume_voxels=first(16, good.volume_voxels, 14))
    assert kinds(tiny, GOOD) == ["below detection limit"]


def test_every_caution_has_its_numbers_and_a_cure(good: ParticleTable) -> None:
    wrong = replace(good, gray_mean=first(22, good.gray_mean, 900.0), touches_edge=first(60, good.touches_edge, True))
    found = {c.kind: c.text for c in find_cautions(GOOD, wrong, size_facts(wrong))}
    assert "22 of 150 particles are darker" in found["wrong side of the embedding"]
    assert "--dark" in found["wrong side of the embedding"]
    assert "40% of the particles touch the boundary" in found["many at the boundary"]
    assert "Only 90 whole particles lie" in found["few whole particles"]


@pytest.fixture
def empty() -> np.ndarray:
    """Noise, and nothing else."""
    return np.random.default_rng(0).normal(1000, 30, (32, 32, 32)).astype(np.uint16)


def test_no_particle_is_said_and_ends_with_5_if_asked_for(
    cli: Any, tmp_path: Path, empty: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_engine, "FakeEngine", partial(fake_engine.FakeEngine, threshold=50))
    write_volume(tmp_path / "ore.tif", empty)
    line = ("predict", tmp_path / "ore.tif", tmp_path / "out", "--spacing", "0.01", "--particle-size", "0.1")
    code, out, err = cli(*line, "--engine", "fake")
    assert code == 0
    assert json.loads(out)["particles"] == 0
    assert "warning: No particle was found" in err
    code, out, err = cli(*line, "--engine", "fake", "--overwrite", "--fail-if-empty")
    assert code == 5
    assert "no particle was found" in err
    assert (tmp_path / "out" / "report.html").exists()


def test_lengths_that_cannot_be_mm_are_doubted(empty: np.ndarray) -> None:
    heard: list[Event] = []
    empty[8:20, 8:20, 8:20] += 9000
    run = ps3d_rt.predict(empty, spacing=10, particle_size=100, engine="fake", progress=heard.append).run
    said = [event.text for event in heard if isinstance(event, Warned)]
    assert any("micro-CT has 0.00005 to 5 mm" in text and "10 µm are 0.01" in text for text in said)
    assert any("the particle size is 100 mm" in text and "--particle-size 0.3" in text for text in said)
    assert set(said) <= set(run["warnings"])
    assert particle_size_warnings(0.0003)
    assert particle_size_warnings(0.0006) == particle_size_warnings(49) == []
