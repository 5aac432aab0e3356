"""``ps3d-rt convert``, as a new user would: from any format to any other, and what it says to files that are wrong."""

import json

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
SPACING_MM = (0.03, 0.02, 0.01)
ENDINGS = ["ome.zarr", "tif", "nii", "nii.gz", "nrrd", "mha", "h5", "raw"]


@pytest.fixture
def labels(tmp_path):
    """Labels as predict writes them, with ids that 16 bits cannot hold."""
    path = tmp_path / "ore.ome.zarr"
    create_labels(path, "ore", IMAGE.shape, SPACING_MM)
    LabelsZarr(path).write(WHOLE, IMAGE.astype(np.uint32) + 70000)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_there_and_back_again(tmp_path, cli, ending):
    write_volume(tmp_path / "scan.tif", IMAGE, SPACING_MM)
    there, back = tmp_path / f"there.{ending}", tmp_path / "back.tif"
    code, out, err = cli("convert", tmp_path / "scan.tif", there)
    assert code == 0, err
    facts = {"out": str(there), "shape": list(IMAGE.shape), "dtype": "uint16", "spacing_mm": pytest.approx(SPACING_MM)}
    assert json.loads(out) == facts
    assert cli("convert", there, back)[0] == 0
    with open_volume(back) as volume:
        assert (volume.dtype, volume.spacing_mm) == (np.uint16, pytest.approx(SPACING_MM))
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


@pytest.mark.parametrize("inside", [".", "labels"])
def test_labels_come_out_as_files_of_other_tools(tmp_path, cli, labels, inside):
    expected = IMAGE.astype(np.uint32) + 70000
    for name in ("labels.tif", "labels.nii.gz", "labels.nrrd"):
        assert cli("convert", labels / inside, tmp_path / name)[0] == 0
    voxels = tifffile.imread(tmp_path / "labels.tif")
    nifti = nibabel.load(tmp_path / "labels.nii.gz")
    other, header = nrrd.read(str(tmp_path / "labels.nrrd"), index_order="C")
    for found in (voxels, np.moveaxis(np.asarray(nifti.dataobj), (0, 1, 2), (2, 1, 0)), other):
        assert found.dtype == np.uint32
        np.testing.assert_array_equal(found, expected)
    assert nifti.header.get_zooms() == pytest.approx((0.01, 0.02, 0.03))
    np.testing.assert_allclose(header["space directions"], np.diag([0.01, 0.02, 0.03]))


def test_a_raw_file_and_a_spacing_are_described_by_options(tmp_path, cli):
    IMAGE.tofile(tmp_path / "scan.raw")
    options = ["--shape", "20,33,50", "--dtype", "uint16", "--spacing", "0.03,0.02,0.01"]
    assert cli("convert", tmp_path / "scan.raw", tmp_path / "scan.mha", *options)[0] == 0
    with open_volume(tmp_path / "scan.mha") as volume:
        assert volume.spacing_mm == SPACING_MM
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


def test_an_npy_file_is_said_to_lose_the_spacing(tmp_path, cli):
    write_volume(tmp_path / "scan.tif", IMAGE, 0.01)
    code, _, err = cli("convert", tmp_path / "scan.tif", tmp_path / "scan.npy")
    assert (code, "an .npy file cannot hold the spacing" in err) == (0, True)


def test_nothing_is_replaced_unless_asked_for(tmp_path, cli):
    write_volume(tmp_path / "scan.tif", IMAGE)
    write_volume(tmp_path / "out.nrrd", IMAGE + 1)
    code, _, err = cli("convert", tmp_path / "scan.tif", tmp_path / "out.nrrd")
    assert (code, "exists and is not overwritten" in err) == (2, True)
    np.testing.assert_array_equal(open_volume(tmp_path / "out.nrrd").read(WHOLE), IMAGE + 1)
    assert cli("convert", tmp_path / "scan.tif", tmp_path / "out.nrrd", "--overwrite")[0] == 0
    np.testing.assert_array_equal(open_volume(tmp_path / "out.nrrd").read(WHOLE), IMAGE)


@pytest.mark.parametrize(("scan", "out"), [("ore.ome.zarr/labels", "ore.ome.zarr"), ("ore.ome.zarr", "ore.ome.zarr")])
def test_what_is_read_is_never_replaced(tmp_path, cli, labels, scan, out):
    code, _, err = cli("convert", tmp_path / scan, tmp_path / out, "--overwrite")
    assert (code, "is the volume that is read" in err) == (2, True)
    assert LabelsZarr(labels).read(WHOLE).min() == 70000


def test_progress_can_be_read_by_machines(tmp_path, cli):
    write_volume(tmp_path / "scan.tif", IMAGE)
    lines = cli("convert", tmp_path / "scan.tif", tmp_path / "scan.nii", "--log-json")[2].splitlines()
    events = [event for event in map(json.loads, lines) if event["stage"] == "convert"]
    assert [event["event"] for event in events] == ["StageStarted", "StageAdvanced", "StageDone"]
    assert events[1]["done"] == events[0]["total"] == IMAGE.size


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("harm", ["cut short", "another file"])
def test_a_wrong_file_is_named_and_nothing_is_written(tmp_path, cli, ending, harm):
    path = tmp_path / f"scan.{ending}"
    write_volume(path, IMAGE, SPACING_MM)
    broken = path if path.is_file() else path / "0" / "c" / "0" / "0" / "0"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if harm == "cut short" else b"This is a letter.\n" * 10)
    code, out, err = cli("convert", path, tmp_path / "out.tif")
    assert (code, out) == (2, "")
    assert path.name in err
    assert any(cure in err for cure in ("copy", "export it again", "check what it is"))
    assert "Traceback" not in err
    assert sorted(file.name for file in tmp_path.iterdir() if "json" not in file.suffix) == [path.name]


@pytest.mark.parametrize("ending", [*ENDINGS, "npy"])
def test_plan_asks_for_a_spacing_that_is_missing(tmp_path, cli, ending):
    write_volume(tmp_path / f"scan.{ending}", IMAGE)
    code, _, err = cli("plan", tmp_path / f"scan.{ending}", "--particle-size", "0.3")
    assert (code, "--spacing" in err) == (2, True)


def test_ome_zarr_is_read_by_the_library_of_its_makers(tmp_path, cli, labels):
    reader = pytest.importorskip("ome_zarr.reader", reason="the package ome-zarr is not installed")
    location = pytest.importorskip("ome_zarr.io")
    write_volume(tmp_path / "scan.tif", IMAGE, SPACING_MM)
    assert cli("convert", tmp_path / "scan.tif", tmp_path / "scan.ome.zarr")[0] == 0
    for path, expected in ((tmp_path / "scan.ome.zarr", IMAGE), (labels, IMAGE.astype(np.uint32) + 70000)):
        node = next(iter(reader.Reader(location.parse_url(str(path)))()))
        assert node.metadata["coordinateTransformations"][0][0] == {"type": "scale", "scale": list(SPACING_MM)}
        assert [axis["unit"] for axis in node.metadata["axes"]] == ["millimeter"] * 3
        np.testing.assert_array_equal(np.asarray(node.data[0]), expected)


@pytest.mark.filterwarnings("default")  # those of napari's own packages
def test_ome_zarr_is_opened_by_the_plugin_of_napari(tmp_path, labels):
    plugin = pytest.importorskip("napari_ome_zarr", reason="the package napari-ome-zarr is not installed")
    write_volume(tmp_path / "scan.ome.zarr", IMAGE, SPACING_MM)
    expected = {"image": IMAGE, "labels": IMAGE.astype(np.uint32) + 70000}
    for path, kind in ((tmp_path / "scan.ome.zarr", "image"), (labels, "labels")):
        layers = plugin.napari_get_reader(str(path))(str(path))
        (found,) = [layer for layer in layers if layer[2] == kind]
        voxels = found[0][0] if isinstance(found[0], list) else found[0]
        np.testing.assert_array_equal(np.asarray(voxels), expected[kind])
        assert tuple(found[1]["scale"]) == pytest.approx(SPACING_MM)
