"""One option for the spacing, one parser, and a line where two sources of it contradict each other."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from ps3d_rt.io.spacing import StatedSpacing, contradiction, spacing_that_counts, stated_spacing
from ps3d_rt.io.table import read_table
from ps3d_rt.io.volume_writer import write_volume

LABELS = np.zeros((20, 24, 28), np.uint16)
LABELS[4:14, 4:14, 4:14] = 1
LABELS[5:15, 15:22, 16:26] = 2
IMAGE = np.random.default_rng(0).integers(0, 1000, LABELS.shape).astype(np.uint16) + np.uint16(900) * (LABELS > 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_volume(tmp_path / "labels.tif", LABELS, 0.01)
    write_volume(tmp_path / "other.nrrd", LABELS, (0.02, 0.01, 0.01))
    write_volume(tmp_path / "image.mha", IMAGE, 0.02)
    write_volume(tmp_path / "rounded.nii", IMAGE, 0.010001)
    np.save(tmp_path / "plain.npy", LABELS)
    return tmp_path


def test_measure_takes_a_spacing_for_each_axis(cli: Any, folder: Path) -> None:
    code, _, err = cli("measure", folder / "plain.npy", folder / "out", "--spacing", "0.02,0.01,0.03")
    assert (code, "warning" in err) == (0, False)
    assert read_table(folder / "out").volume_mm3.tolist() == pytest.approx([1000 * 6e-6, 700 * 6e-6])


@pytest.mark.parametrize("text", ["1,2", "a", "1,,2", "0", "-1", "nan", "1 2 3"])
@pytest.mark.parametrize("command", ["measure", "convert", "synth"])
def test_a_spacing_that_is_none_is_refused_alike(cli: Any, folder: Path, command: str, text: str) -> None:
    arguments: tuple[object, ...] = (folder / "plain.npy", folder / "new.tif")
    if command == "synth":
        arguments = (folder / "samples", "--labels", folder / "plain.npy")
    code, _, err = cli(command, *arguments, "--spacing", text)
    assert code == 2
    assert "spacing" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("text", ["1.5", "0", "2,2", "x", "inf"])
def test_a_shape_is_of_whole_numbers(cli: Any, folder: Path, text: str) -> None:
    LABELS.tofile(folder / "a.raw")
    code, _, err = cli("convert", folder / "a.raw", folder / "b.npy", "--shape", text, "--dtype", "uint16")
    assert (code, "--shape is" in err) == (2, True)


def test_labels_whose_voxels_are_no_cubes_are_brought_to_cubes(folder: Path) -> None:
    from ps3d_training.synth.from_labels import open_labels  # noqa: PLC0415

    flat = open_labels(folder / "plain.npy", spacing_mm=(0.02, 0.01, 0.01))
    assert flat.labels.shape == (40, 24, 28)
    assert flat.spacing_mm == 0.01
    assert np.array_equal(flat.labels, np.repeat(LABELS, 2, axis=0))
    assert np.array_equal(open_labels(folder / "plain.npy", spacing_mm=0.01).labels, LABELS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("measure", "labels.tif", "out", "--image", "image.mha"), ("labels.tif says 0.01 mm", "image.mha 0.02")),
        (("measure", "labels.tif", "out", "--spacing", "0.02"), ("--spacing says 0.02 mm", "labels.tif 0.01")),
        (("evaluate", "labels.tif", "other.nrrd"), ("labels.tif says 0.01 mm", "other.nrrd 0.02,0.01,0.01")),
        (("convert", "other.nrrd", "new.npy", "--spacing", "0.01"), ("--spacing says 0.01", "other.nrrd 0.02,0.01,")),
        (("measure", "labels.tif", "out", "--image", "rounded.nii"), None),
        (("measure", "labels.tif", "out", "--spacing", "0.01"), None),
        (("measure", "plain.npy", "out", "--image", "image.mha"), None),
        (("evaluate", "labels.tif", "plain.npy"), None),
    ],
)
def test_sources_that_contradict_each_other_are_one_line(
    cli: Any, folder: Path, arguments: tuple[str, ...], words: tuple[str, str] | None
) -> None:
    paths = [
        folder / word if ("." in word and not word.startswith("0")) or word == "out" else word for word in arguments
    ]
    code, _, err = cli(*paths)
    assert code == 0, err
    said = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(said) == (words is not None), err
    for word in words or ():
        assert word in said[0]


def test_what_predict_was_told_and_what_the_file_says_is_in_the_run(folder: Path) -> None:
    with ps3d_rt.open_volume(folder / "image.mha", spacing=0.01) as scan:
        assert scan.spacing_mm == (0.01, 0.01, 0.01)
        (said,) = scan.warnings
    assert "--spacing says 0.01 mm a voxel" in said
    assert json.dumps(said)


@pytest.mark.parametrize(
    ("name", "reader", "step"),
    [
        ("scan.nii.gz", "ps3d_rt.io.nifti", "unpack_voxels"),
        ("scan.nrrd", "ps3d_rt.io.nrrd", "read_header"),
        ("scan.mha", "ps3d_rt.io.metaimage", "_tags"),
        ("scan.ome.zarr", "ps3d_rt.io.zarr_volume", "ZarrVolume"),
        ("scan.h5", "ps3d_rt.io.hdf5", "Hdf5Volume"),
        ("scan.tif", "ps3d_rt.io.tiff", "check_whole"),
    ],
)
def test_a_file_is_opened_once_though_its_spacing_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: str, step: str
) -> None:
    write_volume(tmp_path / name, LABELS, 0.02)
    steps = []
    real = getattr(import_module(reader), step)
    monkeypatch.setattr(f"{reader}.{step}", lambda *given, **named: steps.append(1) or real(*given, **named))
    with ps3d_rt.open_volume(tmp_path / name, spacing=0.01) as volume:
        assert volume.spacing_mm == (0.01, 0.01, 0.01)
        assert ["--spacing says 0.01 mm a voxel" in text for text in volume.warnings] == [True]
    assert len(steps) == 1


def test_ones_count_for_nothing_as_soon_as_one_axis_has_no_unit() -> None:
    found = stated_spacing([1, 1, 1], [None, "mm", "mm"], "a.tif", usual_unit="mm")
    assert found.spacing_mm is None
    assert [remark.startswith("a.tif: gives 1, 1, 1 as the voxel size and no unit") for remark in found.remarks] == [
        True
    ]


@pytest.mark.parametrize(("other", "differs"), [(0.01004, False), (0.00996, False), (0.0101, True), (0.0099, True)])
def test_spacings_agree_within_half_a_percent(other: float, differs: bool) -> None:
    found = contradiction((0.01,) * 3, "--spacing", (0.01, 0.01, other), "a.tif")
    assert (found is not None) is differs


@pytest.mark.parametrize("error", [ValueError("odd"), OSError("cut"), ZeroDivisionError(), KeyError("PixelSpacing")])
def test_a_broken_statement_of_the_file_does_not_stop_who_gives_the_spacing(error: Exception) -> None:
    def read() -> StatedSpacing:
        raise error

    assert spacing_that_counts((0.03, 0.02, 0.01), read, "a.tif") == StatedSpacing((0.03, 0.02, 0.01))
    with pytest.raises(type(error)):
        spacing_that_counts(None, read, "a.tif")
