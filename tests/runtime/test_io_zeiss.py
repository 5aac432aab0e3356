"""Zeiss .txm, on files made in the layout that public readers know; none is from a microscope."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

import ole_file
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (105, 40, 60), dtype=np.uint16)
FEW = IMAGE[:4]


def txm(path, image=FEW, code=5, **changes):
    """Write a .txm; ``changes`` are streams of ImageInfo, None leaves one out."""
    path.write_bytes(ole_file.txm(image, code, changes))
    return path


@pytest.mark.parametrize(("code", "dtype"), [(3, "u1"), (5, "<u2"), (10, "<f4")])
def test_images_are_read_in_the_order_of_their_numbers(tmp_path, code, dtype):
    image = (IMAGE % 250).astype(dtype)
    with open_volume(txm(tmp_path / "scan.txm", image, code)) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (image.shape, np.dtype(dtype), "scan")
        assert (volume.spacing_mm, volume.warnings) == (pytest.approx((0.0125,) * 3), ())
        box = Box((8, 2, 3), (104, 39, 60))
        np.testing.assert_array_equal(volume.read(box), image[box.slices])
        with pickle.loads(pickle.dumps(volume)) as again:
            np.testing.assert_array_equal(again.read(box), image[box.slices])
    with open_volume(tmp_path / "scan.txm", spacing_mm=0.5) as volume:
        assert volume.spacing_mm == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("size", [None, struct.pack("<f", 0), struct.pack("<f", float("nan"))])
def test_a_size_that_is_none_is_no_spacing(tmp_path, size):
    with open_volume(txm(tmp_path / "scan.xrm", PixelSize=size)) as volume:
        assert volume.spacing_mm is None


def test_angles_are_said(tmp_path):
    with open_volume(txm(tmp_path / "scan.xrm", Angles=np.arange(4, dtype="<f4").tobytes())) as volume:
        assert ["check that they are slices" in warning for warning in volume.warnings] == [True]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"code": 7}, r"DataType is 7; the known ones are 3 \(uint8\), 5 \(uint16\), 10 \(float32\)"),
        ({"code": 10}, r"ImageData1/Image1 has 4800 bytes, \(40, 60\) of float32 needs 9600"),
        ({"ImageWidth": None}, "does not say ImageInfo/ImageWidth"),
        ({"ImageHeight": b""}, "ImageInfo/ImageHeight is empty"),
        ({"ImageWidth": struct.pack("<I", 0)}, "every axis needs"),
        ({"NoOfImages": struct.pack("<I", 6)}, "holds 4 images, its header says 6; Image5 does not fit"),
        ({"image": IMAGE[:1]}, "holds 1 image; a volume has at least two"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, made, message):
    with pytest.raises(InputError, match=rf"scan\.txm: .*{message}"):
        open_volume(txm(tmp_path / "scan.txm", **made))


def test_projections_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds projections, not slices"):
        open_volume(txm(tmp_path / "scan.txrm"))


@pytest.mark.parametrize("share", [0.01, 0.4, 0.9, 0.99])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, share):
    path: Path = txm(tmp_path / "scan.txm", IMAGE[:20])
    whole = path.read_bytes()
    left = int(share * len(whole))
    path.write_bytes(whole[:left])
    with pytest.raises(InputError, match=rf"scan\.txm: has {left} bytes, .*: it is cut short; copy it again\.$"):
        open_volume(path)


def test_a_damaged_file_is_refused_in_words(tmp_path):
    path = txm(tmp_path / "scan.txm", FEW)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole)
        at = rng.choice([rng.integers(512), rng.integers(len(whole))])
        broken[at : at + 4] = rng.bytes(4)
        path.write_bytes(broken)
        try:
            with open_volume(path) as volume:
                volume.read(Box.of_shape(volume.shape))
        except InputError as error:
            assert "scan.txm: " in str(error)  # noqa: PT017 - or the damage is in the pixels
