import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import accuracy
import ps3d_rt
from ps3d_bench.samples import SPECS, Case, name_of
from ps3d_rt.errors import InputError

FIVE = {"f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio"}


@pytest.fixture
def case(grains, tmp_path) -> Case:
    image, reference = grains
    came_out = {"particles": 3, "mean_diameter_voxels": 11.0, "touching": 2 / 3, "fill": 0.09}
    return Case("synth_00001", tmp_path, "touching 10 %", 0.01, 0.11, {"seed": 1}, came_out, image, reference)


def row_of(name: str, group: str, ours: float, theirs: float) -> dict:
    def method(value: float) -> dict:
        return {measure: value for measure in FIVE} | {"seconds": 1.0}

    return {"name": name, "group": group, "ps3d_rt": method(ours), "threshwater": method(theirs)}


def rows_of(loose: float, dense: float, theirs: float) -> list[dict]:
    names = [name_of(spec) for spec in SPECS]
    groups = ["touching 10 %"] * 3 + ["touching 90 %"] * 3
    return [row_of(n, g, loose if "10" in g else dense, theirs) for n, g in zip(names, groups, strict=True)]


def test_both_methods_are_judged_on_one_sample(case, bundle):
    row = accuracy.compare(case, partial(ps3d_rt.predict, model=bundle, engine="fake"))
    for method in ("ps3d_rt", "threshwater"):
        assert row[method].keys() >= FIVE | {"seconds", "predicted", "reference", "matched"}
        assert row[method]["reference"] == 3
        assert row[method]["f1"] > 0.8
    assert row["threshwater"]["f1_instance"] > 0.9
    assert row["threshwater"]["settings"].keys() == {"threshold", "opening_voxels", "erosion_voxels"}
    assert row["threshwater"]["settings_tried"] > 0
    assert row["ps3d_rt"]["engine"]["name"] == "fake"
    assert row["particle_size_given_mm"] == row["ps3d_rt"]["parameters"]["particle_size_mm"] == 0.11
    assert row["came_out"]["touching"] == 2 / 3


def test_hashes_tell_samples_apart_whatever_the_byte_order(case):
    assert accuracy._sha256(case.image) == accuracy._sha256(case.image.astype(">u2"))
    assert accuracy._sha256(case.image) != accuracy._sha256(case.image[::-1])


def test_tuned_settings_are_kept_beside_the_sample(case):
    first = accuracy.tuned_baseline(case)
    (kept,) = case.folder.glob("threshwater-*.json")
    assert json.loads(kept.read_text()) == first
    kept.write_text('{"settings": "kept"}')
    assert accuracy.tuned_baseline(case) == {"settings": "kept"}


def test_means_are_over_the_samples_of_a_group(bundle):
    rows = [row_of("a", "touching 10 %", 0.5, 0.2), row_of("b", "touching 10 %", 0.7, 0.4)]
    means = accuracy.summary([*rows, row_of("c", "touching 90 %", 0.3, 0.0)], bundle, {})["means"]
    assert means["touching 10 %"]["ps3d_rt"]["f1"] == pytest.approx(0.6)
    assert means["touching 90 %"]["ps3d_rt"]["f1_match"] == pytest.approx(0.3)
    assert means["all"]["threshwater"]["f1_instance"] == pytest.approx(0.2)
    assert accuracy.summary(rows, bundle, {})["means"].keys() == {"touching 10 %", "all"}


def test_targets_are_met_or_missed(bundle):
    met = accuracy.summary(rows_of(0.96, 0.6, 0.5), bundle, {})
    assert [target["met"] for target in met["targets"]] == [True, True, True]
    assert met["targets"][2]["got"] == pytest.approx(0.78 - 0.5)
    missed = accuracy.summary(rows_of(0.84, 0.6, 0.6), bundle, {})
    assert [target["met"] for target in missed["targets"]] == [False, False, False]
    assert accuracy.as_targets(missed).count("MISSED") == 3


def test_a_part_of_the_samples_judges_no_target(bundle):
    part = accuracy.summary(rows_of(1.0, 1.0, 0.0)[:5], bundle, {})
    assert [target["met"] for target in part["targets"]] == [None, None, None]


def test_the_script_writes_the_file_and_prints_the_table(case, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ps3d_rt, "load_model", lambda name: bundle)
    monkeypatch.setattr(accuracy, "load_cases", lambda cache, specs: iter([case]))
    out = tmp_path / "results" / "accuracy.json"
    accuracy.main(["--engine", "fake", "--out", str(out), "--samples", "900001"])
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content.keys() >= {"date", "command", "machine", "versions", "model", "targets", "means", "samples"}
    assert content["command"].startswith("python benchmarks/accuracy.py --engine fake")
    assert content["machine"].keys() >= {"cpu", "cores", "usable_cores", "memory_gib"}
    assert content["versions"]["numpy"] == np.__version__
    assert content["versions"].keys() >= {"ps3d-rt", "scikit-image", "python"}
    assert content["model"]["sha256"] == bundle.hash
    assert [row["name"] for row in content["samples"]] == ["synth_00001"]
    table = capsys.readouterr().out
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 2 * 3  # head, one sample, two means; a line a method
    assert "needs all six samples" in table


def test_a_seed_of_another_benchmark_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(ps3d_rt, "load_model", lambda name: bundle)
    with pytest.raises(InputError, match="allowed are"):
        accuracy.main(["--samples", "1000"])


def test_the_default_output_is_in_the_repository():
    assert accuracy._parser().parse_args([]).out == Path(accuracy.__file__).parent / "results" / "accuracy.json"
