"""``ps3d-rt doctor`` and ``ps3d-rt model``."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ps3d_rt import machine
from ps3d_rt import model as model_module
from ps3d_rt.cli.doctor import PURPOSES, _devices, _extras, as_text, doctor, examine
from ps3d_rt.cli.model import model_app
from ps3d_rt.devices import gpus
from ps3d_rt.engines import CPU_ENGINES, GPU_ENGINES
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle
from ps3d_rt.versions import PACKAGES

app = typer.Typer()
app.command()(doctor)


@pytest.fixture
def installed(tiny_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundled models that holds one, ``default``."""
    models = tmp_path / "models"
    shutil.copytree(tiny_bundle.path, models / "default.ps3d")
    monkeypatch.setattr(model_module, "_bundled_folder", lambda: models)
    return models


@pytest.fixture
def no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_bundled_folder", lambda: tmp_path / "nothing")


def by(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


@pytest.mark.usefixtures("installed")
def test_a_working_machine_is_ready() -> None:
    found = examine()
    assert found["ready"]
    engines = by(found["engines"], "engine")
    assert [engines[name]["ok"] for name in CPU_ENGINES] == [True, True]
    assert (engines["onnxruntime"]["device"], engines["onnxruntime"]["precision"]) == ("cpu", "fp32")
    assert engines["openvino"]["precision"] in ("bf16", "fp32")
    assert found["models"] == [{"model": "default", "ok": True, "detail": model_module.load_model().hash}]
    assert found["devices"][0]["device"] == "cpu"
    assert found["versions"]["numpy"][0].isdigit()
    assert "cupy-cuda13x" in PACKAGES
    assert set(found["versions"].values()).isdisjoint({"", "not installed"})


@pytest.mark.usefixtures("installed")
def test_without_a_gpu_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpus() -> tuple[gpus.Gpu, ...]:
        raise CapabilityError("there is no driver here")

    monkeypatch.setattr(gpus, "find_gpus", no_gpus)
    found = examine()
    assert found["ready"]
    assert found["devices"][1] == {"device": "cuda", "name": "none", "detail": "there is no driver here"}
    for name in GPU_ENGINES:
        engine = by(found["engines"], "engine")[name]
        assert not engine["ok"]
        assert "there is no driver here" in engine["detail"]


@pytest.mark.usefixtures("installed")
def test_a_missing_engine_leaves_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = examine()
    engines = by(found["engines"], "engine")
    assert found["ready"]
    assert not engines["openvino"]["ok"]
    assert "pip install openvino" in engines["openvino"]["detail"]
    assert engines["onnxruntime"]["ok"]


def test_a_damaged_model_is_reported(installed: Path) -> None:
    (installed / "default.ps3d" / "a.onnx").write_bytes(b"")
    found = examine()
    assert not found["ready"]
    assert not found["models"][0]["ok"]
    assert "sha256" in found["models"][0]["detail"]


@pytest.mark.usefixtures("no_model")
def test_a_machine_that_cannot_predict_ends_with_code_3() -> None:
    result = CliRunner().invoke(app, ["--json"])
    assert isinstance(result.exception, CapabilityError)
    assert result.exception.exit_code == 3
    assert json.loads(result.stdout)["ready"] is False, "the report is printed all the same"


@pytest.mark.usefixtures("installed")
def test_the_text_report_names_everything() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0, result.output
    for word in ("openvino", "onnxruntime", "default", "cpu", 'pip install "ps3d-rt[train]"'):
        assert word in result.stdout


def test_text_columns_are_aligned_and_a_reason_stands_there_once() -> None:
    gone = "no driver (it does not load)."
    rows = [{"extra": "gpu", "ok": False, "for": "GPUs"}, {"extra": "train", "ok": True, "for": ""}]
    found = {
        "ready": True,
        "verdict": "all is well",
        "versions": {"a": "1", "bcd": "2"},
        "models": [],
        "devices": [{"device": "cuda", "detail": gone}],
        "engines": [{"engine": name, "detail": f"cuda:0 is not there: {gone}"} for name in ("one", "two")],
        "extras": rows,
    }
    assert as_text(found).split("\n") == [
        "all is well.",
        "",
        "versions",
        "  a    1",
        "  bcd  2",
        "",
        "models",
        "  none",
        "",
        "devices",
        "  cuda  no driver (it does not load).",
        "",
        "engines",
        "  one  cuda:0 is not there: as above",
        "  two  as above",
        "",
        "extras",
        "  gpu    no   GPUs",
        "  train  yes",
    ]


def test_every_extra_but_the_developers_own_is_listed_with_its_purpose() -> None:
    found = {row["extra"]: row for row in _extras()}
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # An installed checkout knows the extras of when it was installed.
    assert {*found} <= {*PURPOSES}
    assert {*project["optional-dependencies"]} - {"dev", "docs"} <= {*PURPOSES}
    assert found["train"]["install"] == 'pip install "ps3d-rt[train]"'


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512_bf16 avx512_vnni", "in bf16"),
        ("fpu avx2 avx_vnni", "int8 models gain from VNNI"),
        ("fpu avx2", "takes a half to a fifth of the time"),
    ],
)
def test_what_to_expect_of_a_cpu_follows_from_its_features(
    monkeypatch: pytest.MonkeyPatch, flags: str, expected: str
) -> None:
    monkeypatch.setattr(machine, "_cpuinfo", lambda: ["model name : Some CPU", f"flags : {flags}"])
    rows = {row["what"]: row for row in machine.machine_facts()}
    assert rows["CPU"]["value"].startswith("Some CPU, ")
    assert expected in rows["bf16, VNNI"]["expect"]
    assert ("bf16" in rows["bf16, VNNI"]["value"]) == ("bf16" in flags)
    monkeypatch.setattr(machine, "_cpuinfo", list)  # Windows, macOS
    assert machine.cpu_features() is None
    assert rows["memory"]["value"].endswith(" free")


@pytest.mark.usefixtures("installed")
def test_the_verdict_is_the_first_line() -> None:
    first = CliRunner().invoke(app, []).stdout.splitlines()[0]
    assert first.startswith("predict works here, with openvino in ")


def test_gpus_are_listed_with_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    there = gpus.Gpu(0, "H200", (9, 0), 140 * 2**30, (13, 1)), gpus.Gpu(1, "A100", (8, 0), 80 * 2**30, (13, 1))
    monkeypatch.setattr(gpus, "find_gpus", lambda: there)
    assert _devices()[1:] == [
        {"device": "cuda:0", "name": "H200", "detail": "140 GiB, compute capability 9.0, CUDA 13.1"},
        {"device": "cuda:1", "name": "A100", "detail": "80 GiB, compute capability 8.0, CUDA 13.1"},
    ]


# --- ps3d-rt model ---


@pytest.mark.usefixtures("installed")
def test_model_list_prints_names() -> None:
    assert CliRunner().invoke(model_app(), ["list"]).stdout == "default\n"


@pytest.mark.usefixtures("installed")
def test_model_info_is_the_manifest_as_json() -> None:
    shown = json.loads(CliRunner().invoke(model_app(), ["info"]).stdout)
    bundle = model_module.load_model()
    manifest = json.loads((bundle.path / "model.json").read_text())
    assert shown == manifest | {"hash": bundle.hash, "path": str(bundle.path)}


def test_model_verify_gives_the_hash_or_the_reason(tiny_bundle: ModelBundle) -> None:
    arguments = ["verify", str(tiny_bundle.path)]
    assert CliRunner().invoke(model_app(), arguments).stdout == f"tiny {tiny_bundle.hash}\n"
    (tiny_bundle.path / "a.onnx").unlink()
    error = CliRunner().invoke(model_app(), arguments).exception
    assert isinstance(error, InputError)
    assert "a.onnx is missing" in str(error)
