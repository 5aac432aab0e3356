"""Volumes that are memory-mapped as they are: npy and raw."""

import pickle

import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.raw import bare_layout

IMAGE = np.random.default_rng(0).integers(0, 60000, (7, 11, 13), dtype=np.uint16)
BOX = Box((2, 3, 4), (5, 11, 6))


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("array", [IMAGE, np.asfortranarray(IMAGE), IMAGE.astype(">f4"), IMAGE > 300])
def test_npy_reads_a_box(tmp_path, array):
    np.save(tmp_path / "scan.npy", array)
    with open_volume(tmp_path / "scan.npy", spacing_mm=0.01) as volume:
        assert (volume.shape, volume.name, volume.spacing_mm) == (array.shape, "scan", (0.01, 0.01, 0.01))
        np.testing.assert_array_equal(volume.read(BOX), array[BOX.slices])


def test_npy_without_spacing_has_none(tmp_path):
    np.save(tmp_path / "scan.npy", IMAGE)
    assert open_volume(tmp_path / "scan.npy").spacing_mm is None


def test_npy_with_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "scan.npy", np.array([[[Bomb()]]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"scan\.npy: is a pickled Python object, which is not opened"):
        open_volume(tmp_path / "scan.npy")


def test_what_cellpose_writes_is_named(tmp_path):
    np.save(tmp_path / "ore_seg.npy", {"masks": IMAGE}, allow_pickle=True)
    with pytest.raises(InputError, match=r"is the _seg\.npy of cellpose.*\['masks'\]"):
        open_volume(tmp_path / "ore_seg.npy")


def test_a_pickle_named_npy_is_never_unpickled(tmp_path):
    (tmp_path / "scan.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match=r"scan\.npy: (is not a NumPy file|the NumPy file cannot be read)"):
        open_volume(tmp_path / "scan.npy")


@pytest.mark.parametrize(
    ("keep_bytes", "said"),
    [
        (0, r"is empty, a file of 0 bytes"),
        (5, r"is not a NumPy file"),
        (100, r"the NumPy header cannot be read"),
        (-1, rf"\(7, 11, 13\) voxels of uint16 need {128 + 2002} bytes, the file has {128 + 2001}: it is cut short"),
    ],
)
def test_npy_cut_short_is_refused(tmp_path, keep_bytes, said):
    np.save(tmp_path / "scan.npy", IMAGE)
    whole = (tmp_path / "scan.npy").read_bytes()
    (tmp_path / "scan.npy").write_bytes(whole[:keep_bytes])
    with pytest.raises(InputError, match=rf"scan\.npy: {said}"):
        open_volume(tmp_path / "scan.npy")


def test_npy_of_a_version_to_come_is_refused(tmp_path):
    np.save(tmp_path / "scan.npy", IMAGE)
    whole = (tmp_path / "scan.npy").read_bytes()
    (tmp_path / "scan.npy").write_bytes(whole[:6] + b"\7" + whole[7:])
    with pytest.raises(InputError, match=r"scan\.npy: is of version 7\.0 of the format; save it with NumPy again"):
        open_volume(tmp_path / "scan.npy")


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "<u2"])
def test_raw_reads_a_box_with_its_byte_order(tmp_path, dtype):
    IMAGE.astype(dtype).tofile(tmp_path / "scan.raw")
    with open_volume(tmp_path / "scan.raw", shape=IMAGE.shape, dtype=dtype) as volume:
        assert volume.name == "scan"
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize("change", [-1, 1])
def test_raw_of_another_size_is_refused(tmp_path, change):
    (tmp_path / "scan.raw").write_bytes(bytes(24 + change))
    with pytest.raises(InputError, match=rf"has {24 + change} bytes, shape \(2, 3, 4\) of uint8 needs 24"):
        open_volume(tmp_path / "scan.raw", shape=(2, 3, 4), dtype="uint8")


@pytest.mark.parametrize("given", [{}, {"shape": (2, 3, 4)}, {"dtype": "uint8"}])
def test_raw_needs_shape_and_dtype(tmp_path, given):
    (tmp_path / "scan.raw").write_bytes(bytes(24))
    with pytest.raises(InputError, match="pass --shape z,y,x and --dtype"):
        open_volume(tmp_path / "scan.raw", **given)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((0, 3, 4), "uint8", "at least one voxel"),
        ((6, 4), "uint8", "three axes"),
        ((2, 3, 4), "gray", "use a NumPy name"),
        ((2, 3, 4), "object", "allowed types are"),
        ((2, 3, 4), "u1,u1", "allowed types are"),
    ],
)
def test_raw_with_a_bad_shape_or_dtype_is_refused(tmp_path, shape, dtype, message):
    (tmp_path / "scan.raw").write_bytes(bytes(24))
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "scan.raw", shape=shape, dtype=dtype)


def test_shape_and_dtype_are_for_raw_files_only(tmp_path):
    np.save(tmp_path / "scan.npy", IMAGE)
    with pytest.raises(InputError, match="--shape, --dtype and --offset are for raw files"):
        open_volume(tmp_path / "scan.npy", shape=IMAGE.shape)


@pytest.mark.parametrize("name", ["scan.bin", "scan.img", "scan.raw", "scan", "scan.001"])
def test_any_name_is_raw_if_shape_and_dtype_are_given(tmp_path, name):
    (tmp_path / name).write_bytes(b"header" * 5 + IMAGE.tobytes())
    volume = open_volume(tmp_path / name, shape=IMAGE.shape, dtype="uint16", offset_bytes=30)
    np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(BOX), IMAGE[BOX.slices])


def test_a_header_is_guessed_from_the_size_and_its_option_named(tmp_path):
    (tmp_path / "scan.bin").write_bytes(bytes(512) + IMAGE.tobytes())
    with pytest.raises(InputError, match="pass --offset 512 if it begins with a header, check --shape and --dtype"):
        open_volume(tmp_path / "scan.bin", shape=IMAGE.shape, dtype="uint16")
    with pytest.raises(InputError, match=r"after 500 bytes needs 2502; pass --offset 512"):
        open_volume(tmp_path / "scan.bin", shape=IMAGE.shape, dtype="uint16", offset_bytes=500)
    with pytest.raises(InputError, match="0 or more"):
        open_volume(tmp_path / "scan.bin", shape=IMAGE.shape, dtype="uint16", offset_bytes=-1)


@pytest.mark.parametrize("given", [{"offset_bytes": 3}, {"offset_bytes": 0, "dtype": "uint8"}])
def test_an_offset_needs_shape_and_dtype(tmp_path, given):
    (tmp_path / "scan.raw").write_bytes(bytes(24))
    with pytest.raises(InputError, match="pass --shape z,y,x and --dtype"):
        open_volume(tmp_path / "scan.raw", **given)


def test_a_raw_file_without_a_description_is_opened_again_as_it_was(tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(bytes(512) + IMAGE.tobytes())
    layout = bare_layout(path, IMAGE.shape, "uint16")
    np.testing.assert_array_equal(open_volume(path, **layout).read(BOX), IMAGE[BOX.slices])
    np.save(tmp_path / "scan.npy", IMAGE)
    assert bare_layout(tmp_path / "scan.npy", IMAGE.shape, "uint16") == {}
    (tmp_path / "scan.bin.json").write_text('{"shape": [7, 11, 13], "dtype": "uint16"}')
    assert bare_layout(path, IMAGE.shape, "uint16") == {}
    assert bare_layout(tmp_path, IMAGE.shape, "uint16") == {}
