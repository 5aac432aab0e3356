"""MetaImage, against SimpleITK."""

import zlib

import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
BOX = Box((1, 3, 4), (19, 11, 6))
TAGS = {"ObjectType": "Image", "NDims": "3", "DimSize": "50 33 20", "ElementType": "MET_USHORT"}


def write(path, data="LOCAL", content=None, **tags):
    """By hand: tags, and the voxels after them if they are local."""
    text = "".join(f"{tag} = {value}\n" for tag, value in (TAGS | tags | {"ElementDataFile": data}).items())
    path.write_bytes(text.encode() + ((IMAGE.tobytes() if content is None else content) if data == "LOCAL" else b""))
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_what_simpleitk_writes_is_read(tmp_path, compressed, name, dtype):
    itk = pytest.importorskip("SimpleITK")
    expected = (IMAGE % 200).astype(dtype)
    image = itk.GetImageFromArray(expected)
    image.SetSpacing((0.01, 0.02, 0.03))
    itk.WriteImage(image, str(tmp_path / name), useCompression=compressed)
    with open_volume(tmp_path / name) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, np.dtype(dtype), "scan")
        assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
        np.testing.assert_array_equal(volume.read(WHOLE), expected)
        np.testing.assert_array_equal(volume.read(BOX), expected[BOX.slices])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint32", "int64", "float32"])
def test_what_is_written_is_read_by_simpleitk(tmp_path, dtype):
    itk = pytest.importorskip("SimpleITK")
    image = (IMAGE % 200).astype(dtype)
    write_volume(tmp_path / "scan.mha", image, (0.03, 0.02, 0.01))
    found = itk.ReadImage(str(tmp_path / "scan.mha"))
    assert found.GetSpacing() == pytest.approx((0.01, 0.02, 0.03))
    np.testing.assert_array_equal(itk.GetArrayFromImage(found), image)
    assert itk.GetArrayFromImage(found).dtype == (np.uint8 if dtype == "bool" else dtype)


@pytest.mark.parametrize(
    ("tags", "spacing_mm"),
    [
        ({"ElementSpacing": "0.01 0.02 0.03"}, (0.03, 0.02, 0.01)),
        ({"ElementSize": "0.01 0.02 0.03"}, (0.03, 0.02, 0.01)),
        ({"ElementSpacing": "10 20 30", "DistanceUnits": "um"}, (0.03, 0.02, 0.01)),
        ({"ElementSpacing": "10 20 30", "DistanceUnits": "?"}, None),
        ({}, None),
    ],
)
def test_the_spacing_is_read(tmp_path, tags, spacing_mm):
    found = open_volume(write(tmp_path / "scan.mha", **tags)).spacing_mm
    assert found == (None if spacing_mm is None else pytest.approx(spacing_mm))


@pytest.mark.parametrize(
    ("tags", "spacing_mm", "remark"),
    [
        ({"ElementSpacing": "0 0 0"}, None, "which is none"),
        ({"ElementSpacing": "nan 10 10"}, None, "which is none"),
        ({"ElementSize": "10 10 none"}, None, "which is none"),
        ({"ElementSpacing": "1 1 1"}, None, "as programs do that do not know it"),
        ({"ElementSpacing": "1 1 1", "DistanceUnits": "mm"}, (1, 1, 1), "as programs do that do not know it"),
        ({"ElementSpacing": "10 10 20"}, (20, 10, 10), "micro-CT has"),
        ({"ElementSpacing": "10 20"}, None, "one number an axis"),
        ({"ElementSpacing": "10 10 10", "DistanceUnits": "furlong"}, None, "'furlong', which is not a length"),
        ({"ElementToIntensityFunctionSlope": "2"}, None, "times 2 plus 0"),
    ],
)
def test_what_programs_fill_in_is_no_spacing(tmp_path, tags, spacing_mm, remark):
    volume = open_volume(write(tmp_path / "scan.mha", **tags))
    assert volume.spacing_mm == spacing_mm
    assert remark in " ".join(volume.warnings)


@pytest.mark.parametrize("local", ["Local", "local", "LOCAL"])
@pytest.mark.parametrize(("sizes", "spacing"), [("50 33 20 1", ".01 .02 .03 1"), ("1 50 33 20", "1 .01 .02 .03")])
def test_axes_of_one_entry_are_dropped(tmp_path, local, sizes, spacing):
    path = write(tmp_path / "scan.mha", local, NDims=4, DimSize=sizes, ElementSpacing=spacing)
    path.write_bytes(path.read_bytes().removesuffix(IMAGE.tobytes()) + IMAGE.tobytes())
    volume = open_volume(path)
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


@pytest.mark.parametrize("named", ["LIST", "slice_%d.raw 8 27 1"])
def test_the_voxels_may_lie_in_several_files(tmp_path, named):
    names = [f"slice_{number}.raw" for number in range(8, 28)]
    for name, plane in zip(names, IMAGE, strict=True):
        plane.tofile(tmp_path / name)
    path = write(tmp_path / "scan.mhd", named)
    path.write_text(path.read_text().rstrip("\n") + "\n" + "\n".join(names) * (named == "LIST"))
    np.testing.assert_array_equal(open_volume(path).read(WHOLE), IMAGE)


def test_big_endian_voxels_are_read(tmp_path):
    path = write(tmp_path / "scan.mha", content=IMAGE.astype(">u2").tobytes(), BinaryDataByteOrderMSB="True")
    np.testing.assert_array_equal(open_volume(path).read(WHOLE), IMAGE)


@pytest.mark.parametrize("size", [9, -1])
def test_the_data_file_may_have_a_header(tmp_path, size):
    (tmp_path / "voxels.bin").write_bytes(b"123456789" + IMAGE.tobytes())
    path = write(tmp_path / "scan.mhd", "voxels.bin", HeaderSize=size)
    np.testing.assert_array_equal(open_volume(path).read(WHOLE), IMAGE)


@pytest.mark.parametrize("data", ["../secret.raw", "missing.raw", "LIST", "slice%03d.raw 1 20 1", "a\0b", "", "."])
def test_data_files_elsewhere_are_refused(tmp_path, data):
    IMAGE.tofile(tmp_path / "secret.raw")
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"outside of its folder|is not there|none follows|not a valid file name"):
        open_volume(write(tmp_path / "in" / "scan.mhd", data))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("keep", [0, 10, 90, 3000, -1])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, compressed, keep):
    content = zlib.compress(IMAGE.tobytes()) if compressed else None
    path = write(tmp_path / "scan.mha", content=content, CompressedData=compressed)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"scan\.mha: .*(copy or export|export it again)"):
        open_volume(path)


def test_compressed_voxels_that_are_too_few_are_refused(tmp_path):
    path = write(tmp_path / "scan.mha", content=zlib.compress(IMAGE.tobytes()[:-1]), CompressedData="True")
    with pytest.raises(InputError, match="holds 65999 bytes when unpacked, the header says 66000"):
        open_volume(path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ElementNumberOfChannels": "3"}, "found 3 channels"),
        ({"ElementType": "MET_STRING"}, "MET_STRING"),
        ({"BinaryData": "False"}, "are text"),
        ({"DimSize": "50 33"}, "2-D"),
        ({"DimSize": "50 33 twenty"}, "DimSize is '50 33 twenty'; it must be whole numbers"),
        ({"DimSize": ""}, "DimSize is ''"),
        ({"DimSize": "50 33 10 2"}, "4 axes"),
        ({"HeaderSize": "many"}, "HeaderSize is 'many'"),
    ],
)
def test_other_headers_are_refused(tmp_path, tags, message):
    with pytest.raises(InputError, match=message):
        open_volume(write(tmp_path / "scan.mha", **tags))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "scan.mha").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(InputError, match="the MetaImage header has no end"):
        open_volume(tmp_path / "scan.mha")


def test_a_dtype_that_metaimage_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match="MHA cannot hold float16"):
        write_volume(tmp_path / "scan.mha", IMAGE.astype(np.float16))
