"""Saving a whole volume and reading it again."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.io import slabs, zarr_volume, zarr_writer
from ps3d_rt.io.base import Volume
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import save_volume, write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (70, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
NO_BOOL = (".nii", ".nii.gz", ".nrrd", ".mha")
NAMES = ["scan.zarr", "scan.ome.zarr", "scan.tif", "scan.TIFF", "scan.npy", "scan.h5", "scan.raw"]
NAMES += [f"scan{ending}" for ending in NO_BOOL]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spacing_mm", [None, 0.01, (0.03, 0.02, 0.01)])
@pytest.mark.parametrize("dtype", ["uint16", ">u2", "uint32", "float32", "bool"])
def test_what_is_written_reads_the_same(tmp_path, name, spacing_mm, dtype):
    image = IMAGE.astype(dtype)
    write_volume(tmp_path / "images" / name, image, spacing_mm)
    with open_volume(tmp_path / "images" / name) as volume:
        kept = None if spacing_mm is None or name.endswith(".npy") else pytest.approx(tuple(np.full(3, spacing_mm)))
        stored = np.uint8 if dtype == "bool" and name.endswith(NO_BOOL) else image.dtype.newbyteorder("=")
        assert (volume.dtype, volume.spacing_mm) == (stored, kept)
        np.testing.assert_array_equal(volume.read(WHOLE), image)
    assert {path.name for path in (tmp_path / "images").iterdir()} - {f"{name}.json"} == {name}


def test_zarr_with_a_spacing_is_an_ome_zarr_0_5_image(tmp_path):
    write_volume(tmp_path / "scan.zarr", IMAGE, (0.03, 0.02, 0.01))
    (multiscale,) = zarr.open_group(tmp_path / "scan.zarr", mode="r").attrs["ome"]["multiscales"]
    assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "millimeter"} for n in "zyx"]
    scale = {"type": "scale", "scale": [0.03, 0.02, 0.01]}
    assert multiscale["datasets"] == [{"path": "0", "coordinateTransformations": [scale]}]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_overwritten(tmp_path, name):
    write_volume(tmp_path / name, IMAGE)
    with pytest.raises(InputError, match="exists and is not overwritten"):
        write_volume(tmp_path / name, IMAGE + 1)
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(WHOLE), IMAGE)


@pytest.mark.parametrize(
    ("name", "image", "spacing_mm", "message"),
    [
        ("scan.png", IMAGE, None, r"use one of \.zarr, \.tif, \.tiff, \.nii"),
        ("scan.zarr", IMAGE[0], None, "2-D"),
        ("scan.npy", IMAGE.astype(object), None, "the allowed types are bool"),
        ("scan.zarr", IMAGE, 0, "above 0"),
        ("scan.tif", IMAGE.astype(np.uint64), 0.01, "a TIFF of uint64 cannot hold the spacing"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, name, image, spacing_mm, message):
    with pytest.raises(InputError, match=message):
        write_volume(tmp_path / name, image, spacing_mm)
    assert list(tmp_path.iterdir()) == []


class Watched(Volume):
    """Notes how large the boxes are that are read, and fails where it is told to."""

    def __init__(self, error=None):
        super().__init__(source="scan", name="scan", shape=IMAGE.shape, dtype=IMAGE.dtype, spacing_mm=0.01)
        self.sizes_bytes = []
        self.error = error

    def _read_into(self, out, box):
        self.sizes_bytes.append(out.nbytes)
        if self.error is not None and len(self.sizes_bytes) == 2:
            raise self.error
        out[...] = IMAGE[box.slices]


def small_slabs(monkeypatch, planes):
    monkeypatch.setattr(slabs, "_SLAB_BYTES", planes * IMAGE[0].nbytes)
    monkeypatch.setattr(zarr_volume, "create_array", partial(zarr_writer.create_array, shard=(16, 16, 64)))
    monkeypatch.setattr("ps3d_rt.io.hdf5._CHUNK", 16)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("planes", [1, 7, 16, 40])
def test_a_volume_is_copied_piece_by_piece(tmp_path, monkeypatch, name, planes):
    small_slabs(monkeypatch, planes)
    scan, slabs_done = Watched(), []
    save_volume(scan, tmp_path / name, on_progress=slabs_done.append)
    with open_volume(tmp_path / name) as volume:
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
    chunked = name.endswith((".zarr", ".h5"))  # whole shards or chunks are written, so that is the least
    assert max(scan.sizes_bytes) <= max(planes, 8 if chunked else 1) * IMAGE[0].nbytes
    assert sum(scan.sizes_bytes) == IMAGE.nbytes
    assert slabs_done == [size // IMAGE.itemsize for size in scan.sizes_bytes]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [InputError("broken"), OSError(28, "No space left on device")])
def test_a_copy_that_fails_leaves_what_was_there(tmp_path, monkeypatch, name, error):
    small_slabs(monkeypatch, 1)
    expected = InputError if isinstance(error, InputError) else InterruptedRun
    with pytest.raises(expected, match=r"broken|the disk is full; make room"):
        save_volume(Watched(error), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    write_volume(tmp_path / name, IMAGE + 1)
    there = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(expected):
        save_volume(Watched(error), tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    with open_volume(tmp_path / name) as volume:
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE + 1)
    save_volume(Watched(), tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    with open_volume(tmp_path / name) as volume:
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


@pytest.mark.parametrize("name", ["scan.zarr", "scan.tif"])
def test_only_its_own_kind_is_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a"):
        save_volume(Watched(), tmp_path / name, overwrite=True)
    assert (tmp_path / name / "notes.txt").read_text() == "mine"


def test_labels_become_a_small_tiff_that_others_read(tmp_path: Path) -> None:
    labels = np.zeros((20, 64, 64), np.uint32)
    labels[5:15, 10:50, 10:50] = 70_000
    write_volume(tmp_path / "labels.tif", labels, 0.01)
    write_volume(tmp_path / "scan.tif", labels.astype(np.uint16), 0.01)
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert np.array_equal(file.asarray(), labels)
    assert (tmp_path / "labels.tif").stat().st_size < labels.nbytes / 10
    with tifffile.TiffFile(tmp_path / "scan.tif") as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.NONE
    with open_volume(tmp_path / "labels.tif") as volume:
        assert np.array_equal(volume.read(Box.of_shape(volume.shape)), labels)
        assert volume.spacing_mm == pytest.approx((0.01, 0.01, 0.01))
