"""The commands hand on what was asked for, print data, and say what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from ps3d_export import capability
from ps3d_export.cli import app
from ps3d_rt.engines.cache import EngineCache, EngineKey, Verdict
from ps3d_rt.errors import CapabilityError, InputError, Ps3dError
from ps3d_rt.model import load_model


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_onnx_writes_a_variant_and_prints_where(bundle, tmp_path):
    out = tmp_path / "half.ps3d"
    result = call("onnx", bundle.path, out)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert load_model(out).provenance["precision"] == "fp16"
    again = call("onnx", bundle.path, out)
    assert isinstance(again.exception, InputError)
    assert "--overwrite" in str(again.exception)
    assert call("onnx", bundle.path, out, "--rewrite", "--overwrite").exit_code == 0
    assert load_model(out).provenance["export"]["a.onnx"]["replaced_transposed_convolutions"] == 1


def test_without_onnx_the_extra_is_named(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(capability, "find_spec", lambda name: None)
    result = call("onnx", bundle.path, tmp_path / "half.ps3d")
    assert isinstance(result.exception, CapabilityError)
    assert 'pip install "ps3d-rt[export]"' in str(result.exception)


def test_engine_prints_what_is_known_of_each(bundle, tmp_path, monkeypatch):
    def export(model: Any, **options: Any) -> Any:
        assert (model.name, options) == ("tiny", {"flavour": "tensorrt-rtx", "device": "cuda:1"})
        key = EngineKey(onnx_sha256="", flavour="", version="", gpu="", precision="", patch=(1, 1, 1), batches=(1,))
        return [EngineCache(tmp_path).store(key, b"", {"precision": "fp32"})]

    monkeypatch.setattr("ps3d_export.engine.export_engine", export)
    result = call("engine", bundle.path, "--flavour", "tensorrt-rtx", "--device", "cuda:1")
    (told,) = json.loads(result.stdout)
    assert told["facts"] == {"precision": "fp32"}
    assert told["engine"].endswith(".engine")


@pytest.mark.parametrize("passed", [True, False])
def test_gate_prints_the_verdict_and_fails_with_it(bundle, monkeypatch, passed):
    measured = {"engine": {"not_finite": 0, "f1_instance": 0.5}, "difference": {"f1_instance": -0.1}}
    asked = {"engine": "onnxruntime", "device": "cpu", "precision": "auto", "reference": "default", "samples": None}

    def judge(model: Any, **options: Any) -> Any:
        assert (model, options) == (str(bundle.path), asked)
        return Verdict(passed, measured), [bundle.path / "model.json"]

    monkeypatch.setattr("ps3d_export.verdicts.judge_model", judge)
    options = ("--engine", "onnxruntime", "--device", "cpu", "--reference", "default")
    result = call("gate", bundle.path, *options)
    told = json.loads(result.stdout)
    assert (told["passed"], told["difference"]) == (passed, measured["difference"])
    assert told["kept_in"] == [(bundle.path / "model.json").as_posix()]
    assert result.exit_code == (0 if passed else 1)
    if not passed:
        assert isinstance(result.exception, Ps3dError)
        assert "-0.1000 against float32" in str(result.exception)


def test_help_loads_nothing_heavy():
    code = (
        "import sys, ps3d_export.cli\nprint(sorted({'onnx', 'onnxruntime', 'numpy', 'openvino'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
