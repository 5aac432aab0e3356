"""Files as editors, archivers and copies leave them: read, or refused with the cure."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (12, 18, 20), dtype=np.uint16)
MHD = (
    "ElementSpacing = 0.01 0.02 0.03\nNDims = 3\nDimSize = 20 18 12\nElementType = MET_USHORT\n"
    "ElementDataFile = scan.vol\n"
)
NHDR = (
    "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 20 18 12\nspacings: 10 20 30\nunits: um um um\nendian: little\n"
    "encoding: raw\ndata file: scan.vol\n"
)
VGI = (
    "{volume1}\n[file1]\nSkipHeader = 0\nFileFormat = raw\nSize = 20 18 12\nName = scan.vol\nBitsPerElement = 16\n"
    "Datatype = unsigned integer\n{volumeprimitive12}\n[geometry]\nresolution = 0.01 0.02 0.03\nunit = mm\n"
)
PCR = (
    "[VolumeData]\nVOL_File=scan.vol\nVolume_SizeX=20\nVolume_SizeY=18\nVolume_SizeZ=12\nFormat=5\nVoxelSizeRec=0.01\n"
)
INFO = "NUM_X = 20\nNUM_Y = 18\nNUM_Z = 12\nvoxelSize = 10.0\nBYTEORDER = LOWBYTEFIRST\n"
XTEKCT = "[XTekCT]\nVoxelsX=20\nVoxelSizeX=0.01\nVoxelsY=18\nVoxelSizeY=0.02\nVoxelsZ=12\nVoxelSizeZ=0.03\n"
JSON = '{"shape": [12, 18, 20], "dtype": "uint16", "spacing_mm": [0.03, 0.02, 0.01]}'
TEXTS = {"vgi": VGI, "pcr": PCR, "vol.info": INFO, "xtekct": XTEKCT, "vol.json": JSON, "mhd": MHD, "nhdr": NHDR}
ENCODINGS = [
    (ending, encoding)
    for ending in TEXTS
    for encoding in ("utf-8-sig", "utf-16")
    if (ending, encoding) not in {("mhd", "utf-16"), ("nhdr", "utf-16")}
]


@pytest.mark.parametrize(("ending", "encoding"), ENCODINGS)
def test_a_description_that_an_editor_of_windows_has_saved_is_read(tmp_path: Path, ending: str, encoding: str) -> None:
    (tmp_path / "scan.vol").write_bytes(IMAGE.tobytes())
    path = tmp_path / f"scan.{ending}"
    path.write_bytes(TEXTS[ending].replace("\n", "\r\n").encode(encoding))
    assert path.read_bytes().startswith((codecs.BOM_UTF8, codecs.BOM_UTF16))
    with open_volume(path if ending in {"mhd", "nhdr"} else tmp_path / "scan.vol") as volume:
        one_side = ending in {"pcr", "vol.info"}
        assert volume.spacing_mm == pytest.approx((0.01, 0.01, 0.01) if one_side else (0.03, 0.02, 0.01))
        np.testing.assert_array_equal(volume.read(Box.of_shape(volume.shape)), IMAGE)


def test_two_sizes_of_a_metaimage_that_differ_are_said(tmp_path: Path) -> None:
    def warned(size: str) -> tuple[str, ...]:
        (tmp_path / "scan.vol").write_bytes(IMAGE.tobytes())
        (tmp_path / "scan.mhd").write_text(MHD.replace("ElementType", f"ElementSize = {size}\nElementType"))
        volume = open_volume(tmp_path / "scan.mhd")
        assert volume.spacing_mm == (0.03, 0.02, 0.01)
        return volume.warnings

    assert warned("0.010 .02 0.03") == warned("1 1 1") == ()
    (said,) = warned("0.02 0.02 0.03")
    assert "ElementSpacing says 0.01 0.02 0.03, ElementSize 0.02 0.02 0.03: the first counts" in said


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_slice_that_is_a_link_to_nowhere_is_not_left_out(tmp_path: Path) -> None:
    for z in range(3):
        tifffile.imwrite(tmp_path / f"s{z}.tif", IMAGE[z])
    (tmp_path / "s3.tif").symlink_to(tmp_path / "elsewhere" / "s3.tif")
    with pytest.raises(
        InputError, match=r"s3\.tif is a link to a missing file; copy that file here, or remove the link"
    ):
        open_volume(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scan.zarr", "is a file; a zarr volume is a folder"),
        ("scan.zarr.zip", "is an archive; unpack it"),
        ("slices.tar", "is an archive; unpack it"),
        ("scan.tif.gz", "is an archive; unpack it"),
    ],
)
def test_archives_and_zarr_in_one_file_are_said_to_be(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match=f"{name}: {said}"):
        open_volume(tmp_path / name)


@pytest.mark.skipif(os.name == "nt", reason="other systems, other names")
def test_a_name_that_is_none_is_refused_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tif: is not a valid path; check the path — File name too long\."):
        open_volume(tmp_path / ("x" * 300 + ".tif"))


@pytest.mark.parametrize("spacing", ["true", '"0.01"', "[0.01, 0.01]", "[true, true, true]"])
def test_a_spacing_in_json_that_is_no_number_is_refused(tmp_path: Path, spacing: str) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(24))
    (tmp_path / "a.raw.json").write_text(f'{{"shape": [2, 3, 4], "dtype": "u1", "spacing_mm": {spacing}}}')
    with pytest.raises(InputError, match="spacing_mm must be one number, or three"):
        open_volume(tmp_path / "a.raw")


def test_an_archive_of_numpy_is_said_to_be_one_and_the_cure_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "scan.npz", volume=IMAGE)
    with pytest.raises(InputError, match=r"scan\.npz: is a NumPy archive.*numpy\.save\(") as error:
        open_volume(tmp_path / "scan.npz")
    monkeypatch.chdir(tmp_path)
    follow(error.value, NAME="volume")
    np.testing.assert_array_equal(np.load("scan.npy"), IMAGE)


@pytest.mark.parametrize("kind", [nibabel.AnalyzeImage, nibabel.Nifti1Pair])
def test_an_image_in_two_files_is_said_to_be_one_and_the_cure_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    image = kind(IMAGE.T.astype(np.int16), np.eye(4))
    image.header.set_zooms((0.01, 0.02, 0.03))
    nibabel.save(image, tmp_path / "scan.img")
    monkeypatch.chdir(tmp_path)
    for given in ("scan.hdr", "scan.img"):
        with pytest.raises(InputError, match=rf"{given}: is half of an image in two files") as error:
            open_volume(tmp_path / given)
        follow(error.value)
        with open_volume("scan.nii") as volume:
            np.testing.assert_array_equal(volume.read(Box.of_shape(volume.shape)), IMAGE.astype(np.int16))
    (tmp_path / "scan.hdr").write_bytes(b"ENVI\n")
    with pytest.raises(InputError, match=r"a file of type '\.img' cannot be read"):
        open_volume("scan.img")


def follow(error: InputError, **names: str) -> None:
    """Do what the message says is to be done in Python."""
    cure = str(error).partition("in Python: ")[2].removesuffix(".")
    for name, meant in names.items():
        cure = cure.replace(name, meant)
    exec(cure, {"numpy": np, "nibabel": nibabel})
