import json
from dataclasses import replace

import numpy as np
import pytest

from ps3d_bench import accuracy, accuracy_samples, methods
from ps3d_bench.accuracy_samples import Drawn
from ps3d_bench.methods import METHODS, Lab, Segmented, TrainingSamples, choose_methods
from ps3d_bench.samples import Case
from ps3d_rt.errors import InputError
from ps3d_rt.io.samples import read_whole
from ps3d_training.synth import SampleSpec
from ps3d_training.synth.folder import write_samples

FIVE = {"f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio"}
SMALL = SampleSpec(seed=5, shape=(40, 40, 40), particle_size_voxels=12, fill=0.2, touching=0.1, noise=0.02)
DRAWN = Drawn("in", SMALL)


@pytest.fixture
def case(grains, tmp_path) -> Case:
    image, reference = grains
    came_out = {"particles": 3, "mean_diameter_voxels": 11.0, "touching": 2 / 3, "fill": 0.09}
    return Case("synth_00001", tmp_path, 0.01, 0.11, {"seed": 1}, came_out, image, reference)


@pytest.fixture
def lab(bundle, tmp_path, monkeypatch) -> Lab:
    """Tunes on one small sample, and reads no network."""
    monkeypatch.setattr(methods, "TUNING", (replace(SMALL, seed=6),))
    return Lab(bundle, tmp_path / "cache", engine="fake")


def row_of(name: str, group: str, *, ours: float, mergers: int = 0) -> dict:
    found = {measure: ours for measure in FIVE} | {"seconds": 1.0, "mergers": mergers, "splitters": 0}
    came_out = {"particles": 10, "mean_diameter_voxels": 20.0, "touching": ours}
    return {
        "name": name,
        "group": group,
        "out_of_distribution": "",
        "came_out": came_out,
        "methods": {"ps3d-rt": found, "snow": found | {"f1_instance": ours / 2}},
    }


def test_every_method_that_needs_no_file_is_judged_on_one_sample(case, lab):
    names = [name for name in METHODS if name != "unet2d"]
    row = accuracy.judge(DRAWN, case, lab.segmenters(names))
    assert list(row["methods"]) == names
    for found in row["methods"].values():
        assert found.keys() >= FIVE | {"seconds", "predicted", "reference", "matched"}
        assert found["reference"] == 3
        assert found["f1"] > 0.8
    assert row["methods"]["threshwater-best"]["f1_instance"] > 0.9
    assert row["methods"]["snow-true"]["f1"] == 1
    assert row["methods"]["snow-true"]["predicted"] == 3
    assert row["particle_size_given_mm"] == 0.11
    json.dumps(row)


def test_the_published_settings_are_half_overlap_and_all_mirrors(case, lab):
    found = {name: one(case).facts for name, one in lab.segmenters(["ps3d-rt", "ps3d-rt-published"]).items()}
    assert found["ps3d-rt-published"]["parameters"]["overlap"] == 0.5
    assert tuple(found["ps3d-rt-published"]["engine"]["mirror_axes"]) == (0, 1, 2)
    assert found["ps3d-rt"]["parameters"]["overlap"] == lab.bundle.overlap
    assert not found["ps3d-rt"]["engine"]["mirror_axes"]


def test_snow_takes_our_foreground_without_running_us_again(case, lab):
    two = lab.segmenters(["ps3d-rt", "snow"])
    ours = two["ps3d-rt"](case)
    assert two["ps3d-rt"](case) is ours
    assert ((two["snow"](case).labels > 0) == (ours.labels > 0)).all()
    other = replace(case, name="synth_00002", image=case.image[::-1])
    assert not np.array_equal(two["ps3d-rt"](other).labels, ours.labels)


def test_opening_and_erosion_come_from_training_samples_and_the_threshold_from_the_sample(case, lab):
    run = lab.segmenters(["threshwater"])["threshwater"]
    first = run(case).facts
    brighter = run(replace(case, image=case.image + np.uint16(1000))).facts
    assert brighter["settings"]["threshold"] == pytest.approx(first["settings"]["threshold"] + 1000, abs=1)
    assert brighter["erosion_share"] == first["erosion_share"]
    assert first["settings"]["erosion_voxels"] == pytest.approx(first["erosion_share"] * 11.0)
    assert len(first["tuned_on"]) == 1
    assert "seed 6" in first["tuned_on"][0]


def test_tuned_settings_are_kept_and_tuned_anew_for_other_samples(case, lab, monkeypatch):
    first = lab.segmenters(["threshwater"])["threshwater"](case).facts
    (kept,) = lab.cache.glob("threshwater-cut-*.json")
    assert json.loads(kept.read_text())["erosion_share"] == first["erosion_share"]
    content = json.loads(kept.read_text()) | {"training_f1_instance": "kept"}
    kept.write_text(json.dumps(content))
    again = replace(lab).segmenters(["threshwater"])["threshwater"](case).facts
    assert again["training_f1_instance"] == "kept"
    monkeypatch.setattr(methods, "TUNING", (replace(SMALL, seed=7),))
    other = replace(lab).segmenters(["threshwater"])["threshwater"](case).facts
    assert other["training_f1_instance"] != "kept"


def test_settings_tuned_on_the_sample_are_kept_beside_it(case, lab):
    run = lab.segmenters(["threshwater-best"])["threshwater-best"]
    first = run(case).facts
    (kept,) = case.folder.glob("threshwater-*.json")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"settings_tried": "kept"}))
    assert run(case).facts == first | {"settings_tried": "kept"}


def test_training_samples_come_from_a_folder(tmp_path):
    specs = [replace(SMALL, seed=seed) for seed in (1, 2)]
    facts = dict(write_samples(tmp_path, specs))
    samples = TrainingSamples(tmp_path / "cache", tmp_path)
    loaded = list(samples.load())
    assert [name.rpartition(" ")[2] for name in samples.names()] == ["synth_00001", "synth_00002"]
    for (image, reference, size), (name, fact) in zip(loaded, facts.items(), strict=True):
        assert np.array_equal(image, read_whole(tmp_path / "images" / f"{name}.zarr"))
        assert reference.max() == fact["particles"]
        assert size == pytest.approx(fact["mean_diameter_voxels"], abs=1e-3)


def test_the_2d_network_has_to_be_named(lab):
    with pytest.raises(InputError, match="--unet2d"):
        lab.segmenters(["unet2d"])


def test_measures_are_means_of_a_group_and_mergers_its_sum():
    rows = [row_of("a", "in", ours=0.5, mergers=2), row_of("b", "in", ours=0.7), row_of("c", "touching", ours=0.3)]
    groups = accuracy.summarize(rows)
    assert list(groups) == ["in", "touching"]
    inside = groups["in"]
    assert (inside["samples"], inside["particles"]) == (2, 20)
    assert inside["touching"] == pytest.approx(0.6)
    assert inside["methods"]["ps3d-rt"]["f1_instance"] == pytest.approx(0.6)
    assert inside["methods"]["snow"]["f1_instance"] == pytest.approx(0.3)
    assert inside["methods"]["ps3d-rt"]["mergers"] == 2
    assert groups["touching"]["methods"]["ps3d-rt"]["f1_match"] == pytest.approx(0.3)


def test_a_table_a_group_and_one_of_all_samples():
    rows = [row_of("a", "in", ours=0.5, mergers=2), row_of("b", "out", ours=0.7)]
    text = accuracy.as_tables({"groups": accuracy.summarize(rows), "samples": rows})
    tables = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("**") if "|" in part]
    assert [len(table) for table in tables] == [4, 4, 4]
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert "0.5000 (2)" in tables[0][2]
    assert "0.250" in tables[2][2]


def test_hashes_tell_samples_apart_whatever_the_byte_order(case):
    assert accuracy._sha256(case.image) == accuracy._sha256(case.image.astype(">u2"))
    assert accuracy._sha256(case.image) != accuracy._sha256(case.image[::-1])


def test_the_warm_up_is_not_taken_for_a_sample(lab, monkeypatch):
    seen = []

    def run(self, case):
        seen.append((case.name, case.image.shape))
        return Segmented(np.zeros(case.image.shape, np.uint32), 0.0)

    monkeypatch.setattr(methods.Ours, "_run", run)
    (row,) = accuracy.judge_all([DRAWN], lab.segmenters(["ps3d-rt", "snow-true"]), lab.cache)
    assert [name for name, _ in seen] == ["warm-up", "synth_00005"]
    assert row["methods"]["ps3d-rt"]["missed" if "missed" in row["methods"]["ps3d-rt"] else "matched"] == 0
    assert row["methods"]["snow-true"]["f1"] == 1


def test_the_command_writes_file_and_picture_and_prints_tables(cli, tmp_path, monkeypatch):
    specs = (DRAWN, Drawn("out", replace(SMALL, seed=8), "noise"))
    monkeypatch.setattr(accuracy_samples, "SAMPLES", specs)
    out, picture = tmp_path / "results" / "accuracy.json", tmp_path / "accuracy.svg"
    options = ("--engine", "fake", "--methods", "snow-true,ps3d-rt", "--cache", tmp_path / "cache")
    monkeypatch.setattr("ps3d_rt.cli.results.for_people", lambda *, as_json: not as_json)
    code, printed, said = cli("bench", "accuracy", *options, "--out", out, "--plot", picture)
    assert code == 0, said
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content.keys() >= {"date", "command", "machine", "versions", "model", "methods", "groups", "samples"}
    assert content["command"].startswith("ps3d-rt bench accuracy --engine fake")
    assert content["versions"].keys() >= {"ps3d-rt", "scikit-image", "porespy", "numpy"}
    assert list(content["groups"]) == ["in", "out"]
    assert [row["out_of_distribution"] for row in content["samples"]] == ["", "noise"]
    assert list(content["methods"]) == ["ps3d-rt", "snow-true"]
    assert printed.count("| ps3d-rt |") == 3
    assert "out-of-distribution" in picture.read_text(encoding="utf-8")
    assert said.count("F1_instance") == 2


def test_peers_of_an_earlier_result_are_taken_over_where_the_sample_is_the_same(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy_samples, "SAMPLES", (DRAWN,))
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    options = ("bench", "accuracy", "--engine", "fake", "--cache", tmp_path / "cache")
    cli(*options, "--methods", "snow-true,ps3d-rt", "--out", first)
    earlier = json.loads(first.read_text(encoding="utf-8"))
    earlier["samples"][0]["methods"]["snow-true"]["f1_instance"] = 0.123
    first.write_text(json.dumps(earlier), encoding="utf-8")

    code, printed, said = cli(*options, "--methods", "snow", "--keep", first, "--out", second)
    assert code == 0, said
    content = json.loads(second.read_text(encoding="utf-8"))
    assert list(content["samples"][0]["methods"]) == ["snow", "snow-true"], "what the model decides is not taken over"
    assert content["groups"]["in"]["methods"]["snow-true"]["f1_instance"] == 0.123
    assert content["kept"].keys() == {"snow-true"}
    assert content["kept"]["snow-true"]["date"] == earlier["date"]
    assert "0.123" in printed

    other = earlier["samples"][0] | {"image_sha256": "of another sample"}
    first.write_text(json.dumps(earlier | {"samples": [other]}), encoding="utf-8")
    cli(*options, "--methods", "snow", "--keep", first, "--out", second)
    content = json.loads(second.read_text(encoding="utf-8"))
    assert (list(content["samples"][0]["methods"]), content["kept"]) == (["snow"], {})


@pytest.mark.parametrize(
    ("option", "words"),
    [("--samples", "in,900001"), ("--samples", "outer"), ("--methods", "snow,stardist"), ("--methods", "")],
)
def test_a_sample_or_method_that_is_none_is_refused(cli, option, words):
    code, _, said = cli("bench", "accuracy", option, words)
    assert code == 2
    assert option in said
    assert "allowed are" in said


def test_slow_methods_run_only_when_named():
    fast = choose_methods("fast")
    assert fast == ("ps3d-rt", "threshwater", "snow", "snow-true")
    assert choose_methods("threshwater-best,fast") == (
        "ps3d-rt",
        "threshwater",
        "threshwater-best",
        "snow",
        "snow-true",
    )
