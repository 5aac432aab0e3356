"""DICOM series: order by position, spacing, slope and intercept, and what is no one volume."""

import pickle
import random
import sys

import imagecodecs
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.io.open import open_volume

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 4000, (6, 10, 14), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
PLAIN, RLE, JPEG_LS, JPEG_2000, LOSSY_2000 = (
    f"1.2.840.10008.1.2.{ending}" for ending in ("1", "5", "4.80", "4.90", "4.91")
)
CT = "1.2.840.10008.5.1.4.1.1.2"


def image(pixels, syntax=PLAIN, **tags):
    """A DICOM image with the pixels that it stores: one frame, or several."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = CT
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CT, "1.2.3", "CT"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = pixels.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    for name, value in tags.items():
        setattr(data, name, value)
    codecs = {JPEG_LS: imagecodecs.jpegls_encode}
    codecs |= dict.fromkeys((JPEG_2000, LOSSY_2000), lambda page: imagecodecs.jpeg2k_encode(page, codecformat="j2k"))
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    if syntax in codecs:
        data.PixelData = encapsulate([codecs[syntax](frame) for frame in frames])
        data["PixelData"].is_undefined_length = True
    else:
        data.PixelData = pixels.tobytes()
        if syntax == RLE:
            data.file_meta.TransferSyntaxUID = PLAIN
            data.compress(RLE, generate_instance_uid=False)
    return data


def slice_tags(z, **tags):
    found = {
        "SeriesInstanceUID": "1.2.3.4",
        "InstanceNumber": 50 - z,
        "PixelSpacing": [0.02, 0.01],
        "ImagePositionPatient": [1.0, -2.0, -0.1 + 0.03 * z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    } | tags
    return {name: value for name, value in found.items() if value is not None}


def series(folder, pixels=IMAGE, syntax=PLAIN, name="IM{}", **tags):
    """Write one file a slice; names say nothing of the order."""
    folder.mkdir(exist_ok=True)
    numbers = list(range(len(pixels)))
    random.Random(0).shuffle(numbers)
    for number, (z, page) in zip(numbers, enumerate(pixels), strict=True):
        said = {key: value(z) if callable(value) else value for key, value in tags.items()}
        image(page, syntax, **slice_tags(z, **said)).save_as(folder / name.format(number), enforce_file_format=True)
    return folder


@pytest.mark.parametrize("name", ["IM{}", "slice{}.dcm", "x{}.IMA", "CT.1.2.{}"])
def test_slices_are_ordered_by_position_and_give_the_spacing(tmp_path, name):
    volume = open_volume(series(tmp_path / "scan", name=name))
    assert (volume.shape, volume.dtype, volume.name, volume.warnings) == (IMAGE.shape, IMAGE.dtype, "scan", ())
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    box = Box((1, 2, 3), (5, 9, 14))
    np.testing.assert_array_equal(volume.read(box), IMAGE[box.slices])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(box), IMAGE[box.slices])
    assert open_volume(tmp_path / "scan", spacing_mm=1).spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("syntax", [PLAIN, RLE, JPEG_LS, JPEG_2000, "1.2.840.10008.1.2"])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8, np.int16])
def test_compressed_slices_are_those_that_were_stored(tmp_path, syntax, dtype):
    if syntax == JPEG_LS and dtype == np.int16:
        pytest.skip("the encoder takes no signed pixels")
    pixels = IMAGE.astype(dtype)
    volume = open_volume(series(tmp_path / "scan", pixels, syntax))
    assert volume.dtype == dtype
    np.testing.assert_array_equal(volume.read(WHOLE), pixels)


def test_loss_is_said(tmp_path):
    (said,) = open_volume(series(tmp_path / "scan", syntax=LOSSY_2000)).warnings
    assert "compressed with loss" in said


@pytest.mark.parametrize("turned", [False, True])
def test_an_oblique_series_is_measured_along_its_normal(tmp_path, turned):
    c, s = np.cos(0.3), np.sin(0.3)
    orientation = [0, c, s, 1, 0, 0] if turned else [1, 0, 0, 0, c, s]
    normal = np.cross(orientation[:3], orientation[3:])
    folder = series(
        tmp_path / "scan",
        ImageOrientationPatient=[round(cosine, 10) for cosine in orientation],
        ImagePositionPatient=lambda z: [round(float(side), 8) for side in 7 + 0.25 * z * normal],
    )
    volume = open_volume(folder)
    assert volume.spacing_mm == pytest.approx((0.25, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


def test_slope_and_intercept_are_applied_slice_by_slice(tmp_path):
    folder = series(tmp_path / "scan", RescaleSlope=lambda z: 1 + z / 2, RescaleIntercept=-1000)
    volume = open_volume(folder)
    assert volume.dtype == np.float32
    expected = IMAGE * (1 + np.arange(6) / 2)[:, None, None] - 1000
    np.testing.assert_allclose(volume.read(WHOLE), expected, rtol=1e-6)


def test_one_and_zero_as_slope_and_intercept_keep_the_type(tmp_path):
    volume = open_volume(series(tmp_path / "scan", RescaleSlope=1, RescaleIntercept=0))
    assert volume.dtype == np.uint16


@pytest.mark.parametrize(("step_mm", "spacing_mm"), [(0.5, (0.5, 0.02, 0.01)), (None, None)])
def test_without_positions_the_number_orders_and_it_is_said(tmp_path, step_mm, spacing_mm):
    volume = open_volume(series(tmp_path / "scan", ImagePositionPatient=None, SpacingBetweenSlices=step_mm))
    assert volume.spacing_mm == spacing_mm
    assert ["in the order of their numbers" in said for said in volume.warnings] == [True]
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE[::-1])


def test_the_thickness_of_a_slice_is_no_distance(tmp_path):
    folder = series(tmp_path / "scan", ImagePositionPatient=None, SliceThickness=0.5)
    assert open_volume(folder).spacing_mm is None


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"SpacingBetweenSlices": 0.06}, "0.03 mm apart, their header says 0.06 mm"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "shown white (MONOCHROME1)"),
    ],
)
def test_what_is_odd_is_said(tmp_path, tags, said):
    (warning,) = open_volume(series(tmp_path / "scan", **tags)).warnings
    assert said in warning


def test_a_missing_slice_is_found(tmp_path):
    folder = series(tmp_path / "scan", name="{}.dcm")
    next(file for file in folder.iterdir() if pydicom.dcmread(file).InstanceNumber == 47).unlink()
    with pytest.raises(InputError, match=r"lie 0\.06 mm apart, the others 0\.03 mm \(1 missing\)"):
        open_volume(folder)


def test_a_pixel_size_of_0_is_none(tmp_path):
    folder = series(tmp_path / "scan", PixelSpacing=[0, 0])
    volume = open_volume(folder)
    assert volume.spacing_mm is None
    assert "0, 0 as the voxel size, which is none" in volume.warnings[0]
    volume = open_volume(folder, spacing_mm=0.01)
    assert (volume.spacing_mm, volume.warnings) == ((0.01,) * 3, ())


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"SeriesInstanceUID": lambda z: f"1.2.{z // 3}"}, "found 2 series"),
        ({"ImagePositionPatient": lambda z: [0, 0, max(z, 1)]}, "have the same position"),
        ({"ImagePositionPatient": lambda z: [0, 0, z + 0.3 * (z > 3)]}, "uneven steps"),
        ({"ImagePositionPatient": None, "InstanceNumber": None}, "6 of 6 images say neither where they lie nor"),
        ({"ImagePositionPatient": None, "InstanceNumber": 1}, "have the same number"),
        ({"ImageOrientationPatient": lambda z: [1, 0, 0, 0, z == 3, z != 3]}, "is turned against"),
        ({"PixelSpacing": lambda z: [0.02, 0.01 + 0.01 * (z == 3)]}, r"pixels of \(0\.02, 0\.02\)"),
        ({"PhotometricInterpretation": "RGB"}, "found colour .RGB."),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "found colour .PALETTE COLOR."),
    ],
)
def test_what_is_no_one_volume_is_refused(tmp_path, tags, message):
    folder = series(tmp_path / "scan", **tags)
    with pytest.raises(InputError, match=message):
        open_volume(folder)


def test_the_series_of_a_folder_are_named(tmp_path):
    series(tmp_path / "scan", SeriesDescription="0.01 mm")
    series(tmp_path / "scan", IMAGE[:2], name="S{}", SeriesInstanceUID="1.9", SeriesDescription="Scout")
    with pytest.raises(InputError, match="2 images of 'Scout'"):
        open_volume(tmp_path / "scan")


def test_slices_of_another_size_are_refused(tmp_path):
    series(tmp_path / "scan")
    image(IMAGE[0, :5], **slice_tags(6)).save_as(tmp_path / "scan" / "IM9", enforce_file_format=True)
    with pytest.raises(InputError, match=r"\(\(5, 14\), 'uint16'\)|\(\(10, 14\), 'uint16'\)"):
        open_volume(tmp_path / "scan")


@pytest.mark.parametrize("syntax", [PLAIN, RLE, JPEG_2000])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_slice_cut_short_is_refused_when_opened(tmp_path, syntax, share):
    folder = series(tmp_path / "scan", np.repeat(IMAGE, 9, axis=2), syntax, name="{}.dcm")
    whole = (folder / "3.dcm").read_bytes()
    (folder / "3.dcm").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"3\.dcm: .*(is not a DICOM file|cut short|cannot be read)"):
        open_volume(folder)


def test_other_files_are_left_alone_and_images_are_not(tmp_path):
    folder = series(tmp_path / "scan")
    (folder / "notes.txt").write_text("x")
    (folder / "README").write_text("x")
    directory = image(IMAGE[0])
    directory.SOPClassUID = "1.2.840.10008.1.3.10"
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    assert open_volume(folder).shape == IMAGE.shape
    for name in ("a1.png", "a2.png"):
        (folder / name).write_bytes(imagecodecs.png_encode(IMAGE[0]))
    with pytest.raises(InputError, match="found 7 DICOM and 2 PNG files"):
        open_volume(folder)


def frames(z):
    group, position, pixel, plane = Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, -0.03 * z]
    pixel.PixelSpacing = [0.02, 0.01]
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    group.PlanePositionSequence, group.PixelMeasuresSequence = Sequence([position]), Sequence([pixel])
    group.PlaneOrientationSequence = Sequence([plane])
    return group


@pytest.mark.parametrize("syntax", [PLAIN, JPEG_2000])
def test_a_file_of_many_frames_is_a_volume(tmp_path, syntax):
    groups = Sequence([frames(z) for z in range(6)])
    image(IMAGE, syntax, PerFrameFunctionalGroupsSequence=groups).save_as(
        tmp_path / "scan.dcm", enforce_file_format=True
    )
    volume = open_volume(tmp_path / "scan.dcm")
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE[::-1])


def test_frames_that_do_not_say_where_they_lie_keep_their_order(tmp_path):
    tags = slice_tags(0, SpacingBetweenSlices=0.5)
    image(IMAGE, **tags).save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    volume = open_volume(tmp_path / "scan.dcm")
    assert volume.spacing_mm == (0.5, 0.02, 0.01)
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


def test_one_slice_is_no_volume(tmp_path):
    folder = series(tmp_path / "scan", IMAGE[:1], name="{}.dcm")
    with pytest.raises(InputError, match=r"holds one image, 0\.dcm"):
        open_volume(folder / "0.dcm")


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    folder = series(tmp_path / "scan")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(CapabilityError, match=r'pip install "ps3d-rt\[dicom\]"'):
        open_volume(folder)


def test_a_file_without_an_image_is_refused(tmp_path):
    folder = series(tmp_path / "scan")
    report = image(IMAGE[0])
    del report.Rows
    report.save_as(folder / "REPORT", enforce_file_format=True)
    with pytest.raises(InputError, match="REPORT: holds no DICOM image"):
        open_volume(folder)


@pytest.mark.parametrize("syntax", [PLAIN, RLE, JPEG_2000])
def test_damaged_bytes_are_refused_in_words(tmp_path, syntax):
    folder = series(tmp_path / "scan", IMAGE[:3], syntax, name="{}.dcm")
    whole, rng = (folder / "1.dcm").read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole)
        broken[rng.integers(128, len(whole))] = rng.integers(256)
        (folder / "1.dcm").write_bytes(broken)
        try:
            with open_volume(folder) as volume:
                volume.read(Box.of_shape(volume.shape))
        except InputError as error:
            assert "scan" in str(error)  # noqa: PT017 - or the damage does not show
