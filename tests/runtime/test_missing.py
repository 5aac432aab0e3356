"""What is missing ends a command with exit code 3 before it works, and the message says what would help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.devices import gpus
from ps3d_rt.devices.gpus import Gpu
from ps3d_rt.engines import tensorrt_build
from ps3d_rt.io.volume_writer import write_volume

GPU = Gpu(0, "H200", (9, 0), 139 * 2**30, (13, 0))
SIZES = ("--spacing", "0.01", "--particle-size", "0.12")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.zarr"
    write_volume(path, np.random.default_rng(0).integers(0, 999, (24, 24, 24), dtype=np.uint16), 0.01)
    return path


@pytest.mark.parametrize("command", ["predict", "plan"])
@pytest.mark.parametrize(
    "options",
    [
        ("--device", "cuda:0"),
        ("--device", "cuda:0,cuda:1"),
        ("--device", "cuda:all"),
        ("--engine", "tensorrt"),
        ("--engine", "tensorrt-rtx"),
        ("--engine", "onnxruntime-cuda"),
    ],
)
def test_without_a_driver_nothing_runs_on_a_gpu(
    cli: Any, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gpus, "_LIBRARY", "libno_such_driver.so.1")
    out = (tmp_path / "out",) if command == "predict" else ()
    code, told, err = cli(command, scan, *out, *SIZES, *options)
    assert (code, told) == (3, "")
    assert "there is no NVIDIA driver" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("engine", "gone", "says"),
    [
        ("tensorrt", "tensorrt", 'pip install "ps3d-rt[tensorrt]"'),
        ("tensorrt-rtx", "tensorrt-rtx", 'pip install "ps3d-rt[tensorrt-rtx]"'),
        ("onnxruntime-cuda", None, "pip install onnxruntime-gpu"),
        ("tensorrt-rtx", "cupy", 'pip install "ps3d-rt[gpu]"'),
        ("openvino", "openvino", "pip install openvino"),
        ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
    ],
)
def test_a_package_that_is_missing_is_named(
    cli: Any, scan: Path, monkeypatch: pytest.MonkeyPatch, engine: str, gone: str | None, says: str
) -> None:
    monkeypatch.setattr(gpus, "find_gpus", lambda: (GPU,))
    for module in tensorrt_build.MODULES.get(gone or "", (gone,)):
        if module is not None:
            monkeypatch.setitem(sys.modules, module, None)
    if gone == "cupy":
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", type(sys)("tensorrt_rtx"))
    code, told, err = cli("plan", scan, *SIZES, "--engine", engine)
    assert (code, told) == (3, "")
    assert says in err


def test_workers_beside_a_gpu_are_a_wrong_option(cli: Any, scan: Path) -> None:
    code, _, err = cli("plan", scan, *SIZES, "--engine", "openvino", "--device", "cuda:0", "--workers", "2")
    assert (code, "does not run on device cuda:0" in err) == (2, True)
