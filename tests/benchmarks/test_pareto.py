import json
from dataclasses import replace

import numpy as np
import pytest

import pareto as script
from ps3d_bench import pareto
from ps3d_bench.accuracy_samples import SAMPLES, TUNING
from ps3d_bench.pareto import Point, Study, accuracy_specs, points_of, speed_spec
from ps3d_bench.pareto_front import against_published, as_text, mark_front
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.errors import InputError
from ps3d_training.synth import SampleSpec

SMALL = SampleSpec(seed=5, shape=(40, 40, 40), particle_size_voxels=12, fill=0.2, touching=0.1, noise=0.02)


@pytest.fixture
def small(bundle, monkeypatch):
    """The study with small samples, and ``fake`` for every bundle."""
    monkeypatch.setattr(pareto, "accuracy_specs", lambda first: (SMALL, replace(SMALL, seed=6)))
    monkeypatch.setattr(pareto, "speed_spec", lambda first: replace(SMALL, seed=7))
    monkeypatch.setattr(pareto, "load_model", lambda name: replace(bundle, name=name, overlap=0.4))
    return bundle


def row(speed: float, score: float, **more) -> dict:
    named = {"bundle": "a", "width": 16, "norm": "batch", "target_size_voxels": 24, "trained_at_voxels": 24}
    settings = {"overlap": 0.4, "bundle_overlap": 0.4, "passes": 1}
    found = {"mvoxels_per_s": speed, "f1_instance": score, "f1_match": 0.99, "merger_ratio": 0.01}
    return named | settings | found | {"splitter_ratio": 0.02} | more


def test_samples_are_loose_and_dense_and_of_seeds_that_nothing_else_uses():
    specs = accuracy_specs()
    assert [(spec.particle_size_voxels, spec.touching) for spec in specs] == [
        *((size, 0.08) for size in (12, 17, 24, 40)),
        *((size, 0.9) for size in (14, 20, 32)),
    ]
    seeds = [speed_spec().seed, *(spec.seed for spec in specs)]
    assert seeds == list(range(880_000, 880_008))
    assert not set(seeds) & {spec.seed for spec in [*TUNING, *(sample.spec for sample in SAMPLES)]}


def test_the_timed_sample_has_particles_of_60_voxels_and_no_tube_with_air_around_it():
    for first in range(880_001, 880_021):
        spec = speed_spec(first)
        assert (spec.shape, spec.particle_size_voxels, spec.container) == ((256,) * 3, 60, False)


@pytest.mark.parametrize("first", [949_995, 950_001, 950_018, 0])
def test_seeds_of_the_accuracy_benchmark_are_refused(first):
    with pytest.raises(InputError, match="are not free"):
        accuracy_specs(first)


def test_seeds_next_to_those_of_the_accuracy_benchmark_are_taken():
    assert accuracy_specs(949_994)[-1].seed == 950_000
    assert speed_spec(950_019).seed == accuracy_specs(950_019)[0].seed - 1 == 950_018


def test_mirrors_and_every_overlap_at_the_own_size_and_one_pass_at_others(small):
    points = list(points_of("wide=wide.ps3d@20,8", [0.25, 0.5]))
    own = [(point.overlap, point.mirror) for point in points if point.bundle.target_size_voxels == 12]
    assert own == [(overlap, mirror) for overlap in (0.25, 0.4, 0.5) for mirror in (False, True)]
    others = [point for point in points if point.bundle.target_size_voxels != 12]
    assert [(point.bundle.target_size_voxels, point.overlap, point.mirror) for point in others] == [
        (size, overlap, False) for size in (8, 20) for overlap in (0.25, 0.4, 0.5)
    ]
    assert {point.trained_at_voxels for point in points} == {12}
    assert not any(point.mirror for point in points_of("wide=wide.ps3d", [0.25], mirrored=["narrow"]))
    assert {(point.label, point.bundle.name, point.bundle.min_relative_volume) for point in points} == {
        ("wide", "wide.ps3d", small.min_relative_volume)
    }


@pytest.mark.parametrize("text", ["wide.ps3d", "wide=", "=wide.ps3d", "wide=@20", "wide=wide.ps3d@big"])
def test_what_names_no_bundle_is_refused(text):
    with pytest.raises(InputError, match="NAME=BUNDLE"):
        list(points_of(text))


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no model"):
        list(points_of(f"wide={tmp_path / 'wide.ps3d'}"))


def test_width_and_norm_come_from_the_plan_and_are_unknown_without(bundle):
    plan = {"training_plan": {"width": 24}}
    point = Point("a", replace(bundle, provenance=plan), 12.0, 0.25, True)
    found = point.described()
    assert (found["width"], found["norm"], found["passes"], found["bundle_overlap"]) == (24, "instance", 8, 0.25)
    assert Point("a", bundle, 12.0, 0.25, False).described()["norm"] is None
    assert replace(point, bundle=replace(bundle, mirror_axes=(0,))).described()["passes"] == 2


def test_accuracy_is_the_mean_over_samples_and_sums_of_mergers(small, tmp_path):
    point = Point("fake", small, 12.0, 0.25, False)
    found = Study(tmp_path, "fake").accuracy(point)
    each = []
    for case in pareto.load_cases(tmp_path, pareto.accuracy_specs(1)):
        with pareto.open_engine(small, engine="fake") as engine:
            each.append(evaluate(pareto._labels(point, engine, case, case.particle_size_mm, None), case.reference))
    assert found["f1_instance"] == pytest.approx(np.mean([one.f1_instance for one in each]), abs=1e-4)
    assert found["mergers"] == sum(one.mergers for one in each)
    assert list(found["f1_instance_of_samples"]) == ["synth_00005", "synth_00006"]
    assert 0 < found["f1_instance"] < 1


def test_what_was_measured_is_not_measured_again_and_another_point_is(small, tmp_path):
    study, point = Study(tmp_path, "fake", repeats=2), Point("a", small, 12.0, 0.25, False)
    speed, accuracy = study.speed(point), study.accuracy(point)
    assert (len(speed["seconds"]), speed["engine"]["name"]) == (2, "fake")
    assert speed["mvoxels_per_s"] == pytest.approx(40**3 / np.median(speed["seconds"]) / 1e6, rel=0.05)
    kept = {path: path.read_bytes() for path in (tmp_path / "pareto").iterdir()}
    assert len(kept) == 2
    # The name that a bundle goes by here and what is told of its training change nothing.
    again = replace(point, label="b", bundle=replace(small, provenance={"by": "us"}))
    assert (study.speed(again), study.accuracy(again)) == (speed, accuracy)
    assert {path: path.read_bytes() for path in (tmp_path / "pareto").iterdir()} == kept
    others = (
        replace(point, overlap=0.5),
        replace(point, mirror=True),
        replace(point, bundle=replace(small, target_size_voxels=10.0)),
        replace(point, bundle=replace(small, core_bias=0.1)),
        replace(point, bundle=replace(small, sha256=dict.fromkeys(small.members, "1" * 64))),
    )
    for number, other in enumerate(others, start=1):
        study.accuracy(other)
        assert len(list((tmp_path / "pareto").glob("accuracy-*"))) == 1 + number
    replace(study, repeats=1).speed(point)
    assert len(list((tmp_path / "pareto").glob("speed-*"))) == 2


def test_speeds_are_measured_again_when_asked_and_accuracies_are_not(small, tmp_path):
    study, point = Study(tmp_path, "fake", repeats=1), Point("a", small, 12.0, 0.25, False)
    study.speed(point)
    study.accuracy(point)
    for path in (tmp_path / "pareto").iterdir():
        path.write_text('{"kept": true}', encoding="utf-8")
    again = replace(study, time_again=True)
    assert again.accuracy(point) == {"kept": True}
    assert again.speed(point)["mvoxels_per_s"] > 0
    assert study.speed(point) != {"kept": True}


def test_the_front_is_what_no_other_beats():
    rows = [row(3, 0.8), row(2, 0.9), row(2, 0.85), row(1, 0.9), row(1, 0.95), row(2, 0.9)]
    assert [one["on_front"] for one in mark_front(rows)] == [True, True, False, False, True, True]


def test_one_pass_is_compared_with_mirrors_at_half_overlap_of_the_same_bundle_and_size():
    mirrored = row(0.5, 0.91, passes=8, overlap=0.5)
    rows = [
        row(4, 0.9),
        row(3, 0.905, overlap=0.5),
        row(5, 0.7, target_size_voxels=20),
        mirrored,
        row(0.6, 0.95, passes=8),
        row(2, 0.8, bundle="b"),
    ]
    (found,) = against_published(rows)
    assert found == {"bundle": "a", "overlap": 0.4, "passes": 8, "f1_instance_lost": 0.01, "times_as_fast": 8.0}


def test_the_table_is_fastest_first_and_marks_front_and_foreign_sizes():
    rows = mark_front([row(1, 0.9), row(2, 0.8, target_size_voxels=20, width=None, norm=None), row(0.5, 0.7, passes=8)])
    text = as_text(
        {"points": rows, "against_published": against_published([*rows, row(0.1, 0.95, passes=8, overlap=0.5)])}
    )
    lines = text.splitlines()
    assert {line.count("|") for line in lines[:5]} == {13}
    assert lines[2].startswith("| a | – | – | 20* | 0.4 | 1 | 2.00 | 0.8000 | 0.9900 | 0.0100 | 0.0200 | yes |")
    assert lines[4].endswith("|  |")
    assert "loses 0.0500 F1_instance against 8 passes at 0.5; it is 10 times as fast" in lines[-1]


def test_the_script_writes_file_and_picture_and_prints_the_table(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "accuracy_specs", lambda first: [SMALL])
    out, picture = tmp_path / "results" / "pareto.json", tmp_path / "docs" / "pareto.svg"
    options = ["fake=fake@10", "--overlaps", "0.5", "--engine", "fake", "--repeats", "1", "--cache", str(tmp_path)]
    script.main([*options, "--out", str(out), "--plot", str(picture)])
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["benchmark"] == "pareto"
    assert content["command"].startswith("python benchmarks/pareto.py fake=fake@10")
    assert content["machine"]["cpu"]
    assert len(content["points"]) == 2 * 2 + 2
    assert any(point["on_front"] for point in content["points"])
    assert [one["bundle"] for one in content["against_published"]] == ["fake"]
    printed, said = capsys.readouterr()
    assert printed.count("| fake |") == 6
    assert "6 of 6: fake, target size 12, overlap 0.5, 8 passes" in said
    assert "source Mvoxel/s" in picture.read_text(encoding="utf-8")
