"""NRRD, against pynrrd and SimpleITK."""

import nrrd
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
BOX = Box((1, 3, 4), (19, 11, 6))
DIRECTIONS = np.diag([0.01, 0.02, 0.03])


def write(path, image=IMAGE, **header):
    options = {key: header.pop(key) for key in ("detached_header", "relative_data_path") if key in header}
    nrrd.write(str(path), image, header, index_order="C", **options)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr"])
def test_every_encoding_reads_the_same_voxels(tmp_path, encoding, name):
    with open_volume(write(tmp_path / name, encoding=encoding), spacing_mm=0.01) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, np.uint16, "scan")
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", ">u2", "int32", "uint32", "int64", "float32", ">f8"])
def test_dtypes_and_byte_orders_are_kept(tmp_path, dtype):
    image = (IMAGE % 100).astype(dtype)
    volume = open_volume(write(tmp_path / "scan.nrrd", image, endian="big" if dtype[0] == ">" else "little"))
    assert volume.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(volume.read(WHOLE), image)


@pytest.mark.parametrize(
    ("header", "spacing_mm"),
    [
        ({"space directions": DIRECTIONS, "space": "left-posterior-superior"}, (0.03, 0.02, 0.01)),
        ({"space directions": DIRECTIONS, "space dimension": 3, "space units": ["mm", "mm", "mm"]}, (0.03, 0.02, 0.01)),
        ({"space directions": DIRECTIONS * 1000, "space dimension": 3, "space units": ["um"] * 3}, (0.03, 0.02, 0.01)),
        ({"space directions": np.roll(DIRECTIONS, 1, 1), "space": "RAS"}, (0.03, 0.02, 0.01)),
        ({"spacings": [10, 20, 30], "units": ["um"] * 3}, (0.03, 0.02, 0.01)),
        ({"spacings": [10, 20, 30]}, None),
        ({"spacings": [10, 20, 30], "units": ["pixel"] * 3}, None),
        ({"space directions": DIRECTIONS, "space dimension": 3}, None),
        ({}, None),
    ],
)
def test_the_spacing_is_read_with_its_unit(tmp_path, header, spacing_mm):
    found = open_volume(write(tmp_path / "scan.nrrd", **header)).spacing_mm
    assert found == (None if spacing_mm is None else pytest.approx(spacing_mm))


@pytest.mark.parametrize("skip", ["byte skip: 9", "byte skip: -1", "line skip: 1"])
def test_a_detached_header_may_skip_the_front_of_its_data(tmp_path, skip):
    (tmp_path / "scan.raw").write_bytes(b"12345678\n" + IMAGE.tobytes())
    header = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 50 33 20\nendian: little\nencoding: raw"
    (tmp_path / "scan.nhdr").write_text(f"{header}\n{skip}\ndata file: scan.raw\n")
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.nhdr").read(WHOLE), IMAGE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("../secret.raw", "outside of its folder"),
        ("missing.raw", "is not there"),
        ("LIST", "several files"),
        ("slice%03d.raw 1 20 1", "several files"),
    ],
)
def test_data_files_elsewhere_are_refused(tmp_path, data, message):
    IMAGE.tofile(tmp_path / "secret.raw")
    (tmp_path / "in").mkdir()
    header = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 50 33 20\nendian: little\nencoding: raw"
    (tmp_path / "in" / "scan.nhdr").write_text(f"{header}\ndata file: {data}\n")
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "in" / "scan.nhdr")


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, encoding, share):
    path = write(tmp_path / "scan.nrrd", encoding=encoding)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"scan\.nrrd: .*(copy or export|check what it is)"):
        open_volume(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NRRD0", b"nrrd0", "does not start with NRRD"),
        (b"NRRD0", b"NRRD9", "the NRRD header cannot be read"),
        (b"encoding: raw", b"encoding: hex", "the encoding is hex; read are raw"),
        (b"type: uint16", b"type: block", "type 'block'"),
        (b"sizes: 50 33 20", b"sizes: 50 33 20 2", "4 axes"),
        (b"sizes: 50 33 20\n", b"", "the NRRD header cannot be read"),
    ],
)
def test_other_headers_are_refused(tmp_path, old, new, message):
    path = write(tmp_path / "scan.nrrd", encoding="raw")
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        open_volume(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int64", "float32"])
def test_what_is_written_is_read_by_pynrrd_and_simpleitk(tmp_path, dtype):
    path = str(tmp_path / "scan.nrrd")
    image = (IMAGE % 200).astype(dtype)
    write_volume(path, image, (0.03, 0.02, 0.01))
    voxels, header = nrrd.read(path, index_order="C")
    assert (voxels.dtype, header["space units"]) == (np.dtype(dtype), ["mm"] * 3)
    np.testing.assert_array_equal(header["space directions"], DIRECTIONS)
    np.testing.assert_array_equal(voxels, image)
    itk = pytest.importorskip("SimpleITK")
    found = itk.ReadImage(path)
    assert found.GetSpacing() == pytest.approx((0.01, 0.02, 0.03))
    np.testing.assert_array_equal(itk.GetArrayFromImage(found), image)


def test_a_dtype_that_nrrd_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match="NRRD cannot hold float16"):
        write_volume(tmp_path / "scan.nrrd", IMAGE.astype(np.float16))
