"""``ps3d-rt plan``: what it says is what then happens, and it writes nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine
from ps3d_rt import memory
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.forecast import _middle, gpu_bytes, memory_bytes
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.crop import Crop
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.plan import PredictConfig, RunPlan

CONFIG = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.12, overlap=0.25)


@pytest.fixture(scope="module")
def model(fake_model: Any) -> Any:
    return fake_model(patch=32)


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
    assert set(run["seconds"]) - set(plan["seconds"]) == {"likeness", "report"}, "they take as long for any scan"
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


def test_memory_grows_with_the_plane_and_not_with_the_depth(model: Any) -> None:
    def need(shape: tuple[int, int, int], **changes: Any) -> int:
        config = replace(CONFIG, **changes)
        return memory_bytes(RunPlan.for_shape(shape, 2, model, config), config, 2, particles=0)

    assert need((4000, 600, 600)) == need((8000, 600, 600))
    assert need((600, 2500, 2500)) > need((600, 600, 600))
    assert need((600, 600, 600), chunk=64) <= need((600, 600, 600))
    for shape in ((1000, 20_000, 20_000), (20_000, 1000, 20_000), (3000, 3000, 3000)):
        for workers in (1, 2, 4):
            assert need(shape, workers=workers) <= 4 * 2**30, "the promise, at any size"


def test_any_number_of_threads_and_many_particles_stay_within_the_budget(model: Any) -> None:
    for gib in (2, 4, 16):
        for threads in (1, 2, 16, 64, 256):
            for chunk in (64, 256):
                config = replace(CONFIG, memory_bytes=gib * 2**30, threads=threads, chunk=chunk, particle_size_mm=0.2)
                plan = RunPlan.for_shape((2154, 2154, 2154), 2, model, config)
                for particles in (0, 10**6, 10**7 * (gib - 1) // 3):
                    assert memory_bytes(plan, config, 2, particles) <= config.memory_bytes, (gib, threads, particles)
    assert plan.memory.chunks_at_once(0) >= 40, "a large budget is used"


def test_a_budget_that_holds_nothing_is_refused_with_one_that_does(model: Any) -> None:
    config = replace(CONFIG, memory_bytes=2**29, workers=8)
    with pytest.raises(InputError, match=r"pass --memory (\S+) or more, or fewer --workers") as found:
        RunPlan.for_shape((600, 600, 600), 2, model, config)
    enough = float(re.search(r"--memory (\S+)", str(found.value))[1])
    plan = RunPlan.for_shape((600, 600, 600), 2, model, replace(config, memory_bytes=int(enough * 2**30)))
    assert plan.chunks.chunk[0] <= 256
    with pytest.raises(InputError, match="pass --memory"):
        RunPlan.for_shape((600, 600, 600), 2, model, replace(config, memory_bytes=int((enough - 0.11) * 2**30)))


def test_the_default_budget_is_half_of_what_is_free_and_at_most_4_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, budget in ((64 * 2**30, 4 * 2**30), (3 * 2**30, 3 * 2**29), (0, 0)):
        monkeypatch.setattr(memory, "free_bytes", lambda free=free: free)
        assert memory.default_bytes() == budget


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    most, taken = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ((most, taken), (tmp_path / "none", taken)))
    machine = memory.free_bytes()
    most.write_text("max\n")
    taken.write_text("100\n")
    assert memory.free_bytes() > machine // 2
    most.write_text("1100\n")
    assert memory.free_bytes() == 1000


def test_a_gpu_holds_what_the_host_does_not(model: Any) -> None:
    spec = FakeEngine((32, 32, 32)).spec
    config = replace(CONFIG, gpu_memory_bytes=4 * 2**30)
    shape = (997, 1256, 1256)
    on_cpu, one, two = (
        RunPlan.for_shape(shape, 2, model, config, d) for d in (("cpu",), ("cuda:0",), ("cuda:0", "cuda:1"))
    )
    assert gpu_bytes(on_cpu, config, spec, 2) == 0
    assert config.network_bytes < gpu_bytes(one, config, spec, 2) <= config.gpu_memory_bytes
    assert gpu_bytes(one, config, replace(spec, memory_bytes=1), 2) < gpu_bytes(one, config, spec, 2)
    assert memory_bytes(one, config, 2) < 4 * 2**30
    assert memory_bytes(two, config, 2) == 2 * memory_bytes(
        replace(two, budget=replace(two.budget, processes=1)), config, 2
    )
    assert len(two.sweeps) >= 2


def test_the_budget_of_a_gpu_is_an_option(cli: Any, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def opened(bundle: Any, *, limits: Any, **options: Any) -> Any:
        seen.append(limits)
        return FakeEngine(bundle.patch)

    monkeypatch.setattr("ps3d_rt.api.open_engine", opened)
    for options in ((), ("--gpu-memory", "1.5")):
        assert cli("plan", scan, "--particle-size", "0.12", "--no-trial", *options)[0] == 0
    assert [limits.memory_bytes for limits in seen] == [3 * 2**30, 3 * 2**27]


def test_the_piece_is_in_the_middle_and_as_large_as_asked(model: Any) -> None:
    plan = RunPlan.for_shape((400, 300, 50), 2, model, replace(CONFIG, particle_size_mm=0.24))
    assert _middle((400, 300, 50), plan, 100) == Box((100, 50, 0), (300, 250, 50))
    array = np.arange(400 * 30 * 5, dtype=np.uint16).reshape(400, 30, 5)
    crop = Crop(ArrayVolume(array), Box((100, 5, 1), (300, 25, 4)))
    assert np.array_equal(crop.read(Box((3, 2, 1), (9, 20, 3))), array[103:109, 7:25, 2:4])
