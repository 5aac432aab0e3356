"""One command adds what a CPU may run a model in, with the gate's verdicts; doing it again replaces all of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, final

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from typer.testing import CliRunner

from fake_engine import FakeEngine
from ps3d_export import verdicts
from ps3d_export.cli import app
from ps3d_export.graph import with_shapes
from ps3d_export.precisions import add_precisions
from ps3d_export.run import run_network
from ps3d_export.variant import convert, export_variant
from ps3d_rt.engines import open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import load_model

PATCH = (16, 16, 16)
BETWEEN, BELOW = 1.0, -0.1
"""Thresholds of the fake engine: particles that touch are apart, or are one."""


@final
class In(Engine):
    """The fake engine, which says that it runs in a precision."""

    def __init__(self, precision: str, threshold: float) -> None:
        self._engine = FakeEngine(PATCH, threshold=threshold, border_voxels=1)
        self.spec = replace(self._engine.spec, name="openvino", choice=precision, precision=f"fp32+{precision}")

    def _infer(self, patches: Any) -> Any:
        return self._engine.infer(patches)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Precision → threshold of the engine that runs it here; what is missing, this CPU does not have."""
    thresholds = {"fp32": BETWEEN, "bf16": BELOW, "int8": BETWEEN}

    def open_fake(_: Any, *, precision: str, **asked: Any) -> Engine:
        assert asked == ({"device": "cpu"} if precision == "fp32" else {"engine": "openvino", "device": "cpu"})
        if precision not in thresholds:
            raise CapabilityError(f"no {precision} here")
        return In(precision, thresholds[precision])

    monkeypatch.setattr(verdicts, "open_engine", open_fake)
    return thresholds


def test_the_bundle_carries_8_bit_networks_and_the_verdicts(bundle, folder, engines):
    found = add_precisions(bundle.path, calibration=folder, samples=folder)
    assert {name: verdict.passed for name, verdict in found.items()} == {"bf16": False, "int8": True}
    judged = load_model(bundle.path)
    assert judged.precisions == {"int8": ("a.int8.onnx", "b.int8.onnx")}
    assert (judged.members, judged.hash) == (bundle.members, bundle.hash)
    assert {name: gate["passed"] for name, gate in judged.gates.items()} == {"bf16": False, "int8": True}
    assert judged.gates["int8"]["computed_in"] == "fp32+int8"
    assert judged.gates["int8"]["samples"] == 2
    assert judged.gates["bf16"]["difference"]["f1_instance"] < -0.005
    with open_engine(judged, device="cpu", precision="int8") as ready:
        assert "int8" in ready.spec.precision


def test_again_everything_is_replaced(bundle, folder, engines):
    add_precisions(bundle.path, calibration=folder, samples=folder)
    before = load_model(bundle.path)
    del engines["bf16"]
    engines["int8"] = BELOW
    assert list(add_precisions(bundle.path, calibration=folder, samples=folder)) == ["int8"]
    after = load_model(bundle.path)
    assert {name: gate["passed"] for name, gate in after.gates.items()} == {"int8": False}
    assert after.sha256 == before.sha256, "the same samples give the same networks"
    assert sorted(path.name for path in bundle.path.iterdir()) == sorted(["model.json", *after.sha256])


def test_only_a_float32_bundle_in_a_folder_takes_them(bundle, tmp_path):
    import shutil  # noqa: PLC0415

    half = export_variant(bundle, tmp_path / "half.ps3d", precision="fp16")
    with pytest.raises(InputError, match="'half' is fp16; give the float32 one"):
        add_precisions(half.path)
    with pytest.raises(InputError, match="unpack it first"):
        add_precisions(shutil.make_archive(str(tmp_path / "zipped"), "zip", bundle.path))


def test_inputs_of_convolutions_have_zero_points_and_the_rest_stays_float32(unet):
    draw = np.random.default_rng(1)
    patches = list(draw.standard_normal((4, 1, 1, *PATCH), dtype=np.float32))
    network = with_shapes(unet())
    eight, _ = convert(network, "int8", patches=patches, zero_points=True)
    onnx.checker.check_model(eight, full_check=True)
    arrays = {weight.name: numpy_helper.to_array(weight) for weight in eight.graph.initializer}
    inputs = [node for node in eight.graph.node if node.op_type == "QuantizeLinear"]
    assert {arrays[node.input[2]].dtype for node in inputs} == {np.dtype(np.uint8)}
    assert min(arrays[node.input[2]] for node in inputs) < 32, "behind a rectifier there is more room above 0"
    weights = [n for n in eight.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in arrays]
    assert len(weights) == 4
    assert not any(arrays[node.input[2]].any() for node in weights)
    assert not [weight for weight in eight.graph.initializer if weight.data_type == TensorProto.FLOAT16]
    some = draw.standard_normal((2, 1, *PATCH), dtype=np.float32)
    expected, scores, symmetric = (
        run_network(n, some) for n in (network, eight, convert(network, "int8", patches=patches)[0])
    )
    assert 0 < np.abs(scores - expected).mean() < np.abs(symmetric - expected).mean()


def test_the_command_prints_the_verdicts(bundle, folder, engines):
    result = CliRunner().invoke(
        app, ["precisions", str(bundle.path), "--calibration", str(folder), "--samples", str(folder)]
    )
    told = json.loads(result.stdout)
    assert (result.exit_code, told["int8"]["passed"], told["bf16"]["passed"]) == (0, True, False)
    assert len(told["int8"]["samples"]) == 2
