"""The scripts that choose a setting of a bundle on samples that its network was not trained on."""

import json
from dataclasses import replace
from functools import partial

import pytest

import sweep
from ps3d_bench import script
from ps3d_bench.samples import held_out
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
    """The script loads ``fake`` and opens its engine."""
    monkeypatch.setattr(sweep.ps3d_rt, "load_model", lambda name: bundle)
    monkeypatch.setattr(sweep, "open_engine", partial(open_engine, engine="fake"))
    return bundle


def run(setting, folder, tmp_path, *options):
    out = tmp_path / "out" / "result.json"
    sweep.main([setting, str(folder), *map(str, options), "--out", str(out)])
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


def test_a_core_bias_is_a_column_of_values_in_file_and_table(folder, fake, tmp_path, capsys):
    content = run("core_bias=-0.6,0,0.2", folder, tmp_path, "--largest", 36)
    assert content["benchmark"] == "sweep"
    assert content["command"].startswith("python benchmarks/sweep.py core_bias=-0.6,0,0.2 ")
    assert content["model"] == {"name": "fake", "sha256": fake.hash}
    assert (content["setting"], content["values"]) == ("core_bias", [-0.6, 0.0, 0.2])
    (sample,) = content["samples"]
    assert sample["name"] == "synth_00006"
    for column in sweep.COLUMNS:
        assert content["means"][column] == pytest.approx(sample[column], abs=1e-4)
    assert len(set(sample["f1_instance"])) > 1, "a bias that changes nothing was not passed on"
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 3
    assert printed[2].startswith(f"| -0.6 | {sample['f1'][0]:.4g} |")


def test_an_overlap_takes_more_patches(folder, fake, tmp_path):
    content = run("overlap=0,0.5", folder, tmp_path)
    assert [row["name"] for row in content["samples"]] == ["synth_00005", "synth_00006"]
    fewer, more = content["means"]["patches"]
    assert fewer < more


@pytest.mark.parametrize("setting", ["patch=64", "core_bias", "core_bias=", "core_bias=a", "nothing=1"])
def test_what_is_no_number_of_the_bundle_is_refused(folder, fake, tmp_path, setting):
    with pytest.raises(InputError, match=r"is no setting with values.* core_bias, "):
        run(setting, folder, tmp_path)


def test_a_script_writes_beside_itself_and_ends_in_one_line_when_its_input_is_wrong(tmp_path, monkeypatch, capsys):
    options = script.held_out_parser(str(tmp_path / "study.py"), "What it does.", largest=7).parse_args(["samples"])
    assert options.out == tmp_path.resolve() / "results" / "study.json"
    assert (options.prepared, options.largest, options.model) == (None, 7, "default")
    monkeypatch.setattr("sys.argv", ["sweep.py", "core_bias=0", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as end:
        script.run_script(sweep.main)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("error: ")
    assert "metadata.json" in said
