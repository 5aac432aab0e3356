"""The output folder: whole or not there, the same bytes after any interruption."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
import ps3d_rt.plan
from fake_engine import FakeEngine
from ps3d_rt import api
from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun
from ps3d_rt.events import RunResumed
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.hashed import place_of
from ps3d_rt.io.selected import select
from ps3d_rt.io.table import read_table
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.io.zarr_store import ZarrStore
from ps3d_rt.journal import Journal
from ps3d_rt.output import check_output, predict_to_folder
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.run_folder import run_folder, work_of

PATCH = (16, 16, 16)
CONFIG = PredictConfig(spacing_mm=(0.01, 0.01, 0.02), particle_size_mm=0.12, overlap=0.5, chunk=16)


@pytest.fixture(scope="module")
def model(fake_model: Any) -> Any:
    return fake_model(patch=PATCH[0])


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several slabs, chunks and boxes in a volume that takes no time."""
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", (16, 16, 32))


@pytest.fixture(scope="module")
def volume() -> ArrayVolume:
    """Bright balls in a grid, 12 voxels across."""
    z, y, x = np.indices((40, 36, 20)).astype(float)
    distance = np.sqrt((z % 18 - 9) ** 2 + (y % 18 - 9) ** 2 + ((2 * x) % 20 - 10) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, distance.shape)
    return ArrayVolume((np.where(distance < 6, 30000, 9000) + noise).astype(np.uint16), name="ore")


@pytest.fixture
def predict(model: Any) -> Any:
    def call(volume: ArrayVolume, folder: Path, **options: Any) -> dict[str, Any]:
        return predict_to_folder((volume, model, FakeEngine(PATCH, threshold=1.0), CONFIG), folder, **options)

    return call


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its name, but for those with seconds in them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in files if p.name not in {"run.json", "report.html"}
    }


def test_the_folder_holds_what_the_design_says_and_the_labels_of_the_python_api(
    tmp_path: Path, volume: ArrayVolume, model: Any, predict: Any
) -> None:
    run = predict(volume, tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    assert {p.name for p in out.iterdir()} == {
        "dropped.parquet",
        "ore.ome.zarr",
        "particles.parquet",
        "particles.csv",
        "preview.jpg",
        "particles_short.csv",
        "psd.csv",
        "report.html",
        "run.json",
    }
    want = predict_volume(volume, model, FakeEngine(PATCH, threshold=1.0), CONFIG)
    assert len(want.particles) > 3
    with ps3d_rt.open_volume(out / "ore.ome.zarr") as labels:
        assert labels.spacing_mm == (0.01, 0.01, 0.02)
        assert np.array_equal(labels.read(ps3d_rt.core.grid.Box.of_shape(labels.shape)), want.labels)
    assert read_table(out).volume_voxels.tolist() == want.particles.volume_voxels.tolist()
    assert json.loads((out / "run.json").read_text()) == json.loads(json.dumps(run))
    assert run["particles"] == len(want.particles)
    assert [p.name for p in tmp_path.joinpath("deep").iterdir()] == ["out"], "nothing temporary is left"


class Stop:
    """Lets so many calls through, then raises once."""

    def __init__(self, calls: int, error: BaseException) -> None:
        self.left, self.error = calls, error

    def before(self, function: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise self.error
            return function(*args, **options)

        return wrapped


@pytest.mark.parametrize("step", ["store", "journal", "labels"])
def test_a_run_stopped_anywhere_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, step: str, predict: Any
) -> None:
    predict(volume, tmp_path / "want")
    where, name = {
        "store": (ZarrStore, "write"),
        "journal": (Journal, "record"),
        "labels": (ps3d_rt.output.LabelsZarr, "write"),
    }[step]
    stops = 0
    for calls in (0, 1, 3, 6, 11, 19):
        out, heard = tmp_path / f"out-{calls}", []
        with monkeypatch.context() as patched:
            patched.setattr(where, name, Stop(calls, KeyboardInterrupt()).before(getattr(where, name)))
            with suppress(KeyboardInterrupt):
                predict(volume, out)
        if not out.exists():
            begun = (tmp_path / f".out-{calls}.run").exists()
            stops += begun
            assert begun or calls < 6, "only a run that had done nothing starts afresh"
            assert predict(volume, out, on_event=heard.append)["resumed"] == begun
            assert any(isinstance(event, RunResumed) for event in heard) == begun
        assert content(out) == content(tmp_path / "want")
        assert not list(tmp_path.glob(".out*")), "the work of the run is gone"
    assert stops > 0


def test_a_run_goes_on_with_the_budget_that_it_began_with_unless_another_is_asked_for(
    tmp_path: Path, volume: ArrayVolume, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(PATCH, threshold=1.0)

    def run(budget: int, *, by_default: bool) -> dict[str, Any]:
        config = replace(CONFIG, memory_bytes=budget, memory_by_default=by_default)
        return predict_to_folder((volume, model, engine, config), tmp_path / "out", overwrite=True)

    for by_default, budget in ((True, 2**32), (False, 2**33)):
        with monkeypatch.context() as patched:
            patched.setattr("ps3d_rt.output.draw_report", Stop(0, KeyboardInterrupt()).before(None))
            with pytest.raises(KeyboardInterrupt):
                run(2**32, by_default=True)
        assert run(2**33, by_default=by_default)["parameters"]["memory_bytes"] == budget


def test_a_resumed_run_does_not_do_again_what_is_done(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    class Counting(FakeEngine.__mro__[1]):  # the abstract engine: a final class takes no subclass
        def __init__(self) -> None:
            self.inner, self.patches = FakeEngine(PATCH, threshold=1.0), 0
            self.spec = self.inner.spec

        def _infer(self, patches: Any) -> Any:
            self.patches += len(patches)
            return self.inner.infer(patches)

    engine = Counting()
    run = partial(predict_to_folder, (volume, model, engine, CONFIG), tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.stages.particles.to_particles", Stop(0, KeyboardInterrupt()).before(None))
        with pytest.raises(KeyboardInterrupt) as stop:
            run()
    assert "start the same command again" in stop.value.__notes__[0]
    first = engine.patches
    facts = run()
    assert first > 0
    assert engine.patches == first, "the network stage was complete"
    assert facts["patches"]["computed"] == first


def test_another_spec_starts_afresh(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.stages.particles.to_particles", Stop(0, KeyboardInterrupt()).before(None))
        with pytest.raises(KeyboardInterrupt):
            predict(volume, tmp_path / "out")
    other = ArrayVolume(volume.read(ps3d_rt.core.grid.Box.of_shape(volume.shape))[::-1] // 2, name="ore")
    assert not predict(other, tmp_path / "out")["resumed"]
    predict(other, tmp_path / "want")
    assert content(tmp_path / "out") == content(tmp_path / "want")


def test_a_scan_of_the_same_gray_scale_is_another_run(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.stages.particles.to_particles", Stop(0, KeyboardInterrupt()).before(None))
        with pytest.raises(KeyboardInterrupt):
            predict(volume, tmp_path / "out")
    turned = ArrayVolume(volume.read(ps3d_rt.core.grid.Box.of_shape(volume.shape))[::-1], name="ore")
    assert not predict(turned, tmp_path / "out")["resumed"]


def test_a_run_goes_on_with_the_same_file_only(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    voxels = volume.read(ps3d_rt.core.grid.Box.of_shape(volume.shape))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "ore.npy", voxels)

    def begun(path: Path | str, out: str) -> dict[str, Any]:
        with monkeypatch.context() as patched, ps3d_rt.open_volume(path) as scan:
            patched.setattr("ps3d_rt.stages.particles.to_particles", Stop(0, KeyboardInterrupt()).before(None))
            with pytest.raises(KeyboardInterrupt):
                predict(scan, tmp_path / out)
        return json.loads((tmp_path / f".{out}.run" / "identity.json").read_text())["ps3d-rt run"]["scan"]

    monkeypatch.chdir(tmp_path / "a")
    specs = [begun("ore.npy", "1"), begun(tmp_path / "a" / "ore.npy", "2"), begun(tmp_path / "b" / "ore.npy", "3")]
    assert specs[0] == specs[1], "the path is absolute"
    assert specs[0]["path"] == str(tmp_path / "a" / "ore.npy")
    assert specs[0]["bytes"] == (tmp_path / "a" / "ore.npy").stat().st_size
    assert specs[0]["voxels"] == specs[2]["voxels"]
    assert specs[0]["path"] != specs[2]["path"]
    os.utime(tmp_path / "a" / "ore.npy", ns=(0, 0))
    assert begun("ore.npy", "4") == specs[0] | {"modified_ns": 0}
    voxels[volume.shape[0] // 2, 4, 4] += 1
    np.save(tmp_path / "a" / "ore.npy", voxels)
    assert begun("ore.npy", "5")["voxels"] != specs[0]["voxels"]


def test_a_run_goes_on_with_the_same_mask_only(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    def begun(mask: np.ndarray, out: str) -> dict[str, Any]:
        np.save(tmp_path / "mask.npy", mask)
        os.utime(tmp_path / "mask.npy", ns=(0, 0))
        with monkeypatch.context() as patched, ps3d_rt.open_volume(tmp_path / "mask.npy") as where:
            patched.setattr("ps3d_rt.stages.particles.to_particles", Stop(0, KeyboardInterrupt()).before(None))
            with pytest.raises(KeyboardInterrupt):
                predict(select(volume, None, where), tmp_path / out)
        return json.loads((tmp_path / f".{out}.run" / "identity.json").read_text())["ps3d-rt run"]["scan"]

    mask = np.ones(volume.shape, np.uint8)
    first, again = begun(mask, "1"), begun(mask, "2")
    assert first == again
    assert first["mask"]["path"] == str(tmp_path / "mask.npy")
    mask[volume.shape[0] // 2, 4, 4] = 0
    assert begun(mask, "3")["voxels"] != first["voxels"]


def test_a_folder_is_another_one_when_a_file_in_it_has_changed(tmp_path: Path) -> None:
    write_volume(tmp_path / "scan.zarr", np.zeros((4, 5, 6), np.uint8))
    with ps3d_rt.open_volume(tmp_path / "scan.zarr") as scan:
        before = place_of(scan)
        chunk = next(path for path in (tmp_path / "scan.zarr").rglob("*") if path.is_file())
        chunk.write_bytes(chunk.read_bytes() + b" ")
        after = place_of(scan)
    assert after["bytes"] == before["bytes"] + 1
    assert after["modified_ns"] > before["modified_ns"]
    assert place_of(ArrayVolume(np.zeros((4, 5, 6), np.uint8))) == {"path": None}


def test_killed_between_the_two_names_of_the_output_it_is_made_again(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *args, **options: None)
    predict(volume, tmp_path / "out")
    monkeypatch.undo()
    assert (tmp_path / ".out.run").exists(), "as after a kill"
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", (16, 16, 32))
    want = content(tmp_path / "out")
    predict(volume, tmp_path / "out", overwrite=True)
    assert content(tmp_path / "out") == want
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


class Killed(BaseException):
    """Nothing in the house catches this, as nothing catches SIGKILL."""


@pytest.mark.parametrize("another_run", [False, True], ids=["same command", "another scan"])
def test_killed_between_the_two_renames_of_a_replacement_the_new_output_is_brought_back(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any, another_run: bool
) -> None:
    out = tmp_path / "out"
    predict(ArrayVolume(volume.read(ps3d_rt.core.grid.Box.of_shape(volume.shape))[::-1], name="old"), out)
    renames = Stop(0, Killed()).before(Path.rename)
    put_back = Path.rename

    def killed(path: Path, target: Path) -> Any:
        if path.name == "replaced":
            raise Killed  # a dead process puts nothing back
        return renames(path, target) if path.name == "output" else put_back(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            predict(volume, out, overwrite=True)
    assert not out.exists()
    with pytest.raises(InputError, match="exists"):  # it is back, so it is not overwritten
        check_output(out, overwrite=False)
    assert (out / "ore.ome.zarr").exists(), "the new one"
    scan = ArrayVolume(volume.read(ps3d_rt.core.grid.Box.of_shape(volume.shape))[:, ::-1], name="third")
    run = predict(scan if another_run else volume, out, overwrite=True)
    assert (out / ("third" if another_run else "ore")).with_suffix(".ome.zarr").exists()
    assert run["resumed"] is False
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_output_that_another_program_has_open_stays_and_the_run_is_kept(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    out = tmp_path / "out"
    predict(volume, out)
    old, rename = content(out), Path.rename

    def refused(path: Path, target: Path) -> Any:
        if path == out:
            held = PermissionError(errno.EACCES, "used by another process", str(path))
            held.winerror = 32  # as on Windows
            raise held
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refused)
        with pytest.raises(InterruptedRun, match="another program has it open; close it there") as caught:
            predict(volume, out, overwrite=True)
    assert "room" not in str(caught.value)
    assert content(out) == old
    assert predict(volume, out, overwrite=True)["resumed"]


@pytest.mark.parametrize("step", ["store", "journal", "labels"])
def test_a_full_disk_is_a_clear_error_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, step: str, predict: Any
) -> None:
    where, name = {
        "store": (ZarrStore, "write"),
        "journal": (Path, "write_bytes"),
        "labels": (ps3d_rt.output.LabelsZarr, "write"),
    }[step]
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(where, name, Stop(0, full).before(getattr(where, name)))
        with pytest.raises(InterruptedRun, match=r"the disk is full; make room, .* – No space left"):
            predict(volume, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert predict(volume, tmp_path / "out")["resumed"]


def test_a_scan_that_cannot_be_used_leaves_nothing(tmp_path: Path, predict: Any) -> None:
    image = np.random.default_rng(0).normal(0, 1, (40, 36, 36)).astype(np.float32)
    image[3, 3, 3] = np.nan
    image[0] = 0
    with pytest.raises(InputError, match="NaN"):
        predict(ArrayVolume(image), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_output(
    tmp_path: Path, volume: ArrayVolume, monkeypatch: pytest.MonkeyPatch, predict: Any
) -> None:
    predict(volume, tmp_path / "out")
    old = content(tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.output.draw_report", Stop(0, KeyboardInterrupt()).before(None))
        with pytest.raises(KeyboardInterrupt):
            predict(volume, tmp_path / "out", overwrite=True)
    assert content(tmp_path / "out") == old
    predict(volume, tmp_path / "out", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_existing_folders_are_not_touched_without_leave(tmp_path: Path, volume: ArrayVolume, predict: Any) -> None:
    predict(volume, tmp_path / "out")
    with pytest.raises(InputError, match="--overwrite"):
        check_output(tmp_path / "out", overwrite=False)
    (tmp_path / "thesis").mkdir()
    with pytest.raises(InputError, match="not an output of ps3d-rt"):
        check_output(tmp_path / "thesis", overwrite=True)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, volume: ArrayVolume, predict: Any) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        predict(volume, tmp_path / "file" / "out")


def test_a_run_goes_on_in_the_precision_that_it_began_with(
    tmp_path: Path, volume: ArrayVolume, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = replace(FakeEngine(model.patch).spec, choice="bf16", reason="fast here")
    asked: list[str] = []

    def opened(bundle: Any, *, precision: str, **_: Any) -> Any:
        asked.append(precision)
        if precision == "int8":
            raise CapabilityError("no int8 here")
        engine = FakeEngine(model.patch)
        engine.spec = replace(begun, choice="bf16" if precision == "auto" else precision)
        return engine

    monkeypatch.setattr(api, "open_engine", opened)

    def reasons(options: PredictOptions, out: str) -> list[str]:
        asked.clear()
        with api.prepared(volume, options, tmp_path / out) as (_, _, engine, _):
            return [*asked, engine.spec.reason]

    options = PredictOptions(particle_size=0.12, spacing=0.01, model=model)
    assert reasons(options, "out") == ["auto", "fast here"]
    for choice, expected in [
        ("bf16", ["bf16", "as before the run was stopped"]),
        ("int8", ["int8", "auto", "fast here"]),  # this CPU is another one
        ("", ["auto", "fast here"]),  # of a GPU, which has no choice
    ]:
        identity = {"engine": {"choice": choice}, "model": {"sha256": model.hash}}
        with run_folder(tmp_path / "out", identity) as journal:
            assert reasons(options, "out") == expected
            assert reasons(options, "another") == ["auto", "fast here"]
            assert reasons(replace(options, precision="fp32"), "out") == ["fp32", "fast here"]
            assert journal.folder == work_of(tmp_path / "out")
    with run_folder(tmp_path / "out", {"engine": {"choice": "bf16"}, "model": {"sha256": "of another model"}}):
        assert reasons(options, "out") == ["auto", "fast here"]
