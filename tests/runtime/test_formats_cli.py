"""Every format of docs/formats.md as a new user meets it: a good file is taken, a wrong one is named, with the cure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import imagecodecs
import nrrd
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from zarr.codecs import BloscCodec

import ole_file
from ps3d_rt.core.grid import Box
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (12, 18, 20), dtype=np.uint16)
SPACING_MM = (0.03, 0.02, 0.01)
PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")
VGI = """{volume1}
[file1]
SkipHeader = 0
FileFormat = raw
Size = 20 18 12
Name = scan.vol
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
VOL_File=scan.vol
Volume_SizeX=20
Volume_SizeY=18
Volume_SizeZ=12
Format=5
VoxelSizeRec=0.01
"""
INFO = """! PyHST_SLAVE VOLUME INFO FILE
NUM_X = 20
NUM_Y = 18
NUM_Z = 12
voxelSize = 10.0
BYTEORDER = LOWBYTEFIRST
"""
XTEKCT = """[XTekCT]
VoxelsX=20
VoxelSizeX=0.01
VoxelsY=18
VoxelSizeY=0.02
VoxelsZ=12
VoxelSizeZ=0.03
"""
SKYSCAN = """[System]
Scanner=SkyScan1272
[Reconstruction]
Section to Section Step=1
Pixel Size (um)=10.0
"""
MHD = """ObjectType = Image
NDims = 3
DimSize = 20 18 12
ElementSpacing = 0.01 0.02 0.03
ElementType = MET_USHORT
ElementDataFile = scan.bin
"""
Made = tuple[Path, Path]
"""What a user opens, and the file that can be harmed."""


def _file(name: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        write_volume(folder / name, IMAGE, SPACING_MM)
        return folder / name, folder / name

    return make


def _beside(name: str, text: str, data: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        (folder / data).write_bytes(IMAGE.tobytes())
        (folder / name).write_text(text, encoding="ascii")
        return folder / name, folder / data

    return make


def _slices(ending: str, encode: Callable[[Any], bytes], log: str = "") -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        (folder / "scan").mkdir()
        for z, plane in enumerate(IMAGE):
            (folder / "scan" / f"ore_rec{z:04d}.{ending}").write_bytes(encode(plane))
        if log:
            (folder / "scan" / "ore_rec.log").write_text(log, encoding="ascii")
        return folder / "scan", folder / "scan" / f"ore_rec0007.{ending}"

    return make


def _tiff(plane: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, plane)
    return file.getvalue()


def _jpeg_2000(plane: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(plane, reversible=True))


def _dicom(folder: Path) -> Made:
    (folder / "scan").mkdir()
    for z, plane in enumerate(IMAGE):
        page = pydicom.Dataset()
        page.file_meta = pydicom.dataset.FileMetaDataset()
        page.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        page.SOPClassUID, page.SOPInstanceUID, page.SeriesInstanceUID = pydicom.uid.CTImageStorage, f"1.2.{z}", "1.3"
        page.Rows, page.Columns = plane.shape
        page.SamplesPerPixel, page.PhotometricInterpretation, page.PixelRepresentation = 1, "MONOCHROME2", 0
        page.BitsAllocated = page.BitsStored = 16
        page.HighBit, page.PixelData = 15, plane.tobytes()
        page.PixelSpacing, page.ImageOrientationPatient = [0.02, 0.01], [1, 0, 0, 0, 1, 0]
        page.ImagePositionPatient = [0, 0, round(0.03 * z, 6)]
        page.save_as(folder / "scan" / f"{z}.dcm", enforce_file_format=True)
    return folder / "scan", folder / "scan" / "7.dcm"


def _txm(folder: Path) -> Made:
    (folder / "scan.txm").write_bytes(ole_file.txm(IMAGE, 5, {"PixelSize": np.float32(10).tobytes()}))
    return folder / "scan.txm", folder / "scan.txm"


def _ome_zarr_5(folder: Path) -> Made:
    write_volume(folder / "scan.ome.zarr", IMAGE, SPACING_MM)
    return folder / "scan.ome.zarr", folder / "scan.ome.zarr" / "0" / "c" / "0" / "0" / "0"


def _ome_zarr_4(folder: Path) -> Made:
    path = folder / "scan.zarr"
    scale = {"type": "scale", "scale": list(SPACING_MM)}
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    levels = [{"path": "0", "coordinateTransformations": [scale]}]
    described = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]}
    group = zarr.create_group(path, zarr_format=2, attributes=described)
    group.create_array("0", data=IMAGE, chunks=IMAGE.shape)
    return path, path / "0" / "0.0.0"


def _zarr(version: Any, compressors: Any = "auto") -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        path = folder / "scan.zarr"
        zarr.create_array(path, data=IMAGE, chunks=IMAGE.shape, zarr_format=version, compressors=compressors)
        return path, path / "0.0.0" if version == 2 else path / "c" / "0" / "0" / "0"

    return make


def _nhdr(folder: Path) -> Made:
    header = {"space directions": np.diag(SPACING_MM[::-1]), "space": "left-posterior-superior", "encoding": "raw"}
    nrrd.write(str(folder / "scan.nhdr"), IMAGE, header, index_order="C")
    return folder / "scan.nhdr", folder / "scan.raw"


def _nhdr_list(folder: Path) -> Made:
    names = [f"scan{z:02d}.bin" for z in range(len(IMAGE))]
    for name, plane in zip(names, IMAGE, strict=True):
        (folder / name).write_bytes(plane.tobytes())
    header = "NRRD0005\ntype: uint16\ndimension: 4\nsizes: 1 20 18 12\nspacings: nan 10 20 30\n"
    header += (
        'kinds: list domain domain domain\nunits: "" "µm" "µm" "µm"\nendian: little\nencoding: raw\ndata file: LIST\n'
    )
    (folder / "scan.nhdr").write_text(header + "\n".join(names) + "\n", encoding="utf-8")
    return folder / "scan.nhdr", folder / names[7]


def _nexus(folder: Path) -> Made:
    with h5py.File(folder / "scan.nxs", "w") as file:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        data = file.create_dataset("entry/data/data", data=IMAGE, chunks=(4, 18, 20), **options)
        data.attrs["element_size_um"] = [30.0, 20.0, 10.0]
    return folder / "scan.nxs", folder / "scan.nxs"


def _imaris(folder: Path) -> Made:
    with h5py.File(folder / "scan.ims", "w") as file:
        channel = file.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
        channel["Data"] = np.pad(IMAGE, ((0, 4), (0, 14), (0, 12)))
        image = file.create_group("DataSetInfo/Image")
        for axis, (letter, size, side) in enumerate(zip("XYZ", IMAGE.shape[::-1], (10, 20, 30), strict=True)):
            channel.attrs[f"ImageSize{letter}"] = np.array(list(str(size)), "S1")
            image.attrs[f"ExtMin{axis}"] = np.array(["0"], "S1")
            image.attrs[f"ExtMax{axis}"] = np.array(list(str(size * side)), "S1")
        image.attrs["Unit"] = np.array(list("um"), "S1")
    return folder / "scan.ims", folder / "scan.ims"


def _tiff_as(**options: Any) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        tifffile.imwrite(folder / "scan.tif", IMAGE, **options)
        return folder / "scan.tif", folder / "scan.tif"

    return make


IMAGEJ = {"axes": "ZYX", "unit": "mm", "spacing": 0.03}
SLICES = "a folder of slices: TIFF, PNG, BMP, JPEG 2000, JPEG"
FORMATS: list[tuple[str, str, Callable[[Path], Made]]] = [
    ("TIFF, one file", "tif", _file("scan.tif")),
    ("TIFF, one file", "tif-imagej", _tiff_as(imagej=True, resolution=(100, 50), metadata=IMAGEJ)),
    ("TIFF, one file", "tif-tiles", _tiff_as(tile=(16, 16, 16), compression="zlib")),
    (SLICES, "slices-tiff", _slices("tif", _tiff)),
    (SLICES, "slices-png", _slices("png", imagecodecs.png_encode)),
    (SLICES, "slices-jp2", _slices("jp2", _jpeg_2000)),
    ("Bruker SkyScan: such a folder with a log", "skyscan", _slices("png", imagecodecs.png_encode, SKYSCAN)),
    ("DICOM: a series, or a file of many frames", "dicom", _dicom),
    ("OME-Zarr up to 0.5, image or labels", "ome-0.4", _ome_zarr_4),
    ("OME-Zarr up to 0.5, image or labels", "ome-0.5", _ome_zarr_5),
    ("zarr 2 and 3, a plain array", "zarr-2", _zarr(2)),
    ("zarr 2 and 3, a plain array", "zarr-3", _zarr(3)),
    ("zarr 2 and 3, a plain array", "zarr-3-blosc", _zarr(3, BloscCodec(cname="lz4"))),
    ("NIfTI 1 and 2", "nii", _file("scan.nii")),
    ("NIfTI, compressed", "nii.gz", _file("scan.nii.gz")),
    ("NRRD, attached or detached header", "nrrd", _file("scan.nrrd")),
    ("NRRD, attached or detached header", "nhdr", _nhdr),
    ("NRRD, attached or detached header", "nhdr-list", _nhdr_list),
    ("MetaImage", "mha", _file("scan.mha")),
    ("MetaImage", "mhd", _beside("scan.mhd", MHD, "scan.bin")),
    ("HDF5, NeXus", "h5", _file("scan.h5")),
    ("HDF5, NeXus", "nxs-bitshuffle", _nexus),
    ("Imaris", "ims", _imaris),
    ("NumPy", "npy", _file("scan.npy")),
    ("raw voxels", "raw", _file("scan.raw")),
    ("VGStudio", "vgi", _beside("scan.vgi", VGI, "scan.vol")),
    ("GE Phoenix|x-ray datos|x", "pcr", _beside("scan.pcr", PCR, "scan.vol")),
    ("ESRF, PyHST", "info", _beside("scan.vol.info", INFO, "scan.vol")),
    ("Nikon Metrology, XTek", "xtekct", _beside("scan.xtekct", XTEKCT, "scan.vol")),
    ("Zeiss Xradia", "txm", _txm),
]
KNOWS_NO_SPACING = {"tif-tiles", "slices-tiff", "slices-png", "slices-jp2", "zarr-2", "zarr-3", "zarr-3-blosc", "npy"}
ONE_SIDE = {"pcr", "info", "skyscan", "txm"}
"""These formats have one side for all three axes."""
PARTS_MAY_BE_MISSING = {"ome-0.4", "ome-0.5", "zarr-2", "zarr-3", "zarr-3-blosc"}
"""A zarr chunk that is not there means zeros."""

every_format = pytest.mark.parametrize(("name", "make"), [pytest.param(n, make, id=n) for _, n, make in FORMATS])


def test_every_format_of_the_page_is_tried_here() -> None:
    _, _, *lines = re.findall(r"^\|.*$", PAGE.split("\n\n")[2], re.MULTILINE)
    rows = [re.split(r"(?<!\\)\|", line)[1].strip().replace("\\|", "|") for line in lines]
    assert rows == list(dict.fromkeys(row for row, _, _ in FORMATS))


@every_format
def test_a_good_file_is_taken(cli: Any, tmp_path: Path, name: str, make: Any) -> None:
    path, _ = make(tmp_path)
    spacing = ("--spacing", "0.03,0.02,0.01") if name in KNOWS_NO_SPACING else ()
    code, out, err = cli("convert", path, tmp_path / "out.mha", *spacing)
    assert code == 0, err
    expected = (0.01, 0.01, 0.01) if name in ONE_SIDE else SPACING_MM
    assert json.loads(out)["spacing_mm"] == pytest.approx(expected)
    with open_volume(tmp_path / "out.mha") as volume:
        np.testing.assert_array_equal(volume.read(Box.of_shape(IMAGE.shape)), IMAGE)


HARMS = [
    pytest.param(n, make, harm, id=f"{n}-{harm}")
    for _, n, make in FORMATS
    for harm in ("cut short", "another file", "gone")
    if harm != "gone" or n not in PARTS_MAY_BE_MISSING
]


@pytest.mark.parametrize(("name", "make", "harm"), HARMS)
def test_a_wrong_file_is_exit_code_2_and_one_message(cli: Any, tmp_path: Path, name: str, make: Any, harm: str) -> None:
    path, broken = make(tmp_path)
    whole = broken.read_bytes()
    if harm == "gone":
        broken.unlink()
    else:
        broken.write_bytes(whole[: len(whole) // 2 + 1] if harm == "cut short" else b"This is a letter.\n" * 3)
    code, out, err = cli("convert", path, tmp_path / "out.mha", "--spacing", "0.01")
    assert (code, out) == (2, "")
    assert path.stem.removesuffix(".ome") in err
    assert re.search(r"copy|export|check|save|convert|give|write it again|must|needed", err), err
    assert "Traceback" not in err
    assert len(err) < 600
    assert not (tmp_path / "out.mha").exists()


@pytest.mark.parametrize("name", ["scan.docx", "scan.jpg", "scan"])
def test_a_format_that_is_not_read_is_told_those_that_are(cli: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no volume")
    code, _, err = cli("plan", tmp_path / name, "--particle-size", "0.1")
    assert (code, name in err, ".nii.gz" in err, "convert it" in err) == (2, True, True, True)
