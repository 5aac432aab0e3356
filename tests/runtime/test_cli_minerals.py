"""``ps3d-rt minerals``: phases are proposed, then accepted by a person; wrong inputs end with words and code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from output_folder import write_output
from ps3d_rt.core.minerals.frames import NAMES
from ps3d_rt.io.frames import read_frame
from ps3d_rt.mineralogy.folder import read_minerals

SHAPE = (24, 30, 94)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    """Labels and scan of five balls in a row, dark and bright by turns; the first touches a face."""
    grid, noise = np.indices(SHAPE), np.random.default_rng(3).normal(0, 100, SHAPE)
    labels, scan = np.zeros(SHAPE, np.uint32), np.full(SHAPE, 5000.0) + noise
    for label, x in enumerate((8, 27, 46, 65, 83), start=1):
        inside = ((grid - np.reshape((12, 14, x), (3, 1, 1, 1))) ** 2).sum(0) <= 64
        labels[inside] = label
        scan[inside] += 1000 if label % 2 else 3000
    return labels, scan.astype(np.uint16)


@pytest.fixture
def out(tmp_path: Path, parts: tuple[Any, Any]) -> Path:
    return write_output(tmp_path / "out", *parts, embedding=5000.0, noise=100.0, contrast=1700.0, dark=False)


def test_a_proposal_is_only_that_and_the_second_run_accepts_it(cli: Any, out: Path) -> None:
    code, printed, err = cli("minerals", out, "--phases", "auto:3", "--names", "pyrite,quartz")
    assert code == 0
    phases = json.loads(printed)
    assert phases == json.loads((out / "phases.json").read_text(encoding="utf-8"))
    assert [phase["name"] for phase in phases["phases"]] == ["quartz", "pyrite"]
    assert phases["phases"][1]["density_g_per_cm3"] == 5.01
    assert not (out / "minerals").exists()
    assert "is a proposal, and nothing was measured with it" in err

    code, printed, _ = cli("minerals", out)
    assert code == 0
    composition = json.loads(printed)["composition"]
    assert composition["mineral"] == ["quartz", "pyrite"]
    # Of the four balls that no face cuts, two are of each.
    assert composition["volume_share"] == pytest.approx([0.5, 0.5], abs=0.01)
    assert composition["mass_share"] == pytest.approx([2.65 / 7.66, 5.01 / 7.66], abs=0.01)
    assert {path.stem for path in (out / "minerals").iterdir()} == {"minerals", *NAMES}
    table = read_frame(out / "minerals/minerals.parquet")
    assert table["mineral"].tolist() == ["quartz", "pyrite", "quartz", "pyrite", "quartz"]
    assert (out / "minerals/minerals.csv").read_text(encoding="utf-8").count("\n") == 6


def test_what_was_written_is_read_again(cli: Any, out: Path) -> None:
    cli("minerals", out, "--phases", "auto:2")
    cli("minerals", out, "--no-edge-correction")
    found = read_minerals(out)
    assert found is not None
    columns, stored = found.particles.columns(), read_frame(out / "minerals/minerals.parquet")
    for name, column in columns.items():
        assert np.array_equal(column, stored[name], equal_nan=column.dtype.kind == "f"), name
    assert found.frames.keys() == set(NAMES)
    assert found.record["edge_correction"] is False


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([("quartz", 500, 2500), ("pyrite", 2000, 4500)], "overlap"),
        ([("quartz", 500, 2000), ("gold", 20_000, 50_000)], "gold was never found"),
        ([("quartz", 500, 2000), ("ore", 2000, 4500), ("ore", 5000, 6000)], "two phases have the name"),
    ],
)
def test_phases_that_do_not_fit_are_refused(cli: Any, out: Path, phases: Any, words: str) -> None:
    listed = [dict(zip(("name", "low", "high"), phase, strict=True)) for phase in phases]
    (out / "phases.json").write_text(json.dumps({"phases": listed}), encoding="utf-8")
    code, _, err = cli("minerals", out)
    assert (code, words in err) == (2, True), err
    assert not (out / "minerals").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"phases": [', "phases.json: is not JSON; correct it, or propose phases again"),
        (
            '{"phases": [{"name": "quartz", "low": 500, "hihg": 2000}]}',
            "quartz has 'hihg'; a phase has name, low, high",
        ),
    ],
)
def test_a_file_with_a_slip_is_refused(cli: Any, out: Path, text: str, words: str) -> None:
    (out / "phases.json").write_text(text, encoding="utf-8")
    code, _, err = cli("minerals", out)
    assert (code, words in err) == (2, True), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "phases.json is not there; `ps3d-rt minerals OUT --phases auto:N` proposes phases"),
        (("--phases", "auto:0"), "the greatest number of phases is 0; it must be 1 to 8"),
        (("--phases", "auto:three"), "phases are 'auto:three'; give a file, or auto:N"),
        (("--phases", "auto"), "auto:N with N phases at most"),
        (("--names", "quartz"), "--names is for --phases auto:N"),
        (("--phases", "auto:2", "--names", "quarz"), "quarz is not in the table of minerals; it has "),
        (("--phases", "auto:2", "--names", "quartz"), "1 names are given and 2 phases were found"),
        (("--phases", "auto:2", "--names", "quartz", "--kilovolts", "99"), "no tube voltage of 99 kV"),
        (("--phases", "auto:2", "--image", "nowhere.tif"), "nowhere.tif"),
    ],
)
def test_wrong_arguments_are_said(cli: Any, out: Path, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = cli("minerals", out, *arguments)
    assert (code, words in err) == (2, True), err


def test_without_the_scan_there_are_no_gray_values(cli: Any, out: Path) -> None:
    cli("minerals", out, "--phases", "auto:2")
    (out.parent / "out-scan.npy").unlink()
    code, _, err = cli("minerals", out)
    assert code == 2
    assert "minerals are read from its gray values; give it with --image" in err


def test_nothing_is_replaced_unless_asked_for(cli: Any, out: Path) -> None:
    cli("minerals", out, "--phases", "auto:2")
    code, _, err = cli("minerals", out, "--phases", "auto:1")
    assert (code, "phases.json exists; accept it" in err) == (2, True)
    cli("minerals", out)
    code, _, err = cli("minerals", out)
    assert (code, "pass --overwrite to replace it" in err) == (2, True)
    assert cli("minerals", out, "--overwrite")[0] == 0


def test_an_output_that_does_not_tell_the_embedding_is_looked_at(cli: Any, tmp_path: Path, parts: Any) -> None:
    out = write_output(tmp_path / "old", *parts)
    code, printed, _ = cli("minerals", out, "--phases", "auto:2")
    assert code == 0
    assert json.loads(printed)["phases"][0]["low"] == pytest.approx(500, abs=40)
    code, printed, _ = cli("minerals", out, "--phases", "auto:2", "--unit", "contrast", "--overwrite")
    assert json.loads(printed)["phases"][0]["low"] < 1


def test_the_report_shows_minerals_once_they_are_known(cli: Any, out: Path) -> None:
    cli("minerals", out, "--phases", "auto:2", "--names", "quartz,pyrite")
    assert cli("report", out)[0] == 0
    assert 'id="minerals"' not in (out / "report.html").read_text(encoding="utf-8")
    assert cli("minerals", out)[0] == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert 'id="minerals"' in page
    assert page.count('alt="Minerals of particle') == 5
    assert "quartz 100" in page
    (out.parent / "out-scan.npy").unlink()
    assert cli("report", out)[0] == 0
    assert 'alt="Minerals of particle' not in (out / "report.html").read_text(encoding="utf-8")


def test_python_gives_the_same_tables(cli: Any, out: Path) -> None:
    cli("minerals", out, "--phases", "auto:2")
    cli("minerals", out)
    stored = read_minerals(out)
    found = ps3d_rt.minerals(out)
    assert stored is not None
    assert found.frames["composition"]["volume_share"].tolist() == stored.frames["composition"]["volume_share"].tolist()
