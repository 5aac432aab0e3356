"""The script for a GPU: what it does without one, what it does not do twice, and the networks it measures with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import gpu_check
from ps3d_bench import gpu_runs
from ps3d_bench.ceilings import ceilings
from ps3d_bench.gpu_bench import Bench
from ps3d_bench.gpu_checks import Check, checks
from ps3d_bench.networks import Width, in_torch, operations_of, random_bundle, random_network
from ps3d_rt.errors import CapabilityError, Ps3dError

ROOT = Path(__file__).resolve().parents[2]
TINY = Width(2, 3, (16, 16, 16), 12.0, 1)


def test_without_a_gpu_it_ends_with_exit_code_3(tmp_path: Path) -> None:
    script = ["-c", "import sys; sys.argv[1:] = []; import ps3d_rt.devices.gpus as c; c._LIBRARY = 'libnone.so';"]
    script[1] += f"import runpy; runpy.run_path({str(ROOT / 'benchmarks/gpu_check.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, *script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error: device cuda:0 is not there: there is no NVIDIA driver")


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call the script with checks of our own; what was run, and with what limit."""
    ran: list[Any] = []
    answers: dict[str, Any] = {}

    def check(name: str, **limit: float) -> Any:
        ran.append((name, *limit.values()))
        answer = answers.get(name, {"value": len(ran)})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def checks(bench: Bench) -> dict[str, Check]:
        found = {name: Check(lambda name=name: check(name), 100.0) for name in ("one", "two")}
        return found | {"long": Check(lambda limit_s: check("long", limit_s=limit_s), 50.0, in_parts=True)}

    monkeypatch.setattr(gpu_check, "checks", checks)
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path))

    def call(*words: str) -> list[Any]:
        ran.clear()
        places = [f"--{name}={tmp_path / name}" for name in ("work", "results", "out")]
        gpu_check.main(["--device", "cpu", *places, *words])
        return list(ran)

    call.answers = answers
    return call


def test_what_is_done_is_not_done_again(check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--only", "two") == [("two",)]
    for folder in ("results", "out"):
        found = json.loads((tmp_path / folder / "gpu_check-cpu-two.json").read_text())
        assert (found["check"], found["value"], found["device"]) == ("two", 1, "cpu")
        assert found["data"].startswith("simulated")
    assert json.loads(capsys.readouterr().out)["left"] == ["one", "long"]
    (tmp_path / "out" / "gpu_check-cpu-two.json").unlink()
    assert [name for name, *_ in check()] == ["one", "long"]
    assert (tmp_path / "out" / "gpu_check-cpu-two.json").exists(), "the last call has everything"
    assert check() == []


def test_what_was_not_possible_is_tried_again(check: Any, tmp_path: Path) -> None:
    check.answers["one"] = CapabilityError("no compiler")
    assert check("--only", "one") == check("--only", "one") == [("one",)]
    assert json.loads((tmp_path / "results/gpu_check-cpu-one.json").read_text())["not_possible"] == "no compiler"


def test_a_piece_that_breaks_does_not_take_the_others_with_it(check: Any, tmp_path: Path) -> None:
    check.answers["one"] = Ps3dError("broken")
    check.answers["two"] = ZeroDivisionError("a bug")
    assert [name for name, *_ in check()] == ["one", "two", "long"]
    assert (
        json.loads((tmp_path / "out/gpu_check-cpu-two.json").read_text())["not_possible"] == "ZeroDivisionError: a bug"
    )


def test_nothing_begins_that_would_take_longer_than_is_left(check: Any, tmp_path: Path) -> None:
    check.answers["long"] = None
    ((name, limit),) = check("--budget-s", "60")
    assert name == "long"
    assert 50 < limit <= 60
    assert not (tmp_path / "results/gpu_check-cpu-long.json").exists()
    with pytest.raises(CapabilityError, match="there are one, two, long"):
        check("--only", "three")


def test_the_time_table_says_what_a_call_would_run(
    check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check("--only", "one")
    capsys.readouterr()
    assert check("--table", "--budget-s", "120") == []
    rows = json.loads(capsys.readouterr().out)
    assert [(row["check"], row["what"], row["ends_s"]) for row in rows] == [
        ("one", "done", 0),
        ("two", "runs", 100),
        ("long", "left", 100),
    ]


def test_what_is_most_worth_having_fits_a_quarter_of_an_hour(tmp_path: Path) -> None:
    todo = checks(Bench("cuda:0", quick=False, work=tmp_path))
    rows = gpu_check.timetable(todo, set(), gpu_check.BUDGET_S)
    assert [row["check"] for row in rows if row["what"] == "runs"] == [
        *("tests", "engine-fp16", "windows-default", "scan", "paper-60"),
        *("throughput-40", "throughput-60", "throughput-120"),
    ]
    assert max(row["ends_s"] for row in rows) <= 900 - 180, "a machine starts, files come and go"
    assert sum(row["what"] == "left" for row in rows) == len(todo) - 8


def test_a_run_that_was_stopped_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "ps3d-rt"
    command.write_text(
        f"""#!{sys.executable}
import pathlib, sys, time
mark, out = pathlib.Path({str(tmp_path / "mark")!r}), pathlib.Path(sys.argv[3])
if not mark.exists():
    mark.touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(4)
out.mkdir()
(out / "run.json").write_text('{{"particles": 7}}')
"""
    )
    command.chmod(0o755)
    monkeypatch.setattr(gpu_runs, "installed_command", lambda: str(command))
    assert gpu_runs.run_predict(tmp_path / "scan", tmp_path / "runs/a", [], 3.0, "cpu") is None
    found = gpu_runs.run_predict(tmp_path / "scan", tmp_path / "runs/a", [], 60.0, "cpu")
    assert found is not None
    assert (found["run"], found["parts"], found["peak_gpu_mib"]) == ({"particles": 7}, 2, None)
    assert found["seconds"] > 3
    command.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('broken')\n")
    with pytest.raises(Ps3dError, match="exit code 1: broken"):
        gpu_runs.run_predict(tmp_path / "scan", tmp_path / "runs/b", [], 60.0, "cpu")


def test_a_random_network_gives_particles_and_is_the_same_in_torch(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "tiny.ps3d", TINY, mirror_axes=(0,), overlap=0.5)
    assert (bundle.mirror_axes, bundle.overlap, bundle.patch) == ((0,), 0.5, (16, 16, 16))
    assert random_bundle(tmp_path / "tiny.ps3d", TINY) == bundle
    grid = np.indices((16, 16, 16)) - 7.5
    ball = np.where((grid**2).sum(0) < 36, 2.0, -1.0).astype(np.float32)[None, None]
    session = onnxruntime.InferenceSession(bundle.onnx_paths[0], providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"patches": ball})
    classes = scores.argmax(1)[0]
    assert (classes[0, 0, 0], classes[8, 8, 8]) == (0, 1)
    assert set(np.unique(classes)) == {0, 1, 2}
    with torch.inference_mode():
        found = in_torch(bundle.onnx_paths[0])(torch.from_numpy(ball)).numpy()
    np.testing.assert_allclose(found, scores, atol=1e-4)


def test_the_published_width_has_the_published_channels() -> None:
    kernels = {w.name: list(w.dims) for w in random_network(Width(4, 5, (32, 32, 32))).graph.initializer}
    assert [kernels[f"down{stage}.1.w"][0] for stage in range(5)] == [4, 8, 16, 32, 64]
    assert [Width().channels(stage) for stage in range(6)] == [32, 64, 128, 256, 320, 320]
    assert kernels["up3.0.w"] == [32, 64, 3, 3, 3]


def test_operations_are_counted(tmp_path: Path) -> None:
    weights = {"a": (2, 1, 3, 3, 3), "b": (2, 3, 2, 2, 2)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["half"], kernel_shape=[3] * 3, pads=[1] * 6, strides=[2] * 3),
        helper.make_node("ConvTranspose", ["half", "b"], ["y"], kernel_shape=[2] * 3, strides=[2] * 3),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 1, 8, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3, 8, 8, 8])],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "n.onnx")
    assert operations_of(tmp_path / "n.onnx") == 2 * 64 * (2 * 27) + 2 * 64 * (2 * 3 * 8)


def test_ceilings_of_a_cpu_are_numbers_above_zero() -> None:
    found = ceilings("cpu", quick=True)
    assert found.keys() == {"copy_gb_per_s", "fp32_tflop_per_s", "bf16_tflop_per_s"}
    assert min(found.values()) > 0
