"""Folders of slices: which files are one volume, and every format of a slice."""

import os
import pickle
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (12, 15, 16), dtype=np.uint16)


def write_slices(folder, image=IMAGE, **options):
    folder.mkdir()
    for index, page in enumerate(image):
        tifffile.imwrite(folder / f"s{index}.tif", page, photometric="minisblack", **options)
    return folder


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_slices_are_read_in_natural_order(tmp_path, compression):
    folder = write_slices(tmp_path / "scan.01", compression=compression)
    with open_volume(folder, spacing_mm=0.01) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, IMAGE.dtype, "scan.01")
        box = Box((1, 2, 3), (12, 15, 7))
        np.testing.assert_array_equal(volume.read(box), IMAGE[box.slices])
        assert volume.read(Box((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)
        assert volume.read(Box((1, 2, 3), (2, 2, 6))).shape == (1, 0, 3)


def test_other_and_hidden_files_are_left_alone(tmp_path):
    folder = write_slices(tmp_path / "scan")
    (folder / "scan.log").write_text("x")
    (folder / "._s0.tif").write_bytes(b"x")
    assert open_volume(folder).shape == IMAGE.shape


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no slices \(\.tif.*\.jpeg\), it is empty"):
        open_volume(tmp_path)
    (tmp_path / "rec").mkdir()
    with pytest.raises(InputError, match=r"; it holds rec/: give a folder of slices"):
        open_volume(tmp_path)
    (tmp_path / "scan.vol").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds no slices .*; it holds scan\.vol: give .* or the file itself"):
        open_volume(tmp_path)


@pytest.mark.parametrize("odd", [IMAGE[0, :-1], IMAGE[0].astype(np.uint8)])
@pytest.mark.parametrize("at", [0, 11])
def test_slices_of_another_shape_or_dtype_are_refused(tmp_path, odd, at):
    folder = write_slices(tmp_path / "scan")
    tifffile.imwrite(folder / f"s{at}.tif", odd)
    with pytest.raises(InputError, match=rf"s{at}\.tif: the slice is .*, the other 11 are \(15, 16\) uint16"):
        open_volume(folder)


@pytest.mark.parametrize("share", [0, 0.1, 0.9])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_slice_cut_short_is_refused_when_opened(tmp_path, share, compression):
    folder = write_slices(tmp_path / "scan", compression=compression)
    whole = (folder / "s11.tif").read_bytes()
    (folder / "s11.tif").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"s11\.tif: .*copy or export"):
        open_volume(folder)


def test_a_slice_that_is_gone_is_refused_when_read(tmp_path):
    folder = write_slices(tmp_path / "scan")
    with open_volume(folder) as volume:
        (folder / "s4.tif").unlink()
        with pytest.raises(InputError, match=r"s4\.tif: the TIFF slice cannot be read"):
            volume.read(Box.of_shape(volume.shape))


def test_colour_slices_are_refused(tmp_path):
    (tmp_path / "scan").mkdir()
    for name in ("s1.tif", "s2.tif"):
        tifffile.imwrite(tmp_path / "scan" / name, np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"s1\.tif: found 3 colour samples"):
        open_volume(tmp_path / "scan")


def test_files_with_several_pages_are_refused(tmp_path):
    folder = write_slices(tmp_path / "scan")
    tifffile.imwrite(folder / "s3.tif", IMAGE[:2], metadata=None)
    with pytest.raises(InputError, match=r"s3\.tif: holds 2 pages"):
        open_volume(folder)


def bmp(image, palette=None, *, bits=8, top_first=False):
    """A BMP file; rows lie from the bottom up and are padded to four bytes."""
    height, width = image.shape
    palette = np.arange(256) if palette is None else palette
    table = np.zeros((256, 4), np.uint8)
    table[:, :3] = palette[:, None] if palette.ndim == 1 else palette
    rows = np.pad(image if top_first else image[::-1], ((0, 0), (0, -width % 4))).tobytes()
    start = 54 + table.size
    head = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start)
    size = struct.pack("<IiiHHIIiiII", 40, width, -height if top_first else height, 1, bits, 0, len(rows), 0, 0, 0, 0)
    return head + size + table.tobytes() + rows


SMALL = (IMAGE >> 8).astype(np.uint8)
ENCODED = {
    "png of 8 bit": (SMALL, ".png", imagecodecs.png_encode),
    "png of 16 bit": (IMAGE, ".PNG", imagecodecs.png_encode),
    "bmp": (SMALL, ".bmp", bmp),
    "bmp, narrow": (SMALL[:, :, :13], ".bmp", bmp),
    "bmp from the top": (SMALL, ".bmp", lambda page: bmp(page, top_first=True)),
    "jp2": (IMAGE, ".jp2", lambda page: imagecodecs.jpeg2k_encode(page, reversible=True)),
    "j2k of 8 bit": (SMALL, ".j2k", lambda page: imagecodecs.jpeg2k_encode(page, reversible=True, codecformat="j2k")),
    "jp2, signed": (
        IMAGE.astype(np.int16),
        ".jp2",
        lambda page: imagecodecs.jpeg2k_encode(page, reversible=True),
    ),
}


def write_encoded(folder, image, ending, encode):
    folder.mkdir()
    for index, page in enumerate(image):
        (folder / f"s{index}{ending}").write_bytes(encode(np.ascontiguousarray(page)))
    return folder


@pytest.mark.parametrize(("image", "ending", "encode"), ENCODED.values(), ids=ENCODED)
def test_every_format_of_slices_is_read_voxel_for_voxel(tmp_path, image, ending, encode):
    volume = open_volume(write_encoded(tmp_path / "scan", image, ending, encode), spacing_mm=0.01)
    assert (volume.shape, volume.dtype, volume.warnings) == (image.shape, image.dtype, ())
    box = Box((3, 2, 1), (11, 15, 9))
    np.testing.assert_array_equal(volume.read(box), image[box.slices])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(box), image[box.slices])


def smooth():
    y, x = np.indices((64, 48))
    return (y + 2 * x + np.arange(5)[:, None, None]).astype(np.uint8)


@pytest.mark.parametrize(
    ("ending", "encode", "said"),
    [
        (".jpg", lambda page: imagecodecs.jpeg_encode(page, level=95), "are JPEG, which has lost detail"),
        (
            ".jpeg",
            lambda page: imagecodecs.jpeg_encode(page.astype(np.uint16) * 16, level=95, bitspersample=12),
            "JPEG",
        ),
        (".jp2", lambda page: imagecodecs.jpeg2k_encode(page, level=60), "are JPEG 2000 with loss"),
    ],
)
def test_loss_is_said_once(tmp_path, ending, encode, said):
    image = smooth()
    volume = open_volume(write_encoded(tmp_path / "scan", image, ending, encode))
    assert [said in warning for warning in volume.warnings] == [True]
    found = volume.read(Box.of_shape(volume.shape)) // (1 if volume.dtype == np.uint8 else 16)
    assert np.abs(found.astype(int) - image).max() <= 2


@pytest.mark.parametrize("encode", [lambda page: bmp(page, 255 - np.arange(256))])
def test_a_gray_palette_gives_the_gray_values_that_it_shows(tmp_path, encode):
    volume = open_volume(write_encoded(tmp_path / "scan", SMALL, ".bmp", encode))
    np.testing.assert_array_equal(volume.read(Box.of_shape(volume.shape)), 255 - SMALL)
    assert "gray palette that is not in order" in volume.warnings[0]


COLOURS = np.stack([np.arange(256), np.zeros(256), np.zeros(256)], 1).astype(np.uint8)


@pytest.mark.parametrize(
    ("ending", "encode", "message"),
    [
        (".bmp", lambda page: bmp(page, COLOURS), "the palette has colours"),
        (".bmp", lambda page: bmp(page, bits=24), "found 24 bits per pixel"),
        (".bmp", lambda page: bmp(page)[:-3], "cut short"),
        (".bmp", lambda page: b"x" + bmp(page), "is not a BMP file"),
        (".png", lambda page: imagecodecs.png_encode(np.stack([page] * 3, -1)), "found colour"),
        (".png", lambda page: imagecodecs.png_encode(page)[:-5], "cut short"),
        (".png", lambda page: b"", "is not a PNG file"),
        (".jpg", lambda page: imagecodecs.jpeg_encode(np.stack([page] * 3, -1)), "found 3 colour samples"),
        (".jpg", lambda page: imagecodecs.jpeg_encode(page)[:-9], "cut short"),
        (".jpg", imagecodecs.png_encode, "is not a JPEG file"),
        (".jpg", lambda page: imagecodecs.jpeg_encode(page)[:20], "no size of the image"),
        (".jp2", lambda page: imagecodecs.jpeg2k_encode(np.stack([page] * 3, -1)), "found 3 colour samples"),
        (".jp2", lambda page: imagecodecs.jpeg2k_encode(page)[:-9], "cut short"),
        (".jp2", lambda page: imagecodecs.jpeg2k_encode(page)[:60], "is not a JPEG 2000 file"),
        (".j2k", lambda page: imagecodecs.jpeg2k_encode(page, codecformat="j2k")[:-9], "cut short"),
        (".tif", lambda page: b"II*\0", "cannot be read"),
    ],
)
def test_slices_that_cannot_be_used_are_refused_when_opened(tmp_path, ending, encode, message):
    folder = write_encoded(tmp_path / "scan", SMALL, ending, encode)
    with pytest.raises(InputError, match=rf"s0\{ending}: .*{message}"):
        open_volume(folder)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".jpg", ".jp2", ".j2k"])
def test_a_slice_of_any_bytes_is_refused_in_words(tmp_path, ending):
    encode = next(
        encode for _, end, encode in [*ENCODED.values(), (0, ".jpg", imagecodecs.jpeg_encode)] if end == ending
    )
    whole = encode(SMALL[0])
    folder = write_encoded(tmp_path / "scan", SMALL[:2], ending, lambda page: whole)
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        broken[rng.integers(0, min(len(broken), 64))] = rng.integers(256)
        (folder / f"s1{ending}").write_bytes(broken)
        try:
            volume = open_volume(folder)
            volume.read(Box.of_shape(volume.shape))
        except InputError as error:
            assert f"s1{ending}: " in str(error) or "when the folder was opened" in str(error)  # noqa: PT017


def test_copies_and_gaps_are_refused_and_odd_numbers_said(tmp_path):
    folder = write_slices(tmp_path / "scan")
    (folder / "s4.tif").rename(folder / "s12.tif")
    with pytest.raises(
        InputError, match=r"scan: the numbers of the 12 slices have gaps: s3\.tif is followed by s5\.tif"
    ):
        open_volume(folder)
    (folder / "s12.tif").rename(folder / "s4.tif")
    (folder / "s3 (1).tif").write_bytes((folder / "s3.tif").read_bytes())
    with pytest.raises(InputError, match=r"s3 \(1\)\.tif looks like a copy"):
        open_volume(folder)
    (folder / "s3 (1).tif").unlink()
    for index in range(12):
        (folder / f"s{index}.tif").rename(folder / f"z{index - 6}.tif")
    volume = open_volume(folder)
    np.testing.assert_array_equal(volume.read(Box.of_shape(IMAGE.shape)), IMAGE)
    assert "in the order of the numbers -6 to 5" in volume.warnings[0]


def test_two_formats_in_one_folder(tmp_path):
    folder = write_slices(tmp_path / "scan")
    (folder / "preview.png").write_bytes(imagecodecs.png_encode(SMALL[0]))
    assert ["preview.png is left aside" in warning for warning in open_volume(folder).warnings] == [True]
    (folder / "preview2.png").write_bytes(imagecodecs.png_encode(SMALL[0]))
    with pytest.raises(InputError, match="found 12 TIFF files and 2 PNG files"):
        open_volume(folder)


def test_slices_of_an_earlier_reconstruction_are_said(tmp_path):
    folder = write_slices(tmp_path / "scan")
    os.utime(folder / "s11.tif", (1e9, 1e9))
    assert [r"s11.tif was written" in warning for warning in open_volume(folder).warnings] == [True]


def test_a_slice_that_changes_while_it_is_read_is_refused(tmp_path):
    folder = write_slices(tmp_path / "scan")
    with open_volume(folder) as volume:
        tifffile.imwrite(folder / "s4.tif", SMALL[0])
        with pytest.raises(InputError, match=r"slice 4 is \(15, 16\) uint8 now"):
            volume.read(Box.of_shape(volume.shape))


def test_white_is_zero_palettes_and_signed_slices_of_imagej(tmp_path):
    for name, options in {"white": {"photometric": "miniswhite"}, "palette": {"photometric": "palette"}}.items():
        (tmp_path / name).mkdir()
        if name == "palette":
            options["colormap"] = np.stack([np.arange(256), np.zeros(256), np.zeros(256)]).astype(np.uint16)
        for index, page in enumerate(SMALL):
            tifffile.imwrite(tmp_path / name / f"s{index}.tif", page, **options)
    white, palette = open_volume(tmp_path / "white"), open_volume(tmp_path / "palette")
    np.testing.assert_array_equal(white.read(Box.of_shape(SMALL.shape)), 255 - SMALL)
    np.testing.assert_array_equal(palette.read(Box.of_shape(SMALL.shape)), SMALL)
    assert "the slices say that white is 0" in white.warnings[0]
    assert "the slices store numbers of colours" in palette.warnings[0]

    (tmp_path / "signed").mkdir()
    signed = IMAGE.astype(np.int32) - 2**15
    for index, page in enumerate(IMAGE):
        calibration = {"cf": 0, "c0": -32768.0, "c1": 1.0}
        tifffile.imwrite(tmp_path / "signed" / f"s{index}.tif", page, imagej=True, metadata=calibration)
    volume = open_volume(tmp_path / "signed")
    assert volume.dtype == np.int16
    np.testing.assert_array_equal(volume.read(Box.of_shape(IMAGE.shape)), signed)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(Box.of_shape(IMAGE.shape)), signed)
    tifffile.imwrite(tmp_path / "signed" / "s3.tif", IMAGE[3], imagej=True)
    with pytest.raises(InputError, match="several calibrations"):
        open_volume(tmp_path / "signed")


XTEKCT = "[XTekCT]\nVoxelsX=64\nDetectorPixelsX=16\nDetectorPixelsY=15\nProjections=12\n"
PCA = "[Detector]\nNrPixelsX=16\nNrPixelsY=15\n[CT]\nNumberImages=12\n"


@pytest.mark.parametrize(
    ("name", "text", "outcome"),
    [
        ("scan.xtekct", XTEKCT, "refused"),
        ("scan.xtekct", XTEKCT.replace("=12", "=900"), "said"),
        ("scan.xtekct", XTEKCT.replace("X=16", "X=64"), "fine"),
        ("scan.pca", PCA, "said"),
        ("scan.pca", PCA.replace("=15", "=99"), "fine"),
        ("scan.pca", "no ini", "fine"),
        ("scan.pca", "[x", "fine"),
    ],
)
def test_projections_are_not_taken_for_slices(tmp_path, name, text, outcome):
    folder = write_slices(tmp_path / "scan")
    (folder / name).write_text(text)
    if outcome == "refused":
        with pytest.raises(InputError, match=r"12 projections of \(15, 16\), as these images are"):
            open_volume(folder)
    else:
        said = [f"the detector of {name}" in warning for warning in open_volume(folder).warnings]
        assert said == [True] * (outcome == "said")
