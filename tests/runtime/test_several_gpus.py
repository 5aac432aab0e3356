"""Several GPUs give the bytes of one: a process each, and only the network and the particles go there."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import host_cupy
import ps3d_rt.plan
from fake_engine import FakeEngine
from ps3d_rt.devices import gpus
from ps3d_rt.devices.gpus import Gpu, find_gpus
from ps3d_rt.devices.several import find_devices
from ps3d_rt.engines import open_engine
from ps3d_rt.engines.shared import SharedEngine
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.output import predict_to_folder
from ps3d_rt.pipeline import predict_volume, prepare, run_stages
from ps3d_rt.plan import PredictConfig, RunPlan
from ps3d_rt.stages.storage import LabelsInMemory, RowsInMemory, RunStorage

PATCH = (24, 24, 24)
CONFIG = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5, chunk=16)
GIB = 2**30


def three_gpus() -> tuple[Gpu, ...]:
    ada, hopper = ("RTX 4090", (8, 9)), ("H200", (9, 0))
    return tuple(Gpu(i, *kind, 24 * GIB, (13, 0)) for i, kind in enumerate((hopper, hopper, ada)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find_gpus", three_gpus)


@pytest.mark.usefixtures("machine")
def test_devices_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_devices("cuda:1,cuda:0") == ("cuda:1", "cuda:0")
    for alone in ("auto", "cpu", "cuda:7"):
        assert find_devices(alone) == (alone,)
    with pytest.raises(InputError, match=r"of one kind; .* cuda:2 \(RTX 4090 8\.9\)"):
        find_devices("cuda:all")
    monkeypatch.setattr(gpus, "find_gpus", lambda: three_gpus()[:2])
    assert find_devices("cuda:all") == ("cuda:0", "cuda:1")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("device", ["cpu,cuda:0", "cuda:0,cuda:0", "cuda:0,auto", "cuda:0,"])
def test_what_names_no_several_gpus_is_refused(device: str) -> None:
    with pytest.raises(InputError):
        find_devices(device)


@pytest.mark.usefixtures("machine")
def test_a_gpu_of_several_that_is_not_there_is_a_missing_capability() -> None:
    with pytest.raises(CapabilityError, match="cuda:5 is not there"):
        find_devices("cuda:0,cuda:5")


def test_worker_processes_beside_a_gpu_are_refused(fake_model: Any) -> None:
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.13, overlap=0.5, workers=2)
    with pytest.raises(InputError, match="leave out --workers"):
        RunPlan.for_shape((64, 64, 64), 2, fake_model(), config, ("cuda:0",))


def scan() -> np.ndarray[Any, Any]:
    grid = np.indices((34, 40, 60))
    image = np.random.default_rng(0).normal(80, 2, grid.shape[1:])
    for center in ((8, 10, 12), (24, 28, 14), (12, 13, 24), (22, 22, 50)):
        image[((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) <= 6.5**2] += 150
    return image.astype(np.uint16)


def test_two_gpus_give_the_bytes_of_one_cpu(fake_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if host_cupy.COMPILER is None:
        pytest.skip("no g++ to compile the kernels for the host")
    model: ModelBundle = fake_model(patch=PATCH[0], target_size_voxels=13.0)
    want = predict_volume(ArrayVolume(scan(), 0.01), model, FakeEngine(PATCH, threshold=2.0), CONFIG)
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", (8, 16, 16))
    for name, module in host_cupy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    there = import_module("gpu_process")
    seen = tmp_path / "seen"
    seen.mkdir()
    engine = SharedEngine(there.GpuEngine(PATCH), partial(there.reopened, PATCH, seen), ("cuda:1",))
    write_volume(tmp_path / "scan.zarr", scan(), 0.01)
    with open_volume(tmp_path / "scan.zarr") as volume:
        prediction = prepare(volume, model, engine, CONFIG)
        labels = LabelsInMemory(volume.shape)
        store = there.Store(tmp_path / "arrays", prediction.plan.shape, prediction.plan.shard)
        found = run_stages(prediction, RunStorage(store=store, labels=labels, rows=lambda most: RowsInMemory()))
        table, record = found.particles, found.record
        with pytest.raises(InputError, match="a run in memory uses one"):
            predict_volume(volume, model, engine, CONFIG)
    assert len(prediction.plan.sweeps) >= 2
    assert labels.array.tobytes() == want.labels.tobytes()
    assert len(table) == len(want.particles) > 2
    saw = {int(path.name): path.read_text() for path in seen.iterdir()}
    assert os.getpid() not in saw
    assert sorted(saw.values()) == ["0", "1"], "each process sees its own GPU, and opens its engine once"
    assert record.engine["more_devices"] == ("cuda:1",)


@pytest.mark.gpu
def test_all_gpus_of_this_machine_give_the_bytes_of_the_first(tmp_path: Path) -> None:
    try:
        count = len(find_gpus())
    except CapabilityError as error:
        pytest.skip(str(error))
    if count < 2:
        pytest.skip("one GPU only")
    write_volume(tmp_path / "scan.zarr", np.tile(scan(), (4, 2, 2)), 0.01)
    found = []
    for device in ("cuda:0", "cuda:all"):
        with open_engine(load_model(), device=device) as engine, open_volume(tmp_path / "scan.zarr") as volume:
            out = tmp_path / device.replace(":", "-")
            predict_to_folder((volume, load_model(), engine, CONFIG), out)
        with open_volume(out / "scan.ome.zarr") as labels:
            found.append(labels.read(ps3d_rt.core.grid.Box.of_shape(labels.shape)).tobytes())
    assert found[0] == found[1]
