from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

import ps3d_rt
from ps3d_rt.core.measure import measure
from ps3d_rt.errors import InputError
from ps3d_rt.io.table import read_table
from ps3d_rt.io.volume import ArrayVolume
from ps3d_rt.output import check_output, staged, write_result
from ps3d_rt.pipeline import Result


@pytest.fixture
def result() -> Result:
    labels = np.zeros((20, 30, 40), np.uint32)
    labels[2:8, 3:9, 4:10] = 1
    labels[10:18, 3:20, 4:10] = 2
    run = {"particles": 2, "scan": {"name": "ore", "shape": labels.shape, "spacing_mm": (0.01, 0.01, 0.02)}}
    return Result(labels, measure(labels, (0.01, 0.01, 0.02)), run)


def write(folder: Path, result: Result, *, overwrite: bool = False) -> None:
    volume = ArrayVolume(np.zeros(result.labels.shape, np.uint8), name="ore")
    with staged(folder, overwrite=overwrite) as scratch:
        write_result(scratch, volume, result)


def test_the_folder_holds_what_the_design_says(tmp_path: Path, result: Result) -> None:
    write(tmp_path / "deep" / "out", result)
    out = tmp_path / "deep" / "out"
    assert {p.name for p in out.iterdir()} == {
        "ore.ome.zarr",
        "particles.parquet",
        "particles.csv",
        "report.html",
        "run.json",
    }
    with ps3d_rt.open_volume(out / "ore.ome.zarr") as labels:
        assert labels.spacing_mm == (0.01, 0.01, 0.02)
    assert read_table(out / "particles.parquet").volume_voxels.tolist() == [216, 816]
    assert json.loads((out / "run.json").read_text())["particles"] == 2
    assert [p.name for p in tmp_path.joinpath("deep").iterdir()] == ["out"], "nothing temporary is left"


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with staged(tmp_path / "out", overwrite=False) as scratch:
            (scratch / "half").write_text("written")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_output(tmp_path: Path, result: Result) -> None:
    write(tmp_path / "out", result)
    with pytest.raises(RuntimeError), staged(tmp_path / "out", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out" / "run.json").exists()
    write(tmp_path / "out", result, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_existing_folders_are_not_touched_without_leave(tmp_path: Path, result: Result) -> None:
    write(tmp_path / "out", result)
    with pytest.raises(InputError, match="--overwrite"):
        check_output(tmp_path / "out", overwrite=False)
    (tmp_path / "thesis").mkdir()
    with pytest.raises(InputError, match="not an output of ps3d-rt"):
        check_output(tmp_path / "thesis", overwrite=True)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(InputError, match="cannot be written"), staged(tmp_path / "file" / "out", overwrite=False):
        pass
    assert stat.S_ISREG((tmp_path / "file").stat().st_mode)
