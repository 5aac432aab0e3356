"""The scripts that choose a setting of a bundle on samples that its network was not trained on."""

import json
from dataclasses import replace
from functools import partial

import pytest

import core_bias
import overlap
import small_particles
from ps3d_bench import script
from ps3d_bench.samples import held_out
from ps3d_rt.api import predict
from ps3d_rt.engines import open_engine
from ps3d_rt.errors import InputError
from ps3d_training.plan import DATASET_NAME
from ps3d_training.synth import SampleSpec
from ps3d_training.synth.folder import write_samples

SMALL = SampleSpec(seed=5, shape=(40, 40, 40), particle_size_voxels=12, fill=0.2, touching=0.4, noise=0.02)


@pytest.fixture
def folder(tmp_path):
    """Two samples, of 40³ and 32³ voxels."""
    list(write_samples(tmp_path / "samples", [SMALL, replace(SMALL, seed=6, shape=(32, 32, 32))]))
    return tmp_path / "samples"


@pytest.fixture
def fake(bundle, monkeypatch):
    """Every script loads ``fake`` and predicts with its engine."""
    for module in (core_bias, overlap, small_particles):
        monkeypatch.setattr(module.ps3d_rt, "load_model", lambda name: bundle)
        monkeypatch.setattr(module.ps3d_rt, "predict", lambda *a, **k: predict(*a, engine="fake", **k))
    monkeypatch.setattr(core_bias, "open_engine", partial(open_engine, engine="fake"))
    return bundle


def run(main, folder, tmp_path, *options):
    out = tmp_path / "out" / "result.json"
    main([str(folder), *map(str, options), "--out", str(out)])
    return json.loads(out.read_text(encoding="utf-8"))


def test_only_validation_samples_of_the_size_are_read(folder, tmp_path):
    assert [name for name, *_ in held_out(folder, None, 40)] == ["synth_00005", "synth_00006"]
    assert [name for name, *_ in held_out(folder, None, 39)] == ["synth_00006"]
    dataset = tmp_path / "prepared" / DATASET_NAME
    dataset.mkdir(parents=True)
    splits = [{"train": ["synth_00006"], "val": ["synth_00005"]}]
    (dataset / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    assert [name for name, *_ in held_out(folder, tmp_path / "prepared", 40)] == ["synth_00005"]
    with pytest.raises(InputError, match=r"prepared: none has at most 39³ voxels"):
        list(held_out(folder, tmp_path / "prepared", 39))


def test_the_core_bias_is_a_curve_in_file_table_and_picture(folder, fake, tmp_path, capsys):
    picture = tmp_path / "docs" / "core_bias.svg"
    content = run(core_bias.main, folder, tmp_path, "--largest", 36, "--plot", picture)
    assert content["benchmark"] == "core_bias"
    assert content["command"].startswith("python benchmarks/core_bias.py ")
    assert content["model"] == {"name": "fake", "sha256": fake.hash}
    assert content["core_bias"] == list(core_bias.BIASES)
    (sample,) = content["samples"]
    assert sample["name"] == "synth_00006"
    for measure in core_bias.MEASURES:
        assert content["means"][measure] == pytest.approx(sample[measure], abs=1e-4)
    assert len(set(sample["f1_instance"])) > 1, "a bias that changes nothing was not passed on"
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(core_bias.BIASES)
    assert printed[2].startswith(f"| -0.6 | {sample['f1_instance'][0]:.4f} |")
    text = picture.read_text(encoding="utf-8")
    assert all(word in text for word in ("core bias", "MergerRatio", "SplitterRatio", "F1_instance"))


def test_the_overlap_is_the_cheapest_that_loses_little(folder, fake, tmp_path, monkeypatch):
    content = run(overlap.main, folder, tmp_path, "--largest", 36)
    assert content["benchmark"] == "overlap"
    (sample,) = content["samples"]
    assert content["f1_instance_mean"] == pytest.approx(sample["f1_instance"], abs=1e-4)
    assert content["patches"] == sample["patches"]
    good = [
        at
        for at, score in zip(content["overlaps"], sample["f1_instance"], strict=True)
        if score > sample["f1_instance"][0] - overlap.MOST_LOST
    ]
    assert content["cheapest_within_0.002"] == min(good)


def test_small_particles_are_scored_at_every_threshold(folder, fake, tmp_path, capsys):
    content = run(small_particles.main, folder, tmp_path)
    assert [row["name"] for row in content["samples"]] == ["synth_00005", "synth_00006"]
    first, second = (row["f1_instance"] for row in content["samples"])
    assert content["f1_instance_mean"] == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    assert list(json.loads(capsys.readouterr().out)) == [str(share) for share in small_particles.THRESHOLDS]


def test_a_script_writes_beside_itself_and_ends_in_one_line_when_its_input_is_wrong(tmp_path, monkeypatch):
    options = script.held_out_parser(str(tmp_path / "study.py"), "What it does.", largest=7).parse_args(["samples"])
    assert options.out == tmp_path.resolve() / "results" / "study.json"
    assert (options.prepared, options.largest, options.model) == (None, 7, "default")
    monkeypatch.setattr("sys.argv", ["overlap.py", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as end:
        script.run_script(overlap.main)
    assert str(end.value.code).startswith("error: ")
    assert "metadata.json" in str(end.value.code)
