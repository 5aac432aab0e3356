"""The contract of every volume, and what ``open_volume`` does before a format is involved."""

from pathlib import Path

import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.volume import ArrayVolume, check_spacing, open_volume, stem_of

IMAGE = np.random.default_rng(0).integers(0, 60000, (7, 11, 13), dtype=np.uint16)


@pytest.mark.parametrize(
    "box", [Box((0, 0, 0), (7, 11, 13)), Box((2, 3, 4), (3, 9, 13)), Box((6, 10, 12), (7, 11, 13))]
)
def test_read_gives_the_voxels_of_the_box(box):
    voxels = ArrayVolume(IMAGE, 0.01).read(box)
    np.testing.assert_array_equal(voxels, IMAGE[box.slices])


@pytest.mark.parametrize("array", [np.asfortranarray(IMAGE), IMAGE.astype(">u2"), IMAGE[:, ::-1]])
def test_voxels_are_contiguous_native_and_the_callers_own(array):
    volume = ArrayVolume(array)
    voxels = volume.read(Box.of_shape(volume.shape))
    assert voxels.flags.c_contiguous
    assert voxels.dtype == volume.dtype == np.dtype("=u2")
    expected = array.copy()
    voxels[...] = 0
    np.testing.assert_array_equal(array, expected)


def test_an_empty_box_gives_an_empty_array():
    assert ArrayVolume(IMAGE).read(Box((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)


@pytest.mark.parametrize("box", [Box((0, 0, 0), (8, 1, 1)), Box((-1, 0, 0), (1, 1, 1)), Box((3, 0, 0), (2, 1, 1))])
def test_a_box_outside_the_volume_is_refused(box):
    with pytest.raises(InputError, match=r"it must lie between \(0, 0, 0\) and \(7, 11, 13\)"):
        ArrayVolume(IMAGE).read(box)


def test_a_closed_volume_is_refused():
    with ArrayVolume(IMAGE) as volume:
        pass
    with pytest.raises(InputError, match="closed"):
        volume.read(Box((0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64", "float16", "float64"])
def test_integers_floats_and_bool_are_allowed(dtype):
    assert ArrayVolume(IMAGE.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", ["complex64", "object", "S3", "datetime64[s]", "longdouble"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="allowed are bool, integers and floats"):
        ArrayVolume(np.zeros((2, 2, 2), dtype))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((4, 5), "single 2-D image"), ((1, 4, 5, 6), "4 axes"), ((4, 0, 5), "at least one voxel")],
)
def test_shapes_that_are_no_volume_are_refused(shape, message):
    with pytest.raises(InputError, match=message):
        ArrayVolume(np.zeros(shape))


@pytest.mark.parametrize("given", [0.01, np.float32(0.01), [0.01], (0.01, 0.01, 0.01), np.full(3, 0.01)])
def test_spacing_is_one_number_or_three(given):
    assert check_spacing(given, "spacing") == pytest.approx((0.01, 0.01, 0.01))


def test_spacing_keeps_its_order():
    assert ArrayVolume(IMAGE, (0.03, 0.02, 0.01)).spacing_mm == (0.03, 0.02, 0.01)


@pytest.mark.parametrize("given", [0, -0.01, float("nan"), float("inf"), (0.01, 0.01), (0.01, 0.0, 0.01), ()])
def test_other_spacings_are_refused(given):
    with pytest.raises(InputError, match="each above 0"):
        check_spacing(given, "spacing")


def test_a_bad_spacing_is_refused_before_the_file_is_touched(tmp_path):
    with pytest.raises(InputError, match="spacing"):
        open_volume(tmp_path / "missing.npy", spacing_mm=-1)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"scan\.tif: there is no such file"):
        open_volume(tmp_path / "scan.tif")


@pytest.mark.parametrize("name", ["scan.jpg", "scan", "scan.zarr"])
def test_an_unknown_type_is_refused_with_the_list_of_types(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"allowed are \.tif, \.tiff, \.npy, \.raw, \.vol, \.zarr"):
        open_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/scan.ome.zarr", "scan"),
        ("scan.ome.tif", "scan"),
        ("Scan.TIFF", "Scan"),
        ("s.1.npy", "s.1"),
        ("s.v2", "s.v2"),
    ],
)
def test_the_stem_has_no_endings_of_formats(path, stem):
    assert stem_of(Path(path)) == stem
