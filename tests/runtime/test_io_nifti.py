"""NIfTI, against nibabel and SimpleITK."""

import gzip
import io
import tracemalloc

import nibabel
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
BOX = Box((1, 3, 4), (19, 11, 6))
NAMES = ["scan.nii", "scan.nii.gz"]


def write(path, image=IMAGE, *, kind=nibabel.Nifti1Image, unit="mm", zooms=(0.01, 0.02, 0.03)):
    """As a nibabel user would: axes x, y, z."""
    nifti = kind(np.moveaxis(image, (-3, -2, -1), (2, 1, 0)), None)
    nifti.header.set_zooms((*zooms, *[1] * (image.ndim - 3)))
    nifti.header.set_xyzt_units(unit)
    nibabel.save(nifti, path)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_x_y_z_become_z_y_x(tmp_path, name, kind):
    with open_volume(write(tmp_path / name, kind=kind)) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, np.uint16, "scan")
        assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01), rel=1e-9)
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize(("unit", "mm"), [("micron", 0.001), ("mm", 1), ("meter", 1000)])
def test_the_unit_is_honoured(tmp_path, unit, mm):
    volume = open_volume(write(tmp_path / "scan.nii", unit=unit, zooms=(1, 2, 4)))
    assert volume.spacing_mm == pytest.approx((4 * mm, 2 * mm, mm))


def test_without_a_unit_there_is_no_spacing(tmp_path):
    path = write(tmp_path / "scan.nii", unit="unknown")
    assert open_volume(path).spacing_mm is None
    assert open_volume(path, spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(
    ("unit", "sizes", "spacing_mm", "remark"),
    [
        ("mm", (0, 0, 0), None, "which is none"),
        ("mm", (0.01, 0.01, 0), None, "which is none"),
        ("mm", (0.01, np.nan, 0.01), None, "which is none"),
        ("unknown", (0.01, 0.02, 0.03), None, "no unit"),
        ("unknown", (1, 1, 1), None, "as programs do that do not know it"),
        ("mm", (1, 1, 1), (1, 1, 1), "as programs do that do not know it"),
        ("meter", (0.01, 0.01, 0.01), (10, 10, 10), "micro-CT has 0.00005 to 5 mm"),
        ("mm", (-0.01, 0.02, 0.03), (0.03, 0.02, 0.01), ""),
    ],
)
def test_what_programs_fill_in_is_no_spacing(tmp_path, name, kind, unit, sizes, spacing_mm, remark):
    path = write(tmp_path / name, kind=kind, unit=unit)
    opener = gzip.open if name.endswith("gz") else open
    with opener(path, "rb") as file:
        whole = bytearray(file.read())
    # pixdim, behind its first number
    place, letter = (80, "<f4") if kind is nibabel.Nifti1Image else (112, "<f8")
    packed = np.asarray(sizes, letter).tobytes()
    whole[place : place + len(packed)] = packed
    with opener(path, "wb") as file:
        file.write(whole)
    volume = open_volume(path)
    assert volume.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
    assert remark in " ".join(volume.warnings)
    assert remark or volume.warnings == ()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "float32", "float64", ">i2"])
def test_dtypes_are_kept(tmp_path, dtype):
    image = IMAGE.astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(image, (0, 1, 2), (2, 1, 0)), None, header), tmp_path / "scan.nii")
    volume = open_volume(tmp_path / "scan.nii")
    assert volume.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(volume.read(WHOLE), image)


@pytest.mark.parametrize("name", NAMES)
def test_scaled_values_are_those_that_nibabel_gives(tmp_path, name):
    nifti = nibabel.Nifti1Image(np.moveaxis(IMAGE.astype(np.int16), (0, 1, 2), (2, 1, 0)), None)
    nifti.header.set_slope_inter(0.5, -1024)
    nibabel.save(nifti, tmp_path / name)
    with open_volume(tmp_path / name) as volume:
        assert volume.dtype == np.float32
        expected = np.moveaxis(nibabel.load(tmp_path / name).get_fdata(), (0, 1, 2), (2, 1, 0))
        np.testing.assert_allclose(volume.read(BOX), expected[BOX.slices], rtol=1e-6)
    with pytest.raises(InputError, match="closed"):
        volume.read(BOX)


def test_a_time_axis_of_one_entry_is_dropped_and_more_are_refused(tmp_path):
    np.testing.assert_array_equal(open_volume(write(tmp_path / "one.nii", IMAGE[None])).read(WHOLE), IMAGE)
    with pytest.raises(InputError, match="4 axes"):
        open_volume(write(tmp_path / "two.nii", np.stack([IMAGE, IMAGE])))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, name, share):
    path = write(tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=rf"{name}: .*copy or export"):
        open_volume(path)


@pytest.mark.parametrize("content", [b"no nifti" * 100, gzip.compress(b"no nifti" * 100)])
def test_another_file_is_refused(tmp_path, content):
    name = NAMES[content.startswith(b"\x1f\x8b")]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: is not a NIfTI file, or its start is damaged; copy"):
        open_volume(tmp_path / name)


def test_a_gz_that_gzip_did_not_pack_is_refused(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(write(tmp_path / "scan.nii").read_bytes())
    with pytest.raises(InputError, match=r"scan\.nii\.gz: is not packed by gzip as its name says"):
        open_volume(tmp_path / "scan.nii.gz")


def test_a_gzip_file_cut_short_is_said_to_be(tmp_path):
    path = write(tmp_path / "scan.nii.gz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        InputError, match=r"the compressed voxels cannot be read to the end: the file is cut short; copy"
    ):
        open_volume(path)


def test_a_damaged_gzip_file_is_refused(tmp_path):
    path = write(tmp_path / "scan.nii.gz")
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 255
    path.write_bytes(broken)
    with pytest.raises(InputError, match="the compressed voxels cannot be read"):
        open_volume(path)


def test_without_room_to_unpack_the_message_says_where(tmp_path, monkeypatch):
    class FullDisk(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    path = write(tmp_path / "scan.nii.gz")
    monkeypatch.setattr("tempfile.TemporaryFile", FullDisk)
    with pytest.raises(InputError, match=r"no room to unpack \d+ bytes in .*No space left.*TMPDIR"):
        open_volume(path)


def test_unpacking_holds_a_block_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = write(tmp_path / "scan.nii.gz", np.zeros((100, 256, 256), np.uint16))
    tracemalloc.start()
    with open_volume(path) as volume:
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        assert volume.read(Box((50, 0, 0), (51, 2, 2))).shape == (1, 2, 2)
    tracemalloc.stop()
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint16", "uint32", "float64"])
def test_what_is_written_is_read_by_nibabel_and_simpleitk(tmp_path, name, dtype):
    write_volume(tmp_path / name, IMAGE.astype(dtype), (0.03, 0.02, 0.01))
    image = nibabel.load(tmp_path / name)
    assert (image.get_data_dtype(), image.header.get_xyzt_units()[0]) == (np.dtype(dtype), "mm")
    assert image.header.get_zooms() == pytest.approx((0.01, 0.02, 0.03))
    assert nibabel.affines.voxel_sizes(image.affine) == pytest.approx((0.01, 0.02, 0.03))
    np.testing.assert_array_equal(np.moveaxis(np.asarray(image.dataobj), (0, 1, 2), (2, 1, 0)), IMAGE)
    itk = pytest.importorskip("SimpleITK")
    image = itk.ReadImage(str(tmp_path / name))
    assert image.GetSpacing() == pytest.approx((0.01, 0.02, 0.03))
    np.testing.assert_array_equal(itk.GetArrayFromImage(image), IMAGE)


def test_a_side_too_long_for_nifti_1_is_written_as_nifti_2(tmp_path):
    write_volume(tmp_path / "long.nii", np.zeros((1, 1, 40000), np.uint8))
    assert isinstance(nibabel.load(tmp_path / "long.nii"), nibabel.Nifti2Image)


def test_a_dtype_that_nifti_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match="NIfTI cannot hold float16"):
        write_volume(tmp_path / "scan.nii", IMAGE.astype(np.float16))
    assert list(tmp_path.iterdir()) == []
