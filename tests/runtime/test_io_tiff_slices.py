"""Folders of TIFF slices."""

import numpy as np
import pytest
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.volume import open_volume

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


def test_mixed_names_have_an_order(tmp_path):
    folder = write_slices(tmp_path / "scan", IMAGE[:0])
    for name, page in zip(["1.tif", "2a.TIFF", "a1.tif", "B.tif"], IMAGE, strict=False):
        tifffile.imwrite(folder / name, page)
    np.testing.assert_array_equal(open_volume(folder).read(Box((0, 0, 0), (4, 15, 16))), IMAGE[:4])


def test_other_and_hidden_files_are_left_alone(tmp_path):
    folder = write_slices(tmp_path / "scan")
    (folder / "scan.log").write_text("x")
    (folder / "._s0.tif").write_bytes(b"x")
    assert open_volume(folder).shape == IMAGE.shape


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.tif or \.tiff slices"):
        open_volume(tmp_path)


@pytest.mark.parametrize("odd", [IMAGE[0, :-1], IMAGE[0].astype(np.uint8)])
def test_slices_of_another_shape_or_dtype_are_refused(tmp_path, odd):
    folder = write_slices(tmp_path / "scan")
    tifffile.imwrite(folder / "s10.tif", odd)
    with pytest.raises(InputError, match=r"s10\.tif: the slice is .* s0\.tif is \(15, 16\) uint16"):
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
        with pytest.raises(InputError, match=r"s4\.tif: the slice cannot be read"):
            volume.read(Box.of_shape(volume.shape))


def test_colour_slices_are_refused(tmp_path):
    (tmp_path / "scan").mkdir()
    tifffile.imwrite(tmp_path / "scan" / "s.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"s\.tif: found 3 colour samples"):
        open_volume(tmp_path / "scan")


def test_files_with_several_pages_are_refused(tmp_path):
    folder = write_slices(tmp_path / "scan")
    tifffile.imwrite(folder / "s3.tif", IMAGE[:2], metadata=None)
    with pytest.raises(InputError, match=r"s3\.tif: holds 2 pages"):
        open_volume(folder)
