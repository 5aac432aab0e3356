"""Logs of SkyScan beside slices, and what they say of them."""

import imagecodecs
import numpy as np
import pytest

from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 10, 14), dtype=np.uint8)
ACQUISITION = """[System]
Scanner=SkyScan1272
[Acquisition]
Filename Prefix=ore
Number Of Files= 600
Image Pixel Size (um)=10.00
Scaled Image Pixel Size (um)=20.00
"""
LOG = f"""{ACQUISITION}
[Reconstruction]
Dataset Prefix=ore
First Section=421
Last Section=426
Section to Section Step=1
Sections Count=6
Result Image Width (pixels)=14
Result Image Height (pixels)=10
Pixel Size (um)=9.97000
Reconstruction Angular Range (deg)=360.00
[File name convention]
Filename Index Length=8
Filename Prefix=ore_rec
"""


def scan(folder, logs, prefix="ore_rec"):
    for index, page in enumerate(IMAGE, 421):
        (folder / f"{prefix}{index:08d}.bmp").write_bytes(imagecodecs.bmp_encode(page))
    for name, text in logs.items():
        (folder / name).write_text(text, encoding="latin-1")
    return folder


@pytest.mark.parametrize(
    ("old", "new", "spacing_mm"),
    [
        ("", "", (0.00997, 0.00997, 0.00997)),
        ("Section Step=1", "Section Step=3", (0.02991, 0.00997, 0.00997)),
        ("Section to Section Step=1\n", "", (0.00997, 0.00997, 0.00997)),
        ("9.97000", " 9,97", (0.00997, 0.00997, 0.00997)),
    ],
)
def test_the_log_of_the_reconstruction_gives_the_spacing(tmp_path, old, new, spacing_mm):
    volume = open_volume(scan(tmp_path, {"ore_rec.log": LOG.replace(old, new)}))
    assert volume.spacing_mm == pytest.approx(spacing_mm)
    assert volume.warnings == ()
    assert open_volume(tmp_path, spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)


def test_the_log_of_the_slices_is_taken_among_others(tmp_path):
    logs = {
        "ore.log": ACQUISITION,
        "other_rec.log": LOG.replace("9.97", "5"),
        "Ore_REC.log": LOG,
        "notes.log": "a b\n[x",
    }
    assert open_volume(scan(tmp_path, logs)).spacing_mm == pytest.approx((0.00997,) * 3)


@pytest.mark.parametrize(
    ("logs", "size_um", "said"),
    [
        ({"ore.log": ACQUISITION}, 10, "a log of the acquisition"),
        ({"renamed.log": LOG}, 9.97, "check that they belong"),
        ({"ore_rec.log": LOG.replace("Count=6", "Count=9")}, 9.97, "Sections Count 9, found 6"),
        ({"ore_rec.log": LOG.replace("=14", "=28").replace("=10\n", "=20\n")}, 9.97, "(pixels) 20, found 10; Result"),
        ({"a.log": LOG, "b.log": LOG}, None, "none of a.log, b.log belongs to the slices ore_rec"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, logs, size_um, said):
    volume = open_volume(scan(tmp_path, logs))
    assert volume.spacing_mm == (None if size_um is None else pytest.approx((size_um / 1000,) * 3))
    assert [said in warning for warning in volume.warnings] == [True]


@pytest.mark.parametrize("logs", [{}, {"run.log": "done\n"}, {"x.log": "[System]\nScanner=a\n"}])
def test_without_such_a_log_there_is_no_spacing_and_no_word(tmp_path, logs):
    volume = open_volume(scan(tmp_path, logs))
    assert (volume.spacing_mm, volume.warnings) == (None, ())


def test_a_preview_is_no_slice(tmp_path):
    folder = scan(tmp_path, {"ore_rec.log": LOG})
    (folder / "ore_rec_spr.bmp").write_bytes(imagecodecs.bmp_encode(IMAGE[0, :5]))
    assert (open_volume(folder).shape, open_volume(folder).warnings) == (IMAGE.shape, ())


@pytest.mark.parametrize(("rows", "are"), [("", True), ("Number Of Rows= 10\n", True), ("Number Of Rows=11\n", False)])
def test_projections_are_refused(tmp_path, rows, are):
    folder = scan(tmp_path, {"ore.log": ACQUISITION + rows + "Number Of Columns=14\n"}, prefix="ore")
    if are:
        with pytest.raises(InputError, match=r"ore\.log says that the images are projections"):
            open_volume(folder)
    else:
        assert open_volume(folder).spacing_mm == pytest.approx((0.01,) * 3)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("Pixel Size (um)=fine", "Pixel Size (um) is 'fine', which is not a number"),
        ("Pixel Size (um)=0", "each above 0"),
        ("Pixel Size=9.97", "does not say Pixel Size (um)"),
    ],
)
def test_a_log_without_a_usable_number_is_said_and_not_used(tmp_path, new, message):
    volume = open_volume(scan(tmp_path, {"ore_rec.log": LOG.replace("\nPixel Size (um)=9.97000", "\n" + new)}))
    assert volume.spacing_mm is None
    assert ["no voxel size is taken from the log: ore_rec.log" in warning for warning in volume.warnings] == [True]
    assert message in volume.warnings[0]
