"""``ps3d-rt report``: the page of a run once more, with or without its scan."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.table import read_table
from ps3d_rt.output import predict_to_folder
from ps3d_rt.plan import PredictConfig

SHAPE = (30, 32, 34)
PATCH = (24, 24, 24)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A raw scan of a few bright balls."""
    grid = np.indices(SHAPE)
    inside = np.zeros(SHAPE, bool)
    for center in [(8, 9, 9), (20, 22, 10), (16, 10, 24), (24, 24, 33)]:
        inside |= ((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) <= 30
    noise = np.random.default_rng(0).normal(0, 200, SHAPE)
    path = tmp_path / "balls.raw"
    (np.where(inside, 30_000, 8_000) + noise).astype("<u2").tofile(path)
    return path


@pytest.fixture
def out(tmp_path: Path, scan: Path) -> Path:
    """What a run leaves behind."""
    model = fake_bundle(PATCH[0], target_size_voxels=11.0)
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.11, overlap=0.5)
    with open_volume(scan, shape=SHAPE, dtype="<u2", spacing_mm=0.01) as volume:
        predict_to_folder((volume, model, FakeEngine(PATCH, threshold=1.0), config), tmp_path / "out")
    return tmp_path / "out"


def shown(page: str) -> tuple[str, ...]:
    """The distribution as the page has it."""
    return tuple(re.findall(r"<td>([\d.]+)<small>", page))


def test_the_same_page_comes_back(cli: Any, out: Path) -> None:
    first = (out / "report.html").read_text(encoding="utf-8")
    (out / "report.html").unlink()
    code, printed, _ = cli("report", out)
    assert (code, Path(printed.strip())) == (0, out / "report.html")
    assert (out / "report.html").read_text(encoding="utf-8") == first


@pytest.mark.parametrize("text", ["{", "[]", '{"scan": 3}', '{"scan": {"name": "ore"}}', "\x00"])
def test_a_damaged_run_json_is_said(cli: Any, out: Path, text: str) -> None:
    (out / "run.json").write_text(text, encoding="utf-8")
    code, _, err = cli("report", out)
    assert code == 2
    assert "run.json is damaged: it does not say which scan was segmented; run predict again" in err


def test_sizes_as_asked_for(cli: Any, out: Path) -> None:
    run, table = json.loads((out / "run.json").read_text(encoding="utf-8")), read_table(out)
    assert 0 < run["size_distribution"]["particles"] < len(table), "one is at a face"
    for options, expected in {
        (): run["size_distribution"],
        ("--sieve",): size_facts(table, SHAPE, sieve=True),
        ("--no-edge-correction",): size_facts(table),
    }.items():
        assert cli("report", out, *options)[0] == 0
        page = (out / "report.html").read_text(encoding="utf-8")
        assert f"{expected['diameter']} diameter, µm" in page
        assert float(shown(page)[2]) == pytest.approx(expected["d50_by_number_mm"] * 1000, rel=0.005)
        assert ("included as they are" in page) == ("--no-edge-correction" in options)


def test_without_the_scan_and_with_it_elsewhere(cli: Any, out: Path, scan: Path) -> None:
    first = (out / "report.html").read_text(encoding="utf-8")
    elsewhere = scan.rename(scan.with_name("moved.raw"))
    assert cli("report", out)[0] == 0
    assert "particles are white" in (out / "report.html").read_text(encoding="utf-8")
    assert cli("report", out, "--image", elsewhere)[0] == 0
    assert (out / "report.html").read_text(encoding="utf-8") == first


def test_a_raw_scan_of_the_other_byte_order_has_to_be_said(cli: Any, out: Path, scan: Path) -> None:
    first = (out / "report.html").read_text(encoding="utf-8")
    np.fromfile(scan, "<u2").astype(">u2").tofile(scan)
    assert cli("report", out, "--dtype", ">u2")[0] == 0
    assert (out / "report.html").read_text(encoding="utf-8") == first


def test_a_raw_scan_with_a_description_is_read_by_it(cli: Any, out: Path, scan: Path) -> None:
    first = (out / "report.html").read_text(encoding="utf-8")
    scan.write_bytes(b"header" + scan.read_bytes())
    layout = {"shape": SHAPE, "dtype": "<u2", "offset_bytes": 6}
    scan.with_suffix(".json").write_text(json.dumps(layout), encoding="utf-8")
    assert cli("report", out)[0] == 0
    assert (out / "report.html").read_text(encoding="utf-8") == first


def test_other_folders_and_other_scans_are_refused(cli: Any, out: Path, tmp_path: Path) -> None:
    code, _, message = cli("report", tmp_path)
    assert code == 2
    assert "has no run.json" in message
    np.save(tmp_path / "other.npy", np.zeros((3, 4, 5), np.uint8))
    code, _, message = cli("report", out, "--image", tmp_path / "other.npy")
    assert code == 2
    assert "has shape (3, 4, 5)" in message
    code, _, message = cli("report", out, "--image", tmp_path / "none.tif")
    assert code == 2
    assert "no such file" in message
