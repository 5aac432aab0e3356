"""Saving a whole volume and reading it again."""

import numpy as np
import pytest
import zarr

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.volume import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (70, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)


@pytest.mark.parametrize("name", ["scan.zarr", "scan.ome.zarr", "scan.tif", "scan.TIFF", "scan.npy"])
@pytest.mark.parametrize("spacing_mm", [None, 0.01, (0.03, 0.02, 0.01)])
@pytest.mark.parametrize("dtype", ["uint16", ">u2", "uint32", "float32", "bool"])
def test_what_is_written_reads_the_same(tmp_path, name, spacing_mm, dtype):
    image = IMAGE.astype(dtype)
    write_volume(tmp_path / "images" / name, image, spacing_mm)
    with open_volume(tmp_path / "images" / name) as volume:
        kept = None if spacing_mm is None or name.endswith(".npy") else pytest.approx(tuple(np.full(3, spacing_mm)))
        assert (volume.dtype, volume.spacing_mm) == (image.dtype.newbyteorder("="), kept)
        np.testing.assert_array_equal(volume.read(WHOLE), image)
    assert [path.name for path in (tmp_path / "images").iterdir()] == [name]


def test_zarr_with_a_spacing_is_an_ome_zarr_0_5_image(tmp_path):
    write_volume(tmp_path / "scan.zarr", IMAGE, (0.03, 0.02, 0.01))
    (multiscale,) = zarr.open_group(tmp_path / "scan.zarr", mode="r").attrs["ome"]["multiscales"]
    assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "millimeter"} for n in "zyx"]
    scale = {"type": "scale", "scale": [0.03, 0.02, 0.01]}
    assert multiscale["datasets"] == [{"path": "0", "coordinateTransformations": [scale]}]


@pytest.mark.parametrize("name", ["scan.zarr", "scan.tif", "scan.npy"])
def test_nothing_is_overwritten(tmp_path, name):
    write_volume(tmp_path / name, IMAGE)
    with pytest.raises(InputError, match="exists and is not overwritten"):
        write_volume(tmp_path / name, IMAGE + 1)
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(WHOLE), IMAGE)


@pytest.mark.parametrize(
    ("name", "image", "spacing_mm", "message"),
    [
        ("scan.png", IMAGE, None, r"use one of \.zarr, \.tif, \.tiff, \.npy"),
        ("scan.zarr", IMAGE[0], None, "2-D"),
        ("scan.npy", IMAGE.astype(object), None, "allowed are bool"),
        ("scan.zarr", IMAGE, 0, "above 0"),
        ("scan.tif", IMAGE.astype(np.uint64), 0.01, "a TIFF of uint64 cannot hold the spacing"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, name, image, spacing_mm, message):
    with pytest.raises(InputError, match=message):
        write_volume(tmp_path / name, image, spacing_mm)
    assert list(tmp_path.iterdir()) == []
