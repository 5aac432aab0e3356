"""The Python API takes a path, and writes a folder for scans that do not fit the memory."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.events import StageStarted
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.predict_options import PredictOptions

GIVEN: dict[str, Any] = {"particle_size": 0.12, "engine": "fake"}


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Nine bright balls, 0.12 mm across."""
    z, y, x = np.indices((24, 56, 56)).astype(float)
    distance = np.sqrt((z - 12) ** 2 + ((y - 1) % 18 - 9) ** 2 + ((x - 1) % 18 - 9) ** 2)
    write_volume(tmp_path / "ore.mha", np.where(distance < 6, 30000, 9000).astype(np.uint16), 0.01)
    return tmp_path / "ore.mha"


@pytest.mark.parametrize("kind", [str, Path])
def test_predict_takes_a_path(scan: Path, kind: type) -> None:
    found = ps3d_rt.predict(kind(scan), **GIVEN)
    assert len(found.particles) == 9
    assert found.run["scan"]["source"] == str(scan)
    with ps3d_rt.open_volume(scan) as volume:
        array = volume.read(Box.of_shape(volume.shape))
    assert np.array_equal(found.labels, ps3d_rt.predict(array, spacing=0.01, **GIVEN).labels)


def test_predict_to_folder_writes_the_labels_of_predict_and_what_the_command_prints_of(
    scan: Path, tmp_path: Path
) -> None:
    heard: list[Any] = []
    run = ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN, chunk=64, progress=heard.append)
    assert run["particles"] == 9
    assert json.loads(json.dumps(run)) == json.loads((tmp_path / "out" / "run.json").read_text())
    stages = [event.stage for event in heard if isinstance(event, StageStarted)]
    assert stages[:3] == ["opening", "engine", "gray scale"], "a large scan takes long to open"
    with ps3d_rt.open_volume(tmp_path / "out" / "ore.ome.zarr") as labels:
        assert np.array_equal(labels.read(Box.of_shape(labels.shape)), ps3d_rt.predict(scan, **GIVEN).labels)
    with pytest.raises(InputError, match="exists"):
        ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN)
    assert ps3d_rt.predict_to_folder(scan, str(tmp_path / "out"), **GIVEN, overwrite=True)["particles"] == 9


def test_a_raw_file_and_an_array_go_to_a_folder_too(scan: Path, tmp_path: Path) -> None:
    with ps3d_rt.open_volume(scan) as volume:
        array = volume.read(Box.of_shape(volume.shape))
    array.tofile(tmp_path / "a.raw")
    raw = {"shape": array.shape, "dtype": "uint16", "spacing": 0.01}
    assert ps3d_rt.predict_to_folder(tmp_path / "a.raw", tmp_path / "raw", **GIVEN, **raw)["particles"] == 9
    assert ps3d_rt.predict_to_folder(array, tmp_path / "array", **GIVEN, spacing=0.01)["particles"] == 9


def test_a_spacing_against_the_volumes_own_is_said_in_the_run(scan: Path) -> None:
    with ps3d_rt.open_volume(scan) as volume:
        run = ps3d_rt.predict(volume, spacing=0.011, **GIVEN).run
    assert run["scan"]["spacing_mm"] == (0.011, 0.011, 0.011)
    assert [text for text in run["warnings"] if "0.011 mm a voxel" in text and "ore.mha 0.01:" in text]
    assert [text for text in ps3d_rt.predict(scan, spacing=0.011, **GIVEN).run["warnings"] if "--spacing says" in text]


def test_a_path_that_is_not_there_and_a_wrong_word_are_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        ps3d_rt.predict(tmp_path / "none.tif", **GIVEN)
    with pytest.raises(TypeError, match="wrokers"):
        ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN, wrokers=2)
    assert not (tmp_path / "out").exists()


def test_the_options_are_in_the_signature_and_processes_do_not_share_memory(scan: Path) -> None:
    for function in (ps3d_rt.predict, ps3d_rt.predict_to_folder):
        shown = signature(function).parameters
        assert set(PredictOptions.__dataclass_fields__) < set(shown)
        assert (shown["particle_size"].default, shown["chunk"].default) == ("auto", 256)
    with pytest.raises(InputError, match=r"workers is 2.*predict_to_folder"):
        ps3d_rt.predict(scan, **GIVEN, workers=2)
