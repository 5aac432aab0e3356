"""TIFF files: what they may look like, and every way in which one can be broken."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io import tiff
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.tiff_values import Inversion, inversion_of
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
BOX = Box((1, 3, 4), (19, 11, 6))  # more pages than are decoded at once
LAYOUTS = {
    "plain": {"metadata": None},
    "described": {},
    "bigtiff": {"bigtiff": True, "metadata": None},
    "big endian": {"byteorder": ">", "metadata": None},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "ome 5-D": {"ome": True, "metadata": {"axes": "TCZYX"}},
    "deflate": {"compression": "zlib", "predictor": True},
    "lzw strips": {"compression": "lzw", "rowsperstrip": 8, "metadata": None},
    "tiles": {"tile": (16, 16), "compression": "zlib", "metadata": None},
    "one page record": {"truncate": True},
    "tiles with a depth": {"tile": (16, 16, 16), "metadata": None},
    "packed tiles with a depth": {"tile": (16, 16, 16), "compression": "zlib", "volumetric": True, "metadata": None},
}


def write(path, image=IMAGE, **options):
    if options.get("metadata") == {"axes": "TCZYX"}:
        image = image[None, None]
    tifffile.imwrite(path, image, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_reads_the_same_voxels(tmp_path, options):
    with open_volume(write(tmp_path / "scan.tif", **options), spacing_mm=0.01) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, IMAGE.dtype, "scan")
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
        assert volume.read(Box((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)
        assert volume.read(Box((1, 2, 3), (2, 2, 6))).shape == (1, 0, 3)
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32", "float64", "uint64"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_dtype_reads_as_it_is(tmp_path, dtype, compression):
    image = (IMAGE % 2).astype(dtype)
    with open_volume(write(tmp_path / "scan.tif", image, compression=compression, metadata=None)) as volume:
        assert volume.dtype == dtype
        np.testing.assert_array_equal(volume.read(WHOLE), image)


@pytest.mark.parametrize("metadata", [None, {}])
def test_slices_added_one_by_one_are_one_volume(tmp_path, metadata):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        for page in IMAGE:
            writer.write(page, photometric="minisblack", metadata=metadata)
    with open_volume(tmp_path / "scan.tif") as volume:
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize(
    ("unit", "mm"), [("um", 0.001), ("\\u00B5m", 0.001), ("micron", 0.001), ("mm", 1), ("inch", 25.4)]
)
def test_imagej_spacing_is_read_in_mm(tmp_path, unit, mm):
    metadata = {"axes": "ZYX", "spacing": 12.5, "unit": unit}
    write(tmp_path / "scan.tif", imagej=True, metadata=metadata, resolution=(1 / 4, 1 / 8))
    assert open_volume(tmp_path / "scan.tif").spacing_mm == pytest.approx((12.5 * mm, 8 * mm, 4 * mm))


def test_imagej_units_of_single_axes_are_read(tmp_path):
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um", "zunit": "mm", "yunit": "nm"}
    write(tmp_path / "scan.tif", imagej=True, metadata=metadata, resolution=(1 / 4, 1 / 8))
    assert open_volume(tmp_path / "scan.tif").spacing_mm == pytest.approx((2, 8e-6, 4e-3))


@pytest.mark.parametrize("unit", [b"\xb5m", "µm".encode(), "μm".encode()])
def test_imagej_may_write_the_micro_sign_as_it_likes(tmp_path, unit):
    metadata = {"axes": "ZYX", "spacing": 12.5, "unit": "?" * len(unit)}
    path = write(tmp_path / "scan.tif", imagej=True, metadata=metadata, resolution=(1 / 4, 1 / 8))
    path.write_bytes(path.read_bytes().replace(b"unit=" + b"?" * len(unit), b"unit=" + unit))
    assert open_volume(path).spacing_mm == pytest.approx((0.0125, 0.008, 0.004))


@pytest.mark.parametrize(
    ("metadata", "resolution", "remark"),
    [
        ({"spacing": 1.0, "unit": "inch"}, (72, 72), "that of a screen"),
        ({"unit": "mm"}, (100, 100), "no distance between slices"),
        ({"spacing": 0.0, "unit": "mm"}, (100, 100), "which is none"),
        ({"spacing": 0.01}, (100, 100), "no unit"),
        ({"spacing": 0.01, "unit": "pixel"}, (100, 100), "'pixel', which is not a length"),
    ],
)
def test_what_programs_fill_in_is_no_spacing(tmp_path, metadata, resolution, remark):
    write(tmp_path / "scan.tif", imagej=True, metadata={"axes": "ZYX", **metadata}, resolution=resolution)
    volume = open_volume(tmp_path / "scan.tif")
    assert volume.spacing_mm is None
    assert remark in " ".join(volume.warnings)


@pytest.mark.parametrize(("unit", "known"), [({}, False), (dict.fromkeys(("Z", "Y", "X"), "µm"), True)])
def test_ome_of_one_micrometre_is_doubted_and_without_unit_not_known(tmp_path, unit, known):
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"} | {f"PhysicalSize{a}Unit": u for a, u in unit.items()}
    volume = open_volume(write(tmp_path / "scan.ome.tif", ome=True, metadata={"axes": "ZYX", **sizes}))
    assert (volume.spacing_mm is not None) == known
    assert "as programs do that do not know it" in " ".join(volume.warnings)


def test_imagej_spacing_may_be_negative(tmp_path):
    metadata = {"axes": "ZYX", "spacing": -0.02, "unit": "mm"}
    write(tmp_path / "scan.tif", imagej=True, metadata=metadata, resolution=(100, 100))
    assert open_volume(tmp_path / "scan.tif").spacing_mm == pytest.approx((0.02, 0.01, 0.01))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "bool"])
def test_white_is_zero_is_turned_round_and_said(tmp_path, compression, dtype):
    image = (IMAGE % 200 if dtype != "bool" else IMAGE % 2).astype(dtype)
    path = tmp_path / "scan.tif"
    byteorder = ">" if dtype == ">u2" else "<"
    said = {"photometric": "miniswhite", "software": "a scanner"}
    tifffile.imwrite(path, image, compression=compression, metadata=None, byteorder=byteorder, **said)
    expected = ~image if dtype == "bool" else np.iinfo(image.dtype).max - image
    with open_volume(path) as volume:
        assert volume.dtype == image.dtype.newbyteorder("=")
        assert "WhiteIsZero" in " ".join(volume.warnings)
        np.testing.assert_array_equal(volume.read(WHOLE), expected)
        np.testing.assert_array_equal(volume.read(BOX), expected[BOX.slices])


@pytest.mark.parametrize("options", [{"rowsperstrip": 8}, {"tile": (16, 16)}])
def test_a_page_that_lacks_strips_or_tiles_is_refused(tmp_path, options):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, IMAGE, compression="zlib", metadata=None, **options)
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["ImageLength"].overwrite(IMAGE.shape[1] + 1000)
        needed = len(tif.pages.first.dataoffsets)
    with pytest.raises(InputError, match=rf"scan\.tif: page 0 has {needed} of the \d+ strips or tiles"):
        open_volume(path)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"metadata": None}])
def test_a_mask_that_tifffile_writes_is_read_as_tifffile_reads_it(tmp_path, options):
    mask = IMAGE % 5 == 0
    tifffile.imwrite(tmp_path / "mask.tif", mask, **options)
    (tmp_path / "slices").mkdir()
    for z, page in enumerate(mask):
        tifffile.imwrite(tmp_path / "slices" / f"s{z:02d}.tif", page, **options)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), mask)
    for path in (tmp_path / "mask.tif", tmp_path / "slices"):
        with open_volume(path) as volume:
            np.testing.assert_array_equal(volume.read(WHOLE), mask)
            assert volume.warnings == ()


def test_white_of_12_bits_is_counted_from_the_largest_number_of_12_bits():
    page = SimpleNamespace(photometric=0, dtype="uint16", bitspersample=12, software="")
    assert inversion_of(page, "scan.tif") == Inversion(4095)
    np.testing.assert_array_equal(Inversion(4095)(np.array([0, 95, 4095], np.uint16)), [4095, 4000, 0])


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_white_is_zero_without_a_blackest_black_is_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "scan.tif", IMAGE.astype(dtype), photometric="miniswhite")
    with pytest.raises(InputError, match=r"WhiteIsZero.*save it as BlackIsZero"):
        open_volume(tmp_path / "scan.tif")


def test_slices_where_white_is_zero_are_turned_round_too(tmp_path):
    for z, page in enumerate(IMAGE):
        tifffile.imwrite(tmp_path / f"s{z:02d}.tif", page, photometric="miniswhite")
    volume = open_volume(tmp_path)
    np.testing.assert_array_equal(volume.read(WHOLE), 65535 - IMAGE)
    assert "WhiteIsZero" in " ".join(volume.warnings)


def test_signed_16_bit_of_imagej_is_signed(tmp_path):
    signed = IMAGE.astype(np.int32) - 2**15
    calibration = {"cf": 0, "c0": -32768.0, "c1": 1.0, "vunit": "Gray Value"}
    path = write(tmp_path / "scan.tif", imagej=True, metadata={"axes": "ZYX", **calibration})
    volume = open_volume(path)
    assert volume.dtype == np.int16
    np.testing.assert_array_equal(volume.read(WHOLE), signed)
    np.testing.assert_array_equal(volume.read(BOX), signed[BOX.slices])


def test_the_line_of_signed_16_bit_over_8_bit_is_a_line_like_any_other(tmp_path):
    image, calibration = (IMAGE % 256).astype(np.uint8), {"cf": 0, "c0": -32768.0, "c1": 1.0}
    volume = open_volume(write(tmp_path / "scan.tif", image, imagej=True, metadata={"axes": "ZYX", **calibration}))
    np.testing.assert_array_equal(volume.read(BOX), image[BOX.slices].astype(np.float32) - 32768)


def test_a_straight_line_of_imagej_is_computed(tmp_path):
    metadata = {"axes": "ZYX", "cf": 0, "c0": -1000.0, "c1": 0.5}
    volume = open_volume(write(tmp_path / "scan.tif", imagej=True, metadata=metadata))
    assert volume.dtype == np.float32
    np.testing.assert_allclose(volume.read(WHOLE), IMAGE * 0.5 - 1000)


@pytest.mark.parametrize("calibration", [{"cf": 1, "c0": 1, "c1": 2, "c2": 3}, {"cf": 21}, {"cf": 0, "c0": 1, "c1": 0}])
def test_another_curve_of_imagej_is_left_aside_and_said(tmp_path, calibration):
    volume = open_volume(write(tmp_path / "scan.tif", imagej=True, metadata={"axes": "ZYX", **calibration}))
    assert "not linear" in " ".join(volume.warnings)
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


@pytest.mark.parametrize(("colours", "said"), [("ramp", False), ("fire", True), ("falling", True)])
def test_colours_of_a_palette_are_said_unless_they_are_gray(tmp_path, colours, said):
    ramp = np.arange(256, dtype=np.uint16) * 257
    table = {"ramp": [ramp] * 3, "fire": [ramp, ramp // 2, ramp // 4], "falling": [ramp[::-1]] * 3}[colours]
    image = (IMAGE % 256).astype(np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", image, photometric="palette", colormap=np.stack(table), metadata=None)
    volume = open_volume(tmp_path / "scan.tif")
    np.testing.assert_array_equal(volume.read(WHOLE), image)
    assert ("numbers of colours" in " ".join(volume.warnings)) == said


@pytest.mark.parametrize("axes", ["CYX", "TYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_slices_marked_as_another_axis_are_refused_with_the_cure(tmp_path, axes, kind):
    write(tmp_path / "scan.tif", **{kind: True}, metadata={"axes": axes})
    with pytest.raises(InputError, match=r"found 20 (channels|time points).*set slices \(z\) to 20.*Properties"):
        open_volume(tmp_path / "scan.tif")


@pytest.mark.parametrize("metadata", [{"spacing": 2.0}, {"unit": "um"}, {"spacing": 2.0, "unit": "pixel"}])
def test_imagej_without_unit_or_slice_spacing_has_no_spacing(tmp_path, metadata):
    write(tmp_path / "scan.tif", imagej=True, metadata={"axes": "ZYX", **metadata}, resolution=(1 / 4, 1 / 8))
    assert open_volume(tmp_path / "scan.tif").spacing_mm is None


def test_ome_spacing_is_read_in_mm_and_without_unit_in_micrometres(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 30.0, "PhysicalSizeY": 0.02, "PhysicalSizeX": 10000.0}
    metadata |= {"PhysicalSizeYUnit": "mm", "PhysicalSizeXUnit": "nm"}
    write(tmp_path / "scan.ome.tif", ome=True, metadata=metadata)
    volume = open_volume(tmp_path / "scan.ome.tif")
    assert (volume.name, volume.spacing_mm) == ("scan", pytest.approx((0.03, 0.02, 0.01)))


def test_a_given_spacing_wins(tmp_path):
    metadata = {"axes": "ZYX", "spacing": 12.5, "unit": "um"}
    write(tmp_path / "scan.tif", imagej=True, metadata=metadata, resolution=(1 / 4, 1 / 8))
    assert open_volume(tmp_path / "scan.tif", spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)


def test_a_plain_tiff_has_no_spacing(tmp_path):
    write(tmp_path / "scan.tif", metadata=None, resolution=(100, 100), resolutionunit="CENTIMETER")
    assert open_volume(tmp_path / "scan.tif").spacing_mm is None


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.3, 0.6, 0.95])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, options, share):
    path = write(tmp_path / "scan.tif", **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"scan\.tif: .*copy or export"):
        open_volume(path)


@pytest.mark.parametrize(("name", "refused"), [("scan.tif", "scan.tif"), ("folder", "s1.tif")])
def test_what_is_no_tiff_is_said_to_be_none(tmp_path, name, refused):
    (tmp_path / "folder").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "folder" / f"s{number}.tif", IMAGE[0])
    for path in (tmp_path / "folder" / "s1.tif", tmp_path / "scan.tif"):
        path.write_bytes(b"This is a letter.\n")
    with pytest.raises(
        InputError, match=rf"{refused}: is not a TIFF file, or its start is damaged; copy or export it again"
    ):
        open_volume(tmp_path / name)


def test_a_tile_larger_than_the_memory_is_refused_in_words(tmp_path, monkeypatch):
    path = write(tmp_path / "scan.tif", tile=(16, 16, 16), compression="zlib")

    def fail(*given, **more):
        raise MemoryError

    volume = open_volume(path)
    monkeypatch.setattr(type(volume._array), "__getitem__", fail)
    with pytest.raises(InputError, match=r"takes more memory than there is.*are wrong\.$"), volume:
        volume.read(Box.of_shape(volume.shape))


def test_a_page_that_cannot_be_decoded_is_refused_when_read(tmp_path):
    path = write(tmp_path / "scan.tif", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tif:
        offset, size = tif.pages[7].dataoffsets[0], tif.pages[7].databytecounts[0]
    broken = bytearray(path.read_bytes())
    broken[offset : offset + size] = bytes(size)
    path.write_bytes(broken)
    with open_volume(path) as volume:
        assert volume.read(Box((16, 0, 0), (20, 1, 1))).shape == (4, 1, 1)
        with pytest.raises(InputError, match=r"scan\.tif: pages 0 to 15 cannot be read"):
            volume.read(WHOLE)


def test_a_page_without_data_is_refused(tmp_path):
    path = write(tmp_path / "scan.tif", compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags["StripByteCounts"].overwrite(0)
    with pytest.raises(InputError, match="page 0 has no data"):
        open_volume(path)


def test_colour_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((5, 8, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="found 3 colour samples per pixel"):
        open_volume(tmp_path / "scan.tif")


def test_channels_are_refused(tmp_path):
    image = np.zeros((5, 2, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "scan.tif", image, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(InputError, match="found 2 channels"):
        open_volume(tmp_path / "scan.tif")


def test_complex_voxels_are_refused(tmp_path):
    write(tmp_path / "scan.tif", IMAGE.astype(np.complex64))
    with pytest.raises(InputError, match="the voxels are complex64"):
        open_volume(tmp_path / "scan.tif")


def test_a_single_image_is_refused(tmp_path):
    write(tmp_path / "scan.tif", IMAGE[0])
    with pytest.raises(InputError, match="single 2-D image"):
        open_volume(tmp_path / "scan.tif")


@pytest.mark.parametrize("second", [IMAGE[0, :20], IMAGE[0].astype(np.uint8)])
def test_pages_that_differ_are_refused(tmp_path, second):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        writer.write(IMAGE[0], metadata=None)
        writer.write(second, metadata=None)
    with pytest.raises(InputError, match="all slices of a volume have one shape and type"):
        open_volume(tmp_path / "scan.tif")


def ome_description(slices, planes):
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="50" SizeY="33" '
        f'SizeZ="{slices}" SizeC="1" SizeT="1"><Channel ID="Channel:0" SamplesPerPixel="1"/>{planes}</Pixels></Image>'
        "</OME>"
    )


def test_an_ome_tiff_may_not_lead_to_other_files(tmp_path):
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(["a.ome.tif", "b.ome.tif"])
    )
    write(tmp_path / "a.ome.tif", IMAGE[:1], metadata=None, description=ome_description(2, planes))
    write(tmp_path / "b.ome.tif", IMAGE[1:2], metadata=None)
    with pytest.raises(InputError, match="the OME metadata name other files"):
        open_volume(tmp_path / "a.ome.tif")


def test_an_ome_tiff_with_fewer_pages_than_it_says_is_refused(tmp_path):
    description = ome_description(21, '<TiffData IFD="0" PlaneCount="21"/>')
    write(tmp_path / "scan.ome.tif", metadata=None, description=description)
    with pytest.raises(InputError, match="slice 20 is missing"):
        open_volume(tmp_path / "scan.ome.tif")


@pytest.mark.parametrize(("most", "is_big"), [(IMAGE.nbytes, False), (IMAGE.nbytes - 1, True)])
def test_what_does_not_fit_into_4_gb_is_written_with_64_bit_offsets(tmp_path, monkeypatch, most, is_big):
    monkeypatch.setattr(tiff, "_CLASSIC_BYTES", most)
    write_volume(tmp_path / "scan.tif", IMAGE, 0.01)
    with tifffile.TiffFile(tmp_path / "scan.tif") as tif:
        assert tif.is_bigtiff == is_big
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.tif").read(BOX), IMAGE[BOX.slices])
