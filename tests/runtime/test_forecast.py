"""``ps3d-rt plan``: what it says is what then happens, and it writes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.forecast import _Crop, _middle, memory_bytes
from ps3d_rt.io.volume import ArrayVolume
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig, RunPlan

MODEL = ModelBundle(
    name="fake",
    patch=(32, 32, 32),
    target_size_voxels=12.0,
    border_thickness_voxels=2.0,
    members=("a.onnx",),
    sha256={"a.onnx": "0"},
)
CONFIG = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.12, overlap=0.25)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    z, y, x = np.indices((60, 70, 80)).astype(float)
    distance = np.sqrt((z % 18 - 9) ** 2 + (y % 18 - 9) ** 2 + (x % 18 - 9) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, distance.shape)
    path = tmp_path / "scan.zarr"
    write_volume(path, (np.where(distance < 6, 30000, 9000) + noise).astype(np.uint16), 0.01)
    return path


def test_plan_says_what_predict_does_and_writes_nothing(cli: Any, scan: Path, tmp_path: Path) -> None:
    options = ("--particle-size", "0.12", "--engine", "fake")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli("plan", scan, *options)
    assert code == 0, err
    assert sorted(tmp_path.rglob("*")) == before
    plan = json.loads(out)
    assert cli("predict", scan, tmp_path / "out", *options)[0] == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert plan["normalized_shape"] == run["parameters"]["normalized_shape"]
    assert plan["patches"] == run["patches"]["planned"]
    assert set(plan["seconds"]) == set(run["seconds"])
    assert plan["seconds"]["all"] == pytest.approx(sum(v for k, v in plan["seconds"].items() if k != "all"), abs=0.06)
    written = sum(p.stat().st_size for p in (tmp_path / "out" / "scan.ome.zarr").rglob("*") if p.is_file())
    # The piece is the whole of so small a scan.
    assert plan["output_bytes"] == pytest.approx(written, rel=0.1)
    assert plan["work_bytes"] > 0


def test_without_a_trial_there_is_no_time(cli: Any, scan: Path) -> None:
    code, out, _ = cli("plan", scan, "--particle-size", "0.12", "--engine", "fake", "--no-trial")
    assert code == 0
    assert {"patches", "memory_bytes"} <= json.loads(out).keys()
    assert "seconds" not in json.loads(out)


def test_a_scan_that_predict_would_refuse_is_refused(cli: Any, scan: Path) -> None:
    code, _, err = cli("plan", scan, "--particle-size", "5", "--engine", "fake")
    assert (code, "longest side" in err) == (2, True)


def test_memory_grows_with_the_plane_and_not_with_the_depth() -> None:
    def need(shape: tuple[int, int, int], **changes: Any) -> int:
        config = replace(CONFIG, **changes)
        return memory_bytes(RunPlan.of(shape, 2, MODEL, config), config, 2)

    assert need((4000, 600, 600)) == need((8000, 600, 600))
    assert need((600, 2500, 2500)) > need((600, 600, 600))
    assert need((600, 600, 600), chunk=64) <= need((600, 600, 600))
    for shape in ((1000, 20_000, 20_000), (20_000, 1000, 20_000), (3000, 3000, 3000)):
        for workers in (1, 2, 4):
            assert need(shape, workers=workers) < 4 * 2**30, "the promise, at any size"


def test_the_piece_is_in_the_middle_and_as_large_as_asked() -> None:
    plan = RunPlan.of((400, 300, 50), 2, MODEL, replace(CONFIG, particle_size_mm=0.24))
    assert _middle((400, 300, 50), plan, 100) == Box((100, 50, 0), (300, 250, 50))
    array = np.arange(400 * 30 * 5, dtype=np.uint16).reshape(400, 30, 5)
    crop = _Crop(ArrayVolume(array), Box((100, 5, 1), (300, 25, 4)))
    assert np.array_equal(crop.read(Box((3, 2, 1), (9, 20, 3))), array[103:109, 7:25, 2:4])
