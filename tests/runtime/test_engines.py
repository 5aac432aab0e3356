from __future__ import annotations

import dataclasses
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from onnx import TensorProto, helper, save

import ps3d_rt
from fake_engine import FakeEngine
from ps3d_rt.core.arrays import Array
from ps3d_rt.devices import gpus
from ps3d_rt.engines import CPU_ENGINES, DeviceLimits, open_engine
from ps3d_rt.engines.onnxruntime import OnnxRuntimeEngine
from ps3d_rt.engines.openvino import OpenVinoEngine
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.events import Event, Warned
from ps3d_rt.model import ModelBundle

PATCH = (16, 16, 16)
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
BEST_PRECISION = "bf16" if HAS_BF16 else "fp32"
Reference = Callable[[Path, Array], Array]


def some_patches(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 1, *PATCH), dtype=np.float32)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_fp32_engines_agree_with_torch(tiny_bundle: ModelBundle, torch_reference: Reference, engine: str) -> None:
    patches = some_patches(3)
    expected = torch_reference(tiny_bundle.onnx_paths[0], patches)
    with open_engine(tiny_bundle, engine=engine, precision="fp32") as ready:
        scores = ready.infer(patches)
    assert np.ptp(expected) > 0.5, "a network whose scores hardly vary would show nothing"
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_the_default_precision_stays_close_to_torch(tiny_bundle: ModelBundle, torch_reference: Reference) -> None:
    patches = some_patches(3)
    expected = torch_reference(tiny_bundle.onnx_paths[0], patches)
    with open_engine(tiny_bundle) as ready:
        assert (ready.spec.name, ready.spec.device, ready.spec.precision) == ("openvino", "cpu", BEST_PRECISION)
        scores = ready.infer(patches)
    np.testing.assert_allclose(scores, expected, atol=0.05)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)  # softmax itself is not in bf16
    assert (scores.argmax(1) == expected.argmax(1)).mean() > 0.98


@pytest.mark.parametrize(("engine", "precision"), [("openvino", "auto"), ("openvino", "fp32"), ("onnxruntime", "auto")])
@pytest.mark.parametrize("threads", [1, 2])
def test_scores_do_not_depend_on_the_company(
    tiny_bundle: ModelBundle, engine: str, precision: str, threads: int
) -> None:
    patches = some_patches(7)
    with open_engine(tiny_bundle, engine=engine, precision=precision, limits=DeviceLimits(threads=threads)) as ready:
        alone = np.concatenate([ready.infer(patch[None]).copy() for patch in patches])
        np.testing.assert_array_equal(ready.infer(patches), alone)
        np.testing.assert_array_equal(ready.infer(patches[::-1]), alone[::-1])
        np.testing.assert_array_equal(ready.infer(patches[2:5]), alone[2:5])


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_a_strided_view_is_read_right(tiny_bundle: ModelBundle, engine: str) -> None:
    wide = np.random.default_rng(1).standard_normal((2, 1, 16, 16, 32), dtype=np.float32)
    with open_engine(tiny_bundle, engine=engine) as ready:
        expected = ready.infer(wide[..., ::2].copy()).copy()
        np.testing.assert_array_equal(ready.infer(wide[..., ::2]), expected)


def test_an_ensemble_is_the_mean_of_its_members(
    tiny_bundle: ModelBundle, tiny_networks: tuple[Path, Path], torch_reference: Reference
) -> None:
    (tiny_bundle.path / "b.onnx").write_bytes(tiny_networks[1].read_bytes())
    both = dataclasses.replace(tiny_bundle, members=("a.onnx", "b.onnx"))
    patches = some_patches(2)
    expected = sum(torch_reference(path, patches) for path in tiny_networks) / 2
    with open_engine(both, engine="onnxruntime") as ready:
        np.testing.assert_allclose(ready.infer(patches), expected, atol=1e-5)
        assert ready.spec.name == "onnxruntime"


@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (0, 1, 16, 16, 16), (1, 2, 16, 16, 16), (1, 1, 16, 16, 15)])
def test_patches_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"takes \(n, 1, 16, 16, 16\)"):
        FakeEngine(PATCH).infer(np.zeros(shape, np.float32))


def test_patches_of_another_type_are_refused() -> None:
    with pytest.raises(InputError, match="patches are float64"):
        FakeEngine(PATCH).infer(np.zeros((1, 1, *PATCH)))


# --- the fake engine ---


def test_the_fake_engine_gives_a_border_core_map() -> None:
    patch = np.full((1, 1, *PATCH), -1, np.float32)
    patch[..., 4:11, 4:11, 4:11] = 1
    classes = FakeEngine(PATCH, border_voxels=2).infer(patch).argmax(axis=1)[0]
    expected = np.zeros(PATCH, int)
    expected[4:11, 4:11, 4:11] = 2
    expected[6:9, 6:9, 6:9] = 1
    np.testing.assert_array_equal(classes, expected)


def test_the_fake_scores_are_what_the_formula_says() -> None:
    patch = np.full((1, 1, 1, 1, 4), 0.2, np.float32)
    patch[..., 0] = -0.05
    scores = FakeEngine((1, 1, 4), threshold=0.1, border_voxels=1).infer(patch)[0, :, 0, 0]
    foreground, core = [0.35, 0.6, 0.6, 0.6], [0.35, 0.35, 0.6, 0.6]
    np.testing.assert_allclose(scores[0], 1 - np.array(foreground), atol=1e-6)
    np.testing.assert_allclose(scores[1], core, atol=1e-6)
    np.testing.assert_allclose(scores[2], np.subtract(foreground, core), atol=1e-6)


def test_the_fake_engine_keeps_patches_apart() -> None:
    patches = np.ones((3, 1, *PATCH), np.float32) * np.float32([0.4, -0.1, 0.2]).reshape(3, 1, 1, 1, 1)
    together = FakeEngine(PATCH).infer(patches)
    np.testing.assert_array_equal(together[1], FakeEngine(PATCH).infer(patches[1:2])[0])
    np.testing.assert_array_equal(together[2], FakeEngine(PATCH).infer(patches[2:])[0])
    assert together.dtype == np.float32


# --- choosing ---


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, whatever this one has."""
    monkeypatch.setattr(gpus, "_LIBRARY", "libno_such_driver.so.1")


def test_auto_falls_back_and_says_so(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # makes ``import openvino`` fail
    with caplog.at_level(logging.WARNING), open_engine(tiny_bundle) as ready:
        assert ready.spec.name == "onnxruntime"
    assert "openvino is not available" in caplog.text


@pytest.mark.parametrize(("package", "engine"), [("openvino", "openvino"), ("onnxruntime", "onnxruntime")])
def test_a_missing_package_is_named(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, package: str, engine: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CapabilityError, match=f"pip install {package}"):
        open_engine(tiny_bundle, engine=engine)


def test_without_any_engine_every_reason_is_given(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CapabilityError, match=r"pip install openvino.*pip install onnxruntime"):
        open_engine(tiny_bundle)


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "tensorrt"},
        {"engine": "tensorrt-rtx"},
        {"engine": "onnxruntime-cuda"},
        {"device": "cuda:0"},
        {"device": "cuda:1", "engine": "tensorrt-rtx"},
        {"engine": "onnxruntime", "precision": "bf16"},
    ],
)
def test_what_is_not_there_is_a_missing_capability(
    tiny_bundle: ModelBundle, no_driver: None, options: dict[str, Any]
) -> None:
    with pytest.raises(CapabilityError) as caught:
        open_engine(tiny_bundle, **options)
    assert caught.value.exit_code == 3
    assert "precision" in options or "there is no NVIDIA driver" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"device": "cuda:1", "engine": "openvino"}, {"device": "cpu", "engine": "tensorrt"}],
)
def test_an_engine_on_the_wrong_device_is_a_wrong_input(tiny_bundle: ModelBundle, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"{options['engine']} does not run on device {options['device']}"):
        open_engine(tiny_bundle, **options)


def test_without_a_driver_auto_is_the_cpu_and_cupy_is_not_asked(
    tiny_bundle: ModelBundle, no_driver: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with caplog.at_level(logging.DEBUG, logger="ps3d_rt"), open_engine(tiny_bundle) as ready:
        assert (ready.spec.name, ready.spec.device) == ("openvino", "cpu")
    assert "network(s) on cpu: openvino" in caplog.text
    assert "cupy" not in caplog.text.lower()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_model_that_failed_its_gate_runs_only_where_an_engine_is_named(
    tiny_bundle: ModelBundle, no_driver: None
) -> None:
    failed = dataclasses.replace(tiny_bundle, provenance={"gate": {"passed": False, "F1_instance": [0.8, 0.9]}})
    for options in ({}, {"device": "cpu"}):
        with pytest.raises(CapabilityError, match=r"'tiny' failed the accuracy gate .*0\.8.*name the engine") as caught:
            open_engine(failed, **options)
        assert caught.value.exit_code == 3
    with open_engine(failed, engine="onnxruntime") as ready:
        assert ready.spec.name == "onnxruntime"
    for gate in ({"passed": True}, None):
        with open_engine(dataclasses.replace(tiny_bundle, provenance={"gate": gate})) as ready:
            assert ready.spec.device == "cpu"


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "tensorflow"},
        {"device": "tpu"},
        {"device": "cuda"},
        {"precision": "int4"},
        {"precision": "int4", "engine": "onnxruntime"},
    ],
)
def test_what_nobody_knows_is_a_wrong_input(tiny_bundle: ModelBundle, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(options.values())))):
        open_engine(tiny_bundle, **options)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_no_thread_is_a_wrong_input(tiny_bundle: ModelBundle, engine: str) -> None:
    with pytest.raises(InputError, match="threads is 0"):
        open_engine(tiny_bundle, engine=engine, limits=DeviceLimits(threads=0))


def test_bf16_runs_only_where_the_cpu_has_it(tiny_bundle: ModelBundle) -> None:
    if HAS_BF16:
        with open_engine(tiny_bundle, engine="openvino", precision="bf16") as ready:
            assert ready.spec.precision == "bf16"
    else:
        with pytest.raises(CapabilityError, match="bf16"):
            open_engine(tiny_bundle, engine="openvino", precision="bf16")


def test_bf16_that_fails_to_build_becomes_fp32_with_a_warning_that_a_run_repeats(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_model = openvino.Core.compile_model

    def without_bf16(core: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
        if settings["INFERENCE_PRECISION_HINT"] == "bf16":
            raise RuntimeError("could not create\na primitive descriptor")
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(openvino.Core, "get_property", lambda core, device, name: ["FP32", "BF16"])
    monkeypatch.setattr(openvino.Core, "compile_model", without_bf16)
    with open_engine(tiny_bundle, engine="openvino") as ready:
        assert ready.spec.precision == "fp32"
        (said,) = ready.spec.warnings
    assert said.endswith("so it runs in fp32. — OpenVINO says: could not create a primitive descriptor")
    heard: list[Event] = []
    image = np.random.default_rng(0).integers(0, 30000, (24, 24, 24)).astype(np.uint16)
    about = {"spacing": 0.01, "particle_size": 0.08, "model": tiny_bundle, "engine": "openvino"}
    run = ps3d_rt.predict(image, **about, progress=heard.append).run
    assert Warned(said) in heard
    assert said in run["warnings"], "from where the report takes them"
    assert run["engine"]["precision"] == "fp32"
    with pytest.raises(CapabilityError, match="use precision auto or fp32"):
        open_engine(tiny_bundle, engine="openvino", precision="bf16")


def test_a_cpu_without_bf16_gets_fp32(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ps3d_rt.engines.openvino")
    real = openvino.Core

    class OldCpu:
        def __getattr__(self, name: str) -> Any:
            return getattr(real(), name)

        def get_property(self, device: str, name: str) -> Any:
            return ["FP32", "INT8"] if name == "OPTIMIZATION_CAPABILITIES" else real().get_property(device, name)

    monkeypatch.setattr(openvino, "Core", OldCpu)
    with module.OpenVinoEngine(tiny_bundle.onnx_paths[0], PATCH) as ready:
        assert ready.spec.precision == "fp32"
    with pytest.raises(CapabilityError, match="this CPU does not compute in bf16"):
        module.OpenVinoEngine(tiny_bundle.onnx_paths[0], PATCH, precision="bf16")


def test_the_fake_engine_is_none_for_users(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # what lets tests open it
    with pytest.raises(InputError, match="engine is 'fake'; use auto, "):
        open_engine(tiny_bundle, engine="fake")


# --- files that are no such network ---


@pytest.mark.parametrize("kind", [OpenVinoEngine, OnnxRuntimeEngine])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"this is no network")
    with pytest.raises(InputError, match=r"a\.onnx.*export the model again"):
        kind(path, PATCH)


@pytest.mark.parametrize("kind", [OpenVinoEngine, OnnxRuntimeEngine])
def test_a_network_of_another_patch_is_refused(tiny_bundle: ModelBundle, kind: Any) -> None:
    with pytest.raises(InputError, match=r"a\.onnx"):
        kind(tiny_bundle.onnx_paths[0], (16, 16, 17))


@pytest.mark.parametrize("kind", [OpenVinoEngine, OnnxRuntimeEngine])
def test_a_network_without_three_classes_is_refused(tmp_path: Path, kind: Any) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 1, *PATCH]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", values[:1], values[1:])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "one_class.onnx"
    )
    with pytest.raises(InputError, match=r"one_class\.onnx gives"):
        kind(tmp_path / "one_class.onnx", PATCH)


def test_importing_engines_loads_no_backend() -> None:
    heavy = {"cupy", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "torch"}
    code = f"import sys, ps3d_rt.engines; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- nothing is sent anywhere ---


def test_openvino_loads_without_its_telemetry(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from ps3d_rt.engines.openvino import _load\n"
        "core = _load().Core\n"
        "print('openvino_telemetry' in sys.modules, list(pathlib.Path.home().iterdir()))\n"
        "import openvino_telemetry\n"  # another part of a program may still use it
    )
    home = {name: str(tmp_path) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA")}
    said = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | home, check=True, capture_output=True, text=True
    )
    assert said.stdout.strip() == "False []"
