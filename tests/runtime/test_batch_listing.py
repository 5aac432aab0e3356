"""Which samples a batch has: listings, folders, and everything that can be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from ps3d_rt.batch.listing import is_batch, list_samples, parse_csv
from ps3d_rt.batch.samples import Part, Sample, checked, name_problem
from ps3d_rt.batch.scans_in import scans_in
from ps3d_rt.errors import InputError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def slices(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for z in range(count):
        tifffile.imwrite(folder / f"s_{z}.tif", np.zeros((4, 4), np.uint16))
    return folder


def test_a_line_says_what_is_other_than_the_command(tmp_path: Path) -> None:
    text = "path,spacing,particle_size,name,model\na.tif,0.01,0.3,ore,m.ps3d\nb/c.nrrd,1 2 3,auto,,\n\n"
    assert parse_csv(text, tmp_path, "samples.csv") == [
        Sample(name="ore", path=tmp_path / "a.tif", spacing_mm=(0.01,) * 3, particle_size=0.3, model="m.ps3d"),
        Sample(name="c", path=tmp_path / "b" / "c.nrrd", spacing_mm=(1.0, 2.0, 3.0), particle_size="auto"),
    ]


@pytest.mark.parametrize("parting", [",", ";", "\t"])
def test_spreadsheets_part_columns_in_their_own_ways(tmp_path: Path, parting: str) -> None:
    text = f"\ufeffname{parting}path\r\nore{parting}a.tif\r\n"
    assert parse_csv(text, tmp_path, "samples.csv") == [Sample(name="ore", path=tmp_path / "a.tif")]


@pytest.mark.parametrize("heading", ["", "name", "path,colour", "path,path"])
def test_a_heading_of_other_columns_ends_the_batch(tmp_path: Path, heading: str) -> None:
    with pytest.raises(InputError, match="its first line names the columns"):
        parse_csv(f"{heading}\na.tif\n", tmp_path, "samples.csv")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.tif,zero,", "spacing is 'zero'"),
        ("a.tif,-1,", "spacing is '-1'"),
        ("a.tif,inf,", "spacing is 'inf'"),
        ("a.tif,1 2,", "spacing is '1 2'"),
        ("a.tif,,nan", "particle_size is 'nan'"),
        ("a.tif,,big", "particle_size is 'big'"),
        (",1,", "it has no path"),
        ("a.tif,1", "it has 2 cells and the heading 3"),
        ("../a.tif,,", "leads out of"),
        ("b/../../a.tif,,", "leads out of"),
        ("/etc/a.tif,,", "leads out of"),
        ("C:/a.tif,,", "leads out of"),
        ("..\\a.tif,,", "leads out of"),
        ("\\\\host\\share\\a.tif,,", "leads out of"),
    ],
)
def test_what_is_wrong_with_a_line_stays_with_it(tmp_path: Path, line: str, said: str) -> None:
    bad, good = parse_csv(f"path,spacing,particle_size\n{line}\nb.tif,,\n", tmp_path, "samples.csv")
    assert bad.path is None
    assert said in (bad.problem or "")
    assert "samples.csv, line 2" in (bad.problem or "")
    assert good == Sample(name="b", path=tmp_path / "b.tif")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "nul", "COM1.x", "a.", "summary.csv", "x" * 121, ".b"])
def test_names_that_cannot_be_folders_are_problems(name: str) -> None:
    assert name_problem(name) is not None
    (found,) = checked([Sample(name=name, path=Path("a"))])
    assert found.path is None
    assert found.problem is not None
    assert name_problem(found.name) is None, "the summary has a name for it"


def test_a_name_is_given_once_whatever_its_case() -> None:
    first, second = checked([Sample(name="Ore", path=Path("a")), Sample(name="ore", path=Path("b"))])
    assert first == Sample(name="Ore", path=Path("a"))
    assert "that of sample 1 too" in (second.problem or "")
    assert second.name == "ore (sample 2)"


@given(st.lists(st.text(max_size=5), max_size=8))
def test_whatever_the_names_every_sample_ends_with_a_folder_of_its_own(names: list[str]) -> None:
    found = checked(Sample(name=name, path=Path("a")) for name in names)
    assert len({sample.name.casefold() for sample in found}) == len(names)


def test_parts_share_the_samples_out() -> None:
    samples = [Sample(name=str(n)) for n in range(11)]
    parts = [Part(k, 4).take(samples) for k in (1, 2, 3, 4)]
    assert sorted((s for part in parts for s in part), key=lambda s: int(s.name)) == samples
    assert {len(part) for part in parts} == {2, 3}


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "1/0", "a/b", "-1/4"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--part is"):
        Part.parse(text)


def test_the_published_layout_names_its_images(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.nii.gz", tmp_path / "images" / "b.tif", tmp_path / "images" / "b.npy")
    listing = {
        "a": {"spacing": 0.01, "particle_size": 0.3},
        "b": {"spacing": 0.01, "particle_size": 0.3},
        "c": {"spacing": 0.01},
        "d": 5,
    }
    (tmp_path / "metadata.json").write_text(json.dumps(listing))
    a, b, c, d = list_samples(tmp_path)
    assert (a.path, a.spacing_mm, a.particle_size) == (tmp_path / "images" / "a.nii.gz", (0.01,) * 3, 0.3)
    assert "holds 2 volumes called b" in (b.problem or "")
    assert "holds 0 volumes called c" in (c.problem or "")
    assert "it is no object" in (d.problem or "")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_metadata_file_that_is_none_ends_the_batch(tmp_path: Path, text: str) -> None:
    touch(tmp_path / "images" / "a.tif")
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(InputError, match=r"metadata\.json"):
        list_samples(tmp_path)


def test_plain_files_folders_of_slices_and_zarr_are_scans(tmp_path: Path) -> None:
    touch(tmp_path / "a.nrrd", tmp_path / "b.mhd", tmp_path / "b.raw", tmp_path / "notes.txt", tmp_path / ".hidden.npy")
    touch(tmp_path / "c.tif.part", tmp_path / "d.ome.zarr" / "zarr.json", tmp_path / "deep" / "er" / "e.npy")
    slices(tmp_path / "f")
    found = [path.relative_to(tmp_path).as_posix() for path in scans_in(tmp_path)]
    assert found == ["a.nrrd", "b.mhd", "d.ome.zarr", "deep/er/e.npy", "f"]
    assert [sample.name for sample in list_samples(tmp_path)] == ["a", "b", "d", "e", "f"]


def test_a_folder_of_slices_is_one_scan_and_one_of_stacks_several(tmp_path: Path) -> None:
    assert not is_batch(slices(tmp_path / "slices"))
    for name in ("a", "b"):
        (tmp_path / "stacks").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "stacks" / f"{name}.tif", np.zeros((3, 4, 4), np.uint16))
    assert is_batch(tmp_path / "stacks")
    (tmp_path / "empty").mkdir()
    assert not is_batch(tmp_path / "empty")
    with pytest.raises(InputError, match="holds no scan"):
        list_samples(tmp_path / "empty")
