"""HDF5, against h5py; attributes as ImageJ and ilastik write them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
BOX = Box((1, 3, 4), (19, 11, 6))


def write(path, name="data", image=IMAGE, attributes=(), **options):
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(name, data=image, **options)
        dataset.attrs.update(attributes)
    return path


def inside(path, name):
    return Path(f"{path}:{name}")


def axistags(keys):
    return {"axistags": json.dumps({"axes": [{"key": key, "typeFlags": 2} for key in keys]})}


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (7, 8, 9)}, {"chunks": (20, 8, 9), "compression": "gzip"}, {"chunks": True}]
)
@pytest.mark.parametrize("dtype", ["uint16", ">u2", "float32", "bool"])
def test_a_dataset_is_read(tmp_path, options, dtype):
    image = IMAGE.astype(dtype)
    write(tmp_path / "scan.h5", "t0/raw", image, **options)
    with open_volume(inside(tmp_path / "scan.h5", "/t0/raw")) as volume:
        assert (volume.shape, volume.dtype) == (image.shape, image.dtype.newbyteorder("="))
        assert (volume.name, volume.spacing_mm) == ("scan", None)
        np.testing.assert_array_equal(volume.read(WHOLE), image)
        np.testing.assert_array_equal(volume.read(BOX), image[BOX.slices])
        assert volume.read(Box((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)
    with pytest.raises(InputError, match="the volume is closed"):
        volume.read(BOX)


def test_the_only_dataset_needs_no_name(tmp_path):
    write(tmp_path / "scan.hdf5", "deep/inside/data")
    write(tmp_path / "scan.hdf5", "histogram", np.arange(5))
    assert open_volume(tmp_path / "scan.hdf5").shape == IMAGE.shape


@pytest.mark.parametrize("name", ["", "/b/missing", "/a"])
def test_without_a_name_that_fits_the_datasets_are_listed(tmp_path, name):
    write(tmp_path / "scan.h5", "a/raw")
    write(tmp_path / "scan.h5", "b/raw")
    with pytest.raises(InputError, match=r"give one as scan\.h5:/NAME\. Found are: /a/raw, /b/raw"):
        open_volume(inside(tmp_path / "scan.h5", name))


def test_a_file_without_a_volume_is_refused(tmp_path):
    write(tmp_path / "scan.h5", image=np.arange(5))
    with pytest.raises(InputError, match=r"0 datasets have three axes.* Found are: none"):
        open_volume(tmp_path / "scan.h5")


def test_element_sizes_are_z_y_x_in_micrometres(tmp_path):
    write(tmp_path / "scan.h5", attributes={"element_size_um": [30.0, 20.0, 10.0]})
    assert open_volume(tmp_path / "scan.h5").spacing_mm == pytest.approx((0.03, 0.02, 0.01))


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [("zyxc", [30, 20, 10]), ("tzyx", [1, 30, 20, 10]), ("xyz", [10, 20, 30]), ("cxzy", [10, 30, 20])],
)
def test_axes_are_put_in_order_as_ilastik_names_them(tmp_path, keys, sizes):
    axes = [keys.index(key) for key in "zyx"]
    image = np.moveaxis(IMAGE.reshape(*[1] * (len(keys) - 3), *IMAGE.shape), (-3, -2, -1), axes)
    write(tmp_path / "scan.h5", image=image, attributes=axistags(keys) | {"element_size_um": sizes})
    volume = open_volume(tmp_path / "scan.h5")
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


def test_leading_axes_of_one_entry_are_dropped(tmp_path):
    write(tmp_path / "scan.h5", image=IMAGE[None, None])
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.h5").read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize(("image", "attributes"), [(np.stack([IMAGE] * 2), {}), (IMAGE, axistags("tyx"))])
def test_other_axes_are_refused(tmp_path, image, attributes):
    write(tmp_path / "scan.h5", image=image, attributes=attributes)
    with pytest.raises(InputError, match="it must have z, y, x, and all others must have one entry"):
        open_volume(tmp_path / "scan.h5")


@pytest.mark.parametrize("sizes", [[1.0, 2.0], "large", [0.0, 1.0, 1.0]])
def test_sizes_that_cannot_be_are_refused_unless_one_is_given(tmp_path, sizes):
    write(tmp_path / "scan.h5", attributes={"element_size_um": sizes})
    with pytest.raises(InputError, match=r"pass --spacing|cannot be read"):
        open_volume(tmp_path / "scan.h5")
    assert open_volume(tmp_path / "scan.h5", spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)


def test_voxels_in_other_files_are_refused(tmp_path):
    write(tmp_path / "secret.h5")
    IMAGE.tofile(tmp_path / "secret.raw")
    layout = h5py.VirtualLayout(IMAGE.shape, IMAGE.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "data", IMAGE.shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["link"] = h5py.ExternalLink("secret.h5", "data")
        file.create_virtual_dataset("virtual", layout)
        outside = [(str(tmp_path / "secret.raw"), 0, IMAGE.nbytes)]
        file.create_dataset("outside", IMAGE.shape, IMAGE.dtype, external=outside)
    for name in ("link", "virtual", "outside"):
        with pytest.raises(InputError, match="lie in other files"):
            open_volume(inside(tmp_path / "scan.h5", f"/{name}"))


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, share):
    whole = write(tmp_path / "scan.h5").read_bytes()
    (tmp_path / "scan.h5").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"scan\.h5: the HDF5 file cannot be read"):
        open_volume(tmp_path / "scan.h5")


def test_a_damaged_chunk_is_refused_when_read(tmp_path):
    write(tmp_path / "scan.h5", chunks=(20, 33, 50), compression="gzip", fletcher32=True)
    with h5py.File(tmp_path / "scan.h5") as file:
        place = file["data"].id.get_chunk_info(0)
    broken = bytearray((tmp_path / "scan.h5").read_bytes())
    broken[place.byte_offset + place.size // 2] ^= 255
    (tmp_path / "scan.h5").write_bytes(broken)
    with open_volume(tmp_path / "scan.h5") as volume, pytest.raises(InputError, match="a chunk between"):
        volume.read(WHOLE)


def test_planes_per_read_are_whole_chunks(tmp_path):
    write(tmp_path / "scan.h5", chunks=(5, 8, 8))
    assert open_volume(tmp_path / "scan.h5").planes_per_read == 20


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "float16", "bool"])
def test_what_is_written_is_read_by_h5py(tmp_path, dtype):
    write_volume(tmp_path / "scan.h5", IMAGE.astype(dtype), (0.03, 0.02, 0.01))
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file["data"].dtype == dtype
        assert list(file["data"].attrs["element_size_um"]) == pytest.approx([30, 20, 10])
        np.testing.assert_array_equal(file["data"][...], IMAGE.astype(dtype))
