"""``ps3d-rt predict`` as a user meets it: files in, folder out, and every wrong input."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import ps3d_rt
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.io.volume_writer import write_volume

SIZE = ("--particle-size", "0.12")
FAKE = ("--engine", "fake")


@pytest.fixture(scope="session")
def scan() -> Array:
    """Nine bright balls in a row of three by three, uint16."""
    z, y, x = np.indices((24, 56, 56)).astype(float)
    distance = np.sqrt((z - 12) ** 2 + ((y - 1) % 18 - 9) ** 2 + ((x - 1) % 18 - 9) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, distance.shape)
    return (np.where(distance < 6, 30000, 9000) + noise).astype(np.uint16)


def write_slices(path: Path, scan: Array) -> None:
    path.mkdir()
    for z, plane in enumerate(scan):
        tifffile.imwrite(path / f"slice_{z}.tif", plane)


def test_a_tiff_becomes_an_output_folder(cli: Any, scan: Array, tmp_path: Path) -> None:
    write_volume(tmp_path / "ore.tif", scan)
    code, out, err = cli("predict", tmp_path / "ore.tif", tmp_path / "out", "--spacing", "0.01", *SIZE, *FAKE)
    assert code == 0
    printed = json.loads(out)
    folder = (tmp_path / "out").as_posix()
    assert (
        printed.items() >= {"particles": 9, "dropped": 0, "output": folder, "report": f"{folder}/report.html"}.items()
    )
    assert 0.1 < printed["d50_by_volume_mm"] < 0.14
    assert len(printed["d50_by_volume_interval_mm"]) == 2
    assert "9 particles" in err
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["engine"]["name"], run["engine"]["precision"], run["model"]["name"]) == ("fake", "fp32", "default")
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"ore.ome.zarr", "particles.csv", "report.html"}


def test_every_format_gives_the_same_labels(cli: Any, scan: Array, tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", scan)
    write_volume(tmp_path / "b.npy", scan)
    write_volume(tmp_path / "c.zarr", scan)
    write_volume(tmp_path / "d.ome.zarr", scan, 0.01)
    write_slices(tmp_path / "e", scan)
    scan.tofile(tmp_path / "f.raw")
    raw = ("--shape", "24,56,56", "--dtype", "uint16")
    expected = ps3d_rt.predict(scan, spacing=0.01, particle_size=0.12, engine="fake").labels
    for name in ("a.tif", "b.npy", "c.zarr", "d.ome.zarr", "e", "f.raw"):
        spacing = () if name == "d.ome.zarr" else ("--spacing", "0.01")
        out = tmp_path / f"out-{name}"
        code, _, err = cli("predict", tmp_path / name, out, *spacing, *SIZE, *FAKE, *(raw if name == "f.raw" else ()))
        assert code == 0, err
        with ps3d_rt.open_volume(next(out.glob("*.ome.zarr"))) as labels:
            assert np.array_equal(labels.read(Box.of_shape(labels.shape)), expected), name


def test_mirror_images_are_averaged_where_asked_for(cli: Any, scan: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", scan)
    axes = {}
    for given in ((), ("--mirror",), ("--no-mirror",)):
        code, _, err = cli(
            "predict", tmp_path / "a.npy", tmp_path / "out", "--overwrite", "--spacing", "0.01", *SIZE, *FAKE, *given
        )
        assert code == 0, err
        axes[given] = json.loads((tmp_path / "out" / "run.json").read_text())["engine"]["mirror_axes"]
    assert axes == {(): [], ("--mirror",): [0, 1, 2], ("--no-mirror",): []}
    in_python = ps3d_rt.predict(scan, spacing=0.01, particle_size=0.12, engine="fake", mirror=True)
    assert list(in_python.run["engine"]["mirror_axes"]) == [0, 1, 2]


def test_progress_as_json_lines(cli: Any, scan: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", scan)
    arguments = ("--spacing", "0.01", *SIZE, *FAKE, "--log-json")
    _, _, err = cli("predict", tmp_path / "a.npy", tmp_path / "out", *arguments)
    events = [json.loads(line) for line in err.splitlines()]
    times = [datetime.fromisoformat(event.pop("time")) for event in events]
    assert times == sorted(times)
    assert [event["event"] for event in events].count("RunStarted") == 1
    assert events[-1] == {
        "event": "RunDone",
        "particles": 9,
        "seconds": events[-1]["seconds"],
        "dropped": 0,
        "dropped_volume_share": 0.0,
    }


def _missing(folder: Path, scan: Array) -> list[object]:
    return [folder / "missing.tif"]


def _empty_folder(folder: Path, scan: Array) -> list[object]:
    (folder / "empty").mkdir()
    return [folder / "empty"]


def _flat(folder: Path, scan: Array) -> list[object]:
    tifffile.imwrite(folder / "flat.tif", scan[0])
    return [folder / "flat.tif"]


def _uneven_slices(folder: Path, scan: Array) -> list[object]:
    write_slices(folder / "slices", scan)
    tifffile.imwrite(folder / "slices" / "slice_7.tif", scan[7, :30])
    return [folder / "slices"]


def _truncated(folder: Path, scan: Array) -> list[object]:
    tifffile.imwrite(folder / "cut.tif", scan)
    whole = (folder / "cut.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    return [folder / "cut.tif"]


def _nan(folder: Path, scan: Array) -> list[object]:
    holed = scan.astype(np.float32)
    holed[11, 5, 5] = np.nan
    np.save(folder / "nan.npy", holed)
    return [folder / "nan.npy"]


def _constant(folder: Path, scan: Array) -> list[object]:
    np.save(folder / "even.npy", np.full_like(scan, 7))
    return [folder / "even.npy"]


def _good(folder: Path, scan: Array) -> list[object]:
    np.save(folder / "scan.npy", scan)
    return [folder / "scan.npy"]


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (_missing, {}, "no such file"),
        (_empty_folder, {}, "empty"),
        (_flat, {}, "2-D"),
        (_uneven_slices, {}, "slice_7.tif"),
        (_truncated, {}, "cut.tif"),
        (_nan, {}, "NaN"),
        (_constant, {}, "one gray value"),
        (_good, {"--spacing": "0"}, "above 0"),
        (_good, {"--spacing": None}, "--spacing"),
        (_good, {"--spacing": "fine"}, "--spacing"),
        (_good, {"--particle-size": "3"}, "longest side"),
        (_good, {"--engine": "magic"}, "openvino"),
        (_good, {"--model": "missing.ps3d"}, "missing.ps3d"),
        (_good, {"--overlap": "1.5"}, "overlap"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2_and_nothing_is_written(
    cli: Any, scan: Array, tmp_path: Path, make: Any, options: dict[str, str | None], words: str
) -> None:
    arguments = make(tmp_path, scan)
    given = {"--spacing": "0.01", "--particle-size": "0.12", "--engine": "fake"} | options
    flags = [part for name, value in given.items() if value is not None for part in (name, value)]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli("predict", *arguments, tmp_path / "out", *flags)
    assert code == 2, err
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert len(err) < 600
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_output_is_kept(cli: Any, scan: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", scan)
    arguments = ("predict", tmp_path / "scan.npy", tmp_path / "out", "--spacing", "0.01", *SIZE, *FAKE)
    assert cli(*arguments)[0] == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    code, _, err = cli(*arguments)
    assert (code, "--overwrite" in err) == (2, True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before
    assert cli(*arguments, "--overwrite")[0] == 0


def test_what_is_not_there_is_exit_code_3(cli: Any, scan: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", scan)
    arguments = ("predict", tmp_path / "scan.npy", tmp_path / "out", "--spacing", "0.01", *SIZE)
    code, _, err = cli(*arguments, "--device", "cuda:0")
    assert (code, "device cuda:0 is not there" in err) == (3, True)


def test_an_interrupted_run_is_exit_code_4_and_the_same_command_goes_on(
    cli: Any, scan: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    np.save(tmp_path / "scan.npy", scan)
    arguments = ("predict", tmp_path / "scan.npy", tmp_path / "out", "--spacing", "0.01", *SIZE, *FAKE)
    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.stages.particles.to_particles", interrupt)
        code, _, err = cli(*arguments)
    assert (code, "nterrupt" in err) == (4, True)
    assert not (tmp_path / "out").exists()
    code, _, err = cli(*arguments)
    assert (code, "going on where" in err) == (0, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "scan.npy"]
