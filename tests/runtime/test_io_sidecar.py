"""Raw files whose layout stands in a small text file beside them."""

import json
import re

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
    with pytest.raises(InputError, match=r"scan\.vgi: this file states shape and dtype"):
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
        ("scan.vgi", "", "is empty, a file of 0 bytes"),
        (
            "scan.vgi",
            VGI.replace("SkipHeader = 0", "SkipHeader = -1"),
            r"scan\.vgi: the header takes -1; it must be a number",
        ),
        ("scan.vgi", "\n", "describes 0 volumes"),
        ("scan.vgi", VGI + VGI.replace("{volume1}", "{volume2}"), "describes 2 volumes"),
        ("scan.vgi", VGI.replace("{volumeprim", "[file2]\nName = b.vol\n{volumeprim"), "it must be one, in one file"),
        ("scan.vgi", VGI.replace("FileFormat = raw", "FileFormat = jpeg2000"), "the data are 'jpeg2000'"),
        ("scan.vgi", VGI.replace("BitsPerElement = 16", "BitsPerElement = 12"), "unsigned integer 12 bit"),
        ("scan.vgi", VGI.replace("50 33 20", "50 33"), "2-D"),
        ("scan.vgi", VGI.replace("50 33 20", "50 33 21"), r"scan\.vgi says shape \(21, 33, 50\) of uint16 needs 69300"),
        ("scan.vgi", VGI.replace("scan.vol", "other.vol"), "other.vol', which is not there"),
        ("scan.vgi", VGI.replace("Size = 50 33 20\n", "").replace("size = 50 33 20\n", ""), "does not say Size"),
        ("scan.pcr", "\n", "has no section .VolumeData."),
        ("scan.pcr", PCR.replace("Format=5", "Format=7"), "Format=7; the known ones are 1 and 3"),
        ("scan.pcr", PCR.replace("Format=5", "Format=10"), "of float32 needs 132000"),
        ("scan.pcr", PCR.replace("SizeX=50", "SizeX=fifty"), "Volume_SizeX is 'fifty', which is not a number"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, name, text, message):
    put(tmp_path, name, text)
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scan.pcr", PCR.replace("0.01", "0")),
        ("scan.vgi", re.sub("resolution = .*", "resolution = 0 0 0", VGI)),
        ("scan.vgi", re.sub("unit = .*\n", "", re.sub("resolution = .*", "resolution = 1 1 1", VGI))),
    ],
)
def test_sizes_that_programs_fill_in_are_not_known_and_said(tmp_path, name, text):
    put(tmp_path, name, text)
    volume = open_volume(tmp_path / name)
    assert volume.spacing_mm is None
    assert re.search("which is none|as programs do that do not know it", " ".join(volume.warnings))
    assert open_volume(tmp_path / name, spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"shape": [1, 2, 3]}', json.dumps(JSON | {"spacing": 1})])
def test_a_json_file_that_does_not_fit_is_refused(tmp_path, text):
    put(tmp_path, "scan.raw.json", text, data="scan.raw")
    with pytest.raises(InputError, match=r"scan\.raw\.json: (is not JSON|must hold)"):
        open_volume(tmp_path / "scan.raw")


def test_a_raw_file_is_written_with_its_description(tmp_path):
    write_volume(tmp_path / "scan.raw", IMAGE, (0.03, 0.02, 0.01))
    assert (tmp_path / "scan.raw").read_bytes() == IMAGE.astype("<u2").tobytes()
    assert json.loads((tmp_path / "scan.raw.json").read_text()) == JSON | {"dtype": "<u2"}


INFO = """! PyHST_SLAVE VOLUME INFO FILE
NUM_X =  50
NUM_Y =  33
NUM_Z =  20
voxelSize =  1.25e+01
BYTEORDER = LOWBYTEFIRST
ValMin =  -1.0
"""
XTEKCT = """[XTekCT]
Name=scan
VoxelsX=50
VoxelSizeX=0.01
VoxelsY=33
VoxelSizeY=0.02
VoxelsZ=20
VoxelSizeZ=0.03
Units=mm
OutputUnits=/m
[Xrays]
XraykV=120
"""
MHD = """ObjectType = Image
NDims = 3
DimSize = 50 33 20
ElementSpacing = 0.01 0.02 0.03
ElementType = MET_USHORT
ElementDataFile = scan.vol
"""
NRRD = """NRRD0005
type: unsigned short
dimension: 3
sizes: 50 33 20
encoding: raw
endian: little
data file: scan.vol
"""


@pytest.mark.parametrize("opened", ["scan.vol", "scan.vol.info"])
@pytest.mark.parametrize(("order", "dtype"), [("LOW", "<f4"), ("HIGH", ">f4"), ("LOW", "<u2"), ("HIGH", "u1")])
def test_an_info_file_of_the_esrf_says_all_but_the_type_which_is_that_of_the_size(tmp_path, opened, order, dtype):
    image = (IMAGE % 200).astype(dtype)
    put(tmp_path, "scan.vol.info", INFO.replace("LOWBYTE", f"{order}BYTE"), image)
    volume = open_volume(tmp_path / opened)
    assert (volume.shape, volume.dtype) == (IMAGE.shape, np.dtype(dtype).newbyteorder("="))
    assert volume.spacing_mm == pytest.approx((0.0125,) * 3)
    assert ["the size of the file is that of" in warning for warning in volume.warnings] == [True] * ("4" not in dtype)
    np.testing.assert_array_equal(volume.read(WHOLE), image)


@pytest.mark.parametrize("opened", ["scan.vol", "scan.xtekct"])
@pytest.mark.parametrize("dtype", ["<f4", "<u2", "u1"])
def test_an_xtekct_file_says_all_but_the_type_which_is_that_of_the_size(tmp_path, opened, dtype):
    image = (IMAGE % 200).astype(dtype)
    put(tmp_path, "scan.xtekct", XTEKCT, image)
    volume = open_volume(tmp_path / opened)
    assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, np.dtype(dtype), "scan")
    assert volume.spacing_mm == (0.03, 0.02, 0.01)
    assert ["the size of the file is that of" in warning for warning in volume.warnings] == [True] * ("4" not in dtype)
    np.testing.assert_array_equal(volume.read(WHOLE), image)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("scan.vol.info", INFO.replace("NUM_Y", "NUM_V"), "does not say NUM_Y"),
        ("scan.vol.info", INFO.replace("50", "49"), r"which needs 129360 \(float32\) or 64680 \(uint16\) or 32340"),
        ("scan.vol.info", INFO.replace("LOWBYTEFIRST", "MIXED"), "BYTEORDER is 'MIXED'; it must be"),
        ("scan.vol.info", INFO.replace("33", "33.5"), "NUM_Y is '33.5', which is not a whole number"),
        ("scan.vol.info", INFO.replace("33", "nan"), "NUM_Y is 'nan', which is not a whole number"),
        ("scan.xtekct", XTEKCT.replace("[XTekCT]", "[CTPro]"), "has no section .XTekCT."),
        ("scan.xtekct", XTEKCT.replace("VoxelsZ=20", "VoxelsZ=0"), "every axis needs"),
    ],
)
def test_descriptions_of_the_esrf_and_nikon_that_do_not_fit_are_refused(tmp_path, name, text, message):
    put(tmp_path, name, text)
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / name)


def about_spacing(volume):
    return [text for text in volume.warnings if "the size of the file" not in text]


LAYOUT = f'{{"shape": {list(IMAGE.shape)}, "dtype": "uint16", "spacing_mm": SIZE}}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scan.vol.info", INFO.replace("1.25e+01", "0")),
        ("scan.vol.info", INFO.replace("1.25e+01", "unknown")),
        ("scan.xtekct", XTEKCT.replace("Units=mm", "Units=furlong", 1)),
        ("scan.xtekct", XTEKCT.replace("VoxelSizeZ=0.03", "VoxelSizeZ=")),
        ("scan.xtekct", XTEKCT.replace("VoxelSizeX=0.01", "VoxelSizeX=0")),
        ("scan.vol.json", LAYOUT.replace("SIZE", "0")),
        ("scan.vol.json", LAYOUT.replace("SIZE", "[0.01, 0.01, 0]")),
        ("scan.vgi", VGI.replace("0.01 0.02 0.03", "0.01 big 0.03")),
        ("scan.vgi", VGI.replace("0.01 0.02 0.03", "0.01 0.03")),
    ],
)
def test_a_voxel_size_that_is_none_is_not_known_and_no_reason_to_refuse_the_scan(tmp_path, name, text):
    put(tmp_path, name, text)
    volume = open_volume(tmp_path / "scan.vol")
    assert volume.spacing_mm is None
    assert len(about_spacing(volume)) == 1
    volume = open_volume(tmp_path / "scan.vol", spacing_mm=0.02)
    assert (volume.spacing_mm, about_spacing(volume)) == ((0.02,) * 3, [])


@pytest.mark.parametrize(("name", "text"), [("scan.vol.info", INFO), ("scan.xtekct", XTEKCT), ("scan.vgi", VGI)])
def test_another_spacing_than_that_of_the_description_is_said_with_its_name(tmp_path, name, text):
    put(tmp_path, name, text)
    (said,) = about_spacing(open_volume(tmp_path / "scan.vol", spacing_mm=0.5))
    assert said.startswith("--spacing says 0.5 mm a voxel, ")
    assert name in said


@pytest.mark.parametrize("name", ["scan.vol.info", "scan.xtekct", "scan.pcr", "scan.vgi"])
def test_a_description_without_its_data_names_them(tmp_path, name):
    (tmp_path / name).write_text({"info": INFO, "ekct": XTEKCT, ".pcr": PCR, ".vgi": VGI}[name[-4:]])
    with pytest.raises(InputError, match=rf"{name}: names the data file 'scan\.vol', which is not there"):
        open_volume(tmp_path / name)


@pytest.mark.parametrize("ending", ["pcr", "vgi"])
def test_a_description_names_no_file_outside_its_folder(tmp_path, ending):
    (tmp_path / "scan.vol").write_bytes(IMAGE.tobytes())
    (tmp_path / "a").mkdir()
    text = {"pcr": PCR.replace("D:\\data\\", "../"), "vgi": VGI.replace("C:\\scans\\", "../")}[ending]
    (tmp_path / "a" / f"scan.{ending}").write_text(text)
    with pytest.raises(InputError, match="which is not there"):
        open_volume(tmp_path / "a" / f"scan.{ending}")


@pytest.mark.parametrize(("name", "text"), [("scan.mhd", MHD), ("scan.nhdr", NRRD)])
def test_a_header_beside_a_raw_file_that_names_it_is_read(tmp_path, name, text):
    put(tmp_path, name, text)
    volume = open_volume(tmp_path / "scan.vol")
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
    assert volume.spacing_mm == ((0.03, 0.02, 0.01) if name == "scan.mhd" else None)
    (tmp_path / name).write_text(text.replace("scan.vol", "other.vol"))
    with pytest.raises(InputError, match="no description lies beside it"):
        open_volume(tmp_path / "scan.vol")


@pytest.mark.parametrize("name", ["scan.bin", "scan"])
def test_a_description_makes_any_file_a_raw_one(tmp_path, name):
    put(tmp_path, f"{name}.json", json.dumps(JSON), data=name)
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(WHOLE), IMAGE)


def test_descriptions_that_contradict_each_other_are_said(tmp_path):
    put(tmp_path, "scan.vgi", VGI)
    (tmp_path / "scan.xtekct").write_text(XTEKCT)
    assert open_volume(tmp_path / "scan.vol").warnings == ()
    (tmp_path / "scan.xtekct").write_text(XTEKCT.replace("SizeX=0.01", "SizeX=0.02"))
    (said,) = open_volume(tmp_path / "scan.vol").warnings
    assert "scan.vgi is believed, scan.xtekct says a spacing of 0.03, 0.02, 0.02 mm instead" in said
    (tmp_path / "scan.xtekct").write_text(
        XTEKCT.replace("VoxelsX=50", "VoxelsX=33").replace("VoxelsY=33", "VoxelsY=50")
    )
    assert "scan.xtekct says shape (20, 50, 33) instead" in open_volume(tmp_path / "scan.vol").warnings[0]
    (tmp_path / "scan.xtekct").write_text(XTEKCT.replace("VoxelsX=50", "VoxelsX=many"))
    assert "VoxelsX is 'many'" in open_volume(tmp_path / "scan.vol").warnings[0]


def test_the_spacing_may_come_from_the_second_description(tmp_path):
    put(tmp_path, "scan.vol.json", json.dumps({"shape": [20, 33, 50], "dtype": "uint16"}))
    (tmp_path / "scan.xtekct").write_text(XTEKCT)
    volume = open_volume(tmp_path / "scan.vol")
    assert (volume.spacing_mm, volume.warnings) == ((0.03, 0.02, 0.01), ())


@pytest.mark.parametrize(("name", "text"), [("scan.vgi", VGI), ("scan.pcr", PCR), ("scan.xtekct", XTEKCT)])
def test_a_decimal_comma_is_a_decimal_point(tmp_path, name, text):
    put(tmp_path, name, text.replace("0.0", "0,0"))
    assert open_volume(tmp_path / name).spacing_mm[2] == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["scan.vgi", "scan.pcr", "scan.vol.info", "scan.xtekct", "scan.vol.json"])
def test_a_damaged_description_is_refused_in_words(tmp_path, name):
    text = {"vgi": VGI, "pcr": PCR, "nfo": INFO, "kct": XTEKCT, "son": json.dumps(JSON)}[name[-3:]]
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(text.encode()[: rng.integers(0, len(text) + 1)])
        for _ in range(rng.integers(0, 3)):
            broken[rng.integers(max(1, len(broken))) : rng.integers(len(broken) + 1)] = bytes(rng.integers(0, 256, 2))
        put(tmp_path, name, broken.decode("latin-1"))
        try:
            open_volume(tmp_path / "scan.vol")
        except InputError as error:
            assert not re.search(r"(Key|Value|Type|Index|Attribute|Unicode)\w*Error", str(error)), error  # noqa: PT017
