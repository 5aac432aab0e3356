"""HDF5, against h5py; attributes as ImageJ and ilastik write them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError, InputError
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
    with pytest.raises(InputError, match=r"give one as scan\.h5:/NAME\. The file has: /a/raw, /b/raw"):
        open_volume(inside(tmp_path / "scan.h5", name))


def test_a_file_without_a_volume_is_refused(tmp_path):
    write(tmp_path / "scan.h5", image=np.arange(5))
    with pytest.raises(InputError, match=r"0 datasets have three axes.* The file has: none"):
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


@pytest.mark.parametrize(
    ("sizes", "spacing_mm", "remark"),
    [
        ([1.0, 2.0], None, "2 numbers, not one an axis"),
        ("large", None, "1 numbers"),
        ([0.0, 1.0, 1.0], None, "which is none"),
        ([1.0, 1.0, 1.0], (0.001, 0.001, 0.001), "as programs do that do not know it"),
        ([0.01, 0.01, 0.01], (1e-5, 1e-5, 1e-5), "micro-CT has 0.00005 to 5 mm"),
    ],
)
def test_sizes_that_cannot_be_or_are_unlikely_are_said(tmp_path, sizes, spacing_mm, remark):
    write(tmp_path / "scan.h5", attributes={"element_size_um": sizes})
    volume = open_volume(tmp_path / "scan.h5")
    assert volume.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
    assert remark in " ".join(volume.warnings)
    given = open_volume(tmp_path / "scan.h5", spacing_mm=0.5)
    assert given.spacing_mm == (0.5, 0.5, 0.5)
    assert remark not in " ".join(given.warnings)


@pytest.mark.parametrize("tags", ["no json", "[]", '{"axes": [1]}', '{"axes": [{"key": "z"}]}', 7])
def test_axistags_that_name_no_axes_are_refused(tmp_path, tags):
    write(tmp_path / "scan.h5", attributes={"axistags": tags})
    with pytest.raises(InputError, match=r"axistags names no axes|it must have z, y, x"):
        open_volume(tmp_path / "scan.h5")


def test_a_scale_that_is_left_aside_is_said(tmp_path):
    write(tmp_path / "scan.h5", attributes={"scale_factor": 0.5})
    assert "times 0.5 plus 0" in " ".join(open_volume(tmp_path / "scan.h5").warnings)


@pytest.mark.parametrize("ending", [".nxs", ".hdf", ".he5", ".NXS"])
def test_other_endings_of_hdf5_are_read(tmp_path, ending):
    path = write(tmp_path / f"scan{ending}", "entry/data/data")
    for given in (path, inside(path, "/entry/data/data")):
        volume = open_volume(given)
        assert volume.name == "scan"
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


def test_hdf4_is_named(tmp_path):
    (tmp_path / "scan.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(200))
    with pytest.raises(InputError, match=r"is HDF4.*h4toh5"):
        open_volume(tmp_path / "scan.hdf")


@pytest.mark.parametrize("kind", ["Bitshuffle", "Blosc", "Zstd", "LZ4"])
def test_filters_of_plugins_are_there(tmp_path, kind):
    options = getattr(pytest.importorskip("hdf5plugin"), kind)()
    path = write(tmp_path / "scan.h5", chunks=(5, 33, 50), **options)
    np.testing.assert_array_equal(open_volume(path).read(BOX), IMAGE[BOX.slices])


def bitshuffle(path, cname, image=IMAGE, chunks=(5, 33, 50), **options):
    plugin = pytest.importorskip("hdf5plugin")
    return write(path, image=image, chunks=chunks, **plugin.Bitshuffle(cname=cname, **options))


@pytest.mark.parametrize("cname", ["none", "lz4", "zstd"])
@pytest.mark.parametrize(("chunks", "options"), [((7, 8, 9), {}), ((5, 33, 50), {"nelems": 64})])
@pytest.mark.parametrize("dtype", [">u2", "float32"])
def test_whole_bitshuffled_chunks_pass_the_check(tmp_path, cname, chunks, options, dtype):
    image = (IMAGE % 200).astype(dtype)
    path = bitshuffle(tmp_path / "scan.h5", cname, image, chunks, **options)
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(WHOLE), image)
        np.testing.assert_array_equal(volume.read(BOX), image[BOX.slices])


def test_bitshuffled_chunks_that_were_left_out_or_not_shuffled_are_read(tmp_path):
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        options = plugin.Bitshuffle(cname="lz4")
        dataset = file.create_dataset("data", IMAGE.shape, "u2", chunks=(10, 33, 50), fillvalue=7, **options)
        dataset.id.write_direct_chunk((10, 0, 0), IMAGE[10:].tobytes(), 1)
    voxels = open_volume(tmp_path / "scan.h5").read(WHOLE)
    assert (voxels[:10] == 7).all()
    np.testing.assert_array_equal(voxels[10:], IMAGE[10:])


@pytest.mark.parametrize("cname", ["lz4", "zstd"])
@pytest.mark.parametrize("at", [0, 7, 8, 11, 12, 15])  # the decoded size, the size of a block, the first length
def test_damaged_lengths_of_bitshuffled_blocks_are_refused_before_the_plugin_sees_them(tmp_path, cname, at):
    path = bitshuffle(tmp_path / "scan.h5", cname, chunks=IMAGE.shape)
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(0)
    broken = bytearray(path.read_bytes())
    broken[place.byte_offset + at] ^= 0x41
    path.write_bytes(broken)
    with open_volume(path) as volume, pytest.raises(InputError, match=r"a chunk between .* cannot be read: damaged"):
        volume.read(BOX)


def test_a_bitshuffled_chunk_that_ends_early_is_refused_and_the_others_are_read(tmp_path):
    path = bitshuffle(tmp_path / "scan.h5", "lz4", chunks=(10, 33, 50))
    with h5py.File(path, "a") as file:
        _, chunk = file["data"].id.read_direct_chunk((0, 0, 0))
        file["data"].id.write_direct_chunk((0, 0, 0), chunk[:-9])
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(Box((10, 0, 0), IMAGE.shape)), IMAGE[10:])
        with pytest.raises(InputError, match=r"the chunk at \(0, 0, 0\) does not hold the blocks that it says it has"):
            volume.read(BOX)


def test_settings_of_bitshuffle_that_cannot_be_are_refused(tmp_path):
    path = bitshuffle(tmp_path / "scan.h5", "none", nelems=24)
    settings = np.array([2, 24], "<u4").tobytes()  # bytes of a value, values of a block
    whole = path.read_bytes()
    assert whole.count(settings) == 1
    path.write_bytes(whole.replace(settings, bytes(8)))
    with open_volume(path) as volume, pytest.raises(InputError, match="name values of 0 bytes"):
        volume.read(BOX)


def test_a_filter_that_can_end_the_program_is_warned_of(tmp_path):
    plugin = pytest.importorskip("hdf5plugin")
    path = write(tmp_path / "scan.h5", image=IMAGE.astype("f4"), chunks=IMAGE.shape, **plugin.SZ3(absolute=1))
    with open_volume(path) as volume:
        assert ["32024 (SZ3). If a chunk is damaged" in remark for remark in volume.warnings] == [True]


@pytest.mark.parametrize(("code", "said"), [(305, r"305 \(LZO\)"), (65000, "65000,")])
def test_a_filter_that_nobody_has_is_named(tmp_path, code, said):
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk(IMAGE.shape)
    settings.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (0, 2))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        space = h5py.h5s.create_simple(IMAGE.shape)
        dataset = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, settings)
        dataset.write_direct_chunk((0, 0, 0), IMAGE.tobytes(), 0)
    with pytest.raises(CapabilityError, match=f"filter {said}.*h5repack") as caught:
        open_volume(tmp_path / "scan.h5")
    assert caught.value.exit_code == 3


def imaris(path, channels=1, sizes=("50", "33", "20"), unit="um"):
    """Stored as Imaris does: padded, and attributes letter by letter."""
    with h5py.File(path, "w") as file:
        for channel in range(channels):
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint 0/Channel {channel}")
            padded = np.pad(IMAGE, ((0, 12), (0, 31), (0, 14)))
            group.create_dataset("Data", data=padded, chunks=(8, 32, 32), compression="gzip")
            for axis, size in zip("XYZ", sizes, strict=True):
                group.attrs[f"ImageSize{axis}"] = np.array(list(size), "S1")
        file["DataSet/ResolutionLevel 1/TimePoint 0/Channel 0/Data"] = padded[::2, ::2, ::2]
        image = file.create_group("DataSetInfo/Image")
        said = {"Unit": unit, "ExtMin0": "0", "ExtMin1": "-33", "ExtMin2": "0"}
        said |= {"ExtMax0": "500", "ExtMax1": "627", "ExtMax2": "600.0"}
        for name, text in said.items():
            image.attrs[name] = np.array(list(text), "S1")
    return path


@pytest.mark.parametrize("unit", ["um", ""])
def test_imaris_is_read_without_its_padding(tmp_path, unit):
    volume = open_volume(imaris(tmp_path / "scan.ims", unit=unit))
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


def test_imaris_with_several_channels_or_sizes_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(InputError, match="with 2 images"):
        open_volume(imaris(tmp_path / "two.ims", channels=2))
    with pytest.raises(InputError, match=r"says that it has \(99, 33, 50\) voxels"):
        open_volume(imaris(tmp_path / "odd.ims", sizes=("50", "33", "99")))


def test_links_to_other_files_are_named(tmp_path):
    write(tmp_path / "raw.h5", "deep/data")
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file["entry/data"] = h5py.ExternalLink("raw.h5", "/deep/data")
    for given in (tmp_path / "scan.nxs", inside(tmp_path / "scan.nxs", "/entry/data")):
        with pytest.raises(InputError, match=r"/entry/data is /deep/data in raw\.h5"):
            open_volume(given)


def test_links_that_lead_nowhere_are_named(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/data"] = h5py.SoftLink("/raw/volume")
        file["entry/line"] = np.arange(5)
        file["entry/good"] = h5py.SoftLink("/entry/line")
    for given in (tmp_path / "scan.h5", inside(tmp_path / "scan.h5", "/entry/data")):
        with pytest.raises(InputError, match=r"The link /entry/data points to /raw/volume, which is not there\.$"):
            open_volume(given)


def test_names_that_are_no_text_are_passed_over(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["first/data"] = IMAGE
        file["other/data"] = IMAGE[::-1]
        file["same"] = file["other/data"]
        file["other/up"] = file["/"]
    whole = (tmp_path / "scan.h5").read_bytes()
    assert whole.count(b"first\0") == 1
    with pytest.raises(InputError, match="2 datasets have three axes"):
        open_volume(tmp_path / "scan.h5")
    (tmp_path / "odd.h5").write_bytes(whole.replace(b"first\0", b"\xff\x7fst\0\0"))
    np.testing.assert_array_equal(open_volume(tmp_path / "odd.h5").read(WHOLE), IMAGE[::-1])


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
    left = int(share * len(whole))
    (tmp_path / "scan.h5").write_bytes(whole[:left])
    said = f"has {left} bytes, of {len(whole)} that it had when it was written: it is cut short" if left else "is empty"
    with pytest.raises(InputError, match=rf"scan\.h5: {said}"):
        open_volume(tmp_path / "scan.h5")


def test_what_is_no_hdf5_is_said_to_be_none(tmp_path):
    (tmp_path / "scan.h5").write_bytes(b"This is a letter.\n" * 200)
    with pytest.raises(
        InputError, match=r"scan\.h5: is not an HDF5 file, or its start is damaged; copy or export it again\.$"
    ):
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
