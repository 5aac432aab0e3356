"""Raw files whose layout stands in a small text file beside them."""

import json

import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
JSON = {"shape": [20, 33, 50], "dtype": "uint16", "spacing_mm": [0.03, 0.02, 0.01]}
VGI = """{volume1}
[representation]
size = 50 33 20
datatype = unsigned integer
bitsperelement = 16
[file1]
SkipHeader = 0
FileFormat = raw
Size = 50 33 20
Name = C:\\scans\\scan.vol
Datatype = unsigned integer
BitsPerElement = 16
{volumeprimitive12}
[geometry]
resolution = 0.01 0.02 0.03
unit = mm
[volume]
volume = volume1
"""
PCR = """[VolumeData]
VOL_File=D:\\data\\scan.vol
Volume_SizeX=50
Volume_SizeY=33
Volume_SizeZ=20
Format=5
VoxelSizeRec=0.01
Min=0
Max=65535
"""


def put(folder, name, text, image=IMAGE, data="scan.vol", front=b""):
    (folder / data).write_bytes(front + image.tobytes())
    (folder / name).write_text(text, encoding="latin-1")


@pytest.mark.parametrize("opened", ["scan.vol", "scan.vgi"])
def test_a_vgi_file_says_all(tmp_path, opened):
    put(tmp_path, "scan.vgi", VGI)
    volume = open_volume(tmp_path / opened)
    assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, np.uint16, "scan")
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


@pytest.mark.parametrize("opened", ["scan.vol", "scan.pcr"])
@pytest.mark.parametrize(("code", "dtype"), [("1", "uint8"), ("3", "uint8"), ("5", "uint16"), ("10", "float32")])
def test_a_pcr_file_says_all(tmp_path, opened, code, dtype):
    image = (IMAGE % 200).astype(dtype)
    put(tmp_path, "scan.pcr", PCR.replace("Format=5", f"Format={code}"), image)
    volume = open_volume(tmp_path / opened)
    assert (volume.shape, volume.dtype, volume.spacing_mm) == (IMAGE.shape, np.dtype(dtype), (0.01, 0.01, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), image)


def test_a_pcr_without_voxel_size_takes_that_of_the_pca(tmp_path):
    put(tmp_path, "scan.pcr", PCR.replace("VoxelSizeRec=0.01\n", ""))
    assert open_volume(tmp_path / "scan.pcr").spacing_mm is None
    (tmp_path / "scan.pca").write_text("[Geometry]\nFDD=800\nVoxelSizeX=0.026\nVoxelSizeY=0.026\n")
    assert open_volume(tmp_path / "scan.pcr").spacing_mm == (0.026, 0.026, 0.026)


def test_a_pcr_without_a_name_belongs_to_the_vol_of_its_name(tmp_path):
    put(tmp_path, "scan.pcr", PCR.replace("VOL_File=D:\\data\\scan.vol\n", ""))
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.pcr").read(WHOLE), IMAGE)


@pytest.mark.parametrize("name", ["scan.raw.json", "scan.json"])
def test_a_json_file_says_all(tmp_path, name):
    put(tmp_path, name, json.dumps(JSON | {"offset_bytes": 3}), data="scan.raw", front=b"abc")
    volume = open_volume(tmp_path / "scan.raw")
    assert (volume.shape, volume.dtype, volume.spacing_mm) == (IMAGE.shape, np.uint16, (0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


def test_what_is_given_wins(tmp_path):
    put(tmp_path, "scan.vgi", VGI)
    assert open_volume(tmp_path / "scan.vol", spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)
    volume = open_volume(tmp_path / "scan.vol", shape=(20, 33, 100), dtype="uint8")
    assert (volume.shape, volume.spacing_mm) == ((20, 33, 100), None)
    with pytest.raises(InputError, match=r"scan\.vgi: says shape and dtype itself"):
        open_volume(tmp_path / "scan.vgi", shape=IMAGE.shape, dtype="uint16")


@pytest.mark.parametrize(
    ("old", "new", "spacing_mm"),
    [
        ("unit = mm", "unit = \u00b5m", (3e-5, 2e-5, 1e-5)),
        ("unit = mm\n", "", (0.03, 0.02, 0.01)),
        ("unit = mm", "unit = pixel", None),
        ("resolution = 0.01 0.02 0.03\n", "", None),
        ("resolution = 0.01 0.02 0.03", "resolution = 0.01", (0.01, 0.01, 0.01)),
    ],
)
def test_the_unit_of_a_vgi_file_is_honoured(tmp_path, old, new, spacing_mm):
    put(tmp_path, "scan.vgi", VGI.replace(old, new))
    found = open_volume(tmp_path / "scan.vgi").spacing_mm
    assert found == (None if spacing_mm is None else pytest.approx(spacing_mm))


def test_the_header_of_the_data_is_skipped(tmp_path):
    put(tmp_path, "scan.vgi", VGI.replace("SkipHeader = 0", "SkipHeader = 7"), front=b"1234567")
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.vgi").read(WHOLE), IMAGE)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("scan.vgi", "", "describes 0 volumes"),
        ("scan.vgi", VGI + VGI.replace("{volume1}", "{volume2}"), "describes 2 volumes"),
        ("scan.vgi", VGI.replace("{volumeprim", "[file2]\nName = b.vol\n{volumeprim"), "it must be one, in one file"),
        ("scan.vgi", VGI.replace("FileFormat = raw", "FileFormat = jpeg2000"), "the data are 'jpeg2000'"),
        ("scan.vgi", VGI.replace("BitsPerElement = 16", "BitsPerElement = 12"), "unsigned integer 12 bit"),
        ("scan.vgi", VGI.replace("50 33 20", "50 33"), "2-D"),
        ("scan.vgi", VGI.replace("50 33 20", "50 33 21"), r"scan\.vgi says shape \(21, 33, 50\) of uint16 needs 69300"),
        ("scan.vgi", VGI.replace("scan.vol", "other.vol"), "other.vol', which is not there"),
        ("scan.vgi", VGI.replace("Size = 50 33 20\n", "").replace("size = 50 33 20\n", ""), "KeyError: 'size'"),
        ("scan.pcr", "", "KeyError: 'volumedata'"),
        ("scan.pcr", PCR.replace("Format=5", "Format=7"), "Format=7; known are 1 and 3"),
        ("scan.pcr", PCR.replace("Format=5", "Format=10"), "of float32 needs 132000"),
        ("scan.pcr", PCR.replace("SizeX=50", "SizeX=fifty"), "cannot be read"),
        ("scan.pcr", PCR.replace("0.01", "0"), "each above 0"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, name, text, message):
    put(tmp_path, name, text)
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / name)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"shape": [1, 2, 3]}', json.dumps(JSON | {"spacing": 1})])
def test_a_json_file_that_does_not_fit_is_refused(tmp_path, text):
    put(tmp_path, "scan.raw.json", text, data="scan.raw")
    with pytest.raises(InputError, match=r"scan\.raw\.json: (the description|must hold)"):
        open_volume(tmp_path / "scan.raw")


def test_a_raw_file_is_written_with_its_description(tmp_path):
    write_volume(tmp_path / "scan.raw", IMAGE, (0.03, 0.02, 0.01))
    assert (tmp_path / "scan.raw").read_bytes() == IMAGE.astype("<u2").tobytes()
    assert json.loads((tmp_path / "scan.raw.json").read_text()) == JSON | {"dtype": "<u2"}
