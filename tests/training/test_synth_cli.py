"""``ps3d-rt synth`` and ``ps3d-rt demo`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_synth_writes_the_layout_that_training_reads(cli: Any, tmp_path: Path) -> None:
    options = ("--count", 2, "--seed", 40, "--shape", "32,40,48", "--particle-size", 10, "--touching", 0.5)
    code, out, err = cli("synth", tmp_path / "samples", *options)
    assert (code, out) == (0, f"{tmp_path / 'samples'}\n")
    metadata = json.loads((tmp_path / "samples" / "metadata.json").read_text())
    assert list(metadata) == ["synth_00040", "synth_00041"]
    assert metadata["synth_00040"]["simulated"]["touching"] == 0.5
    assert metadata["synth_00040"]["simulated"]["shape"] == [32, 40, 48]
    for kind in ("images", "instance_seg"):
        assert [p.name for p in sorted((tmp_path / "samples" / kind).iterdir())] == [
            "synth_00040.zarr",
            "synth_00041.zarr",
        ]
    assert "synth_00041" in err


def test_synth_says_how_far_it_is_and_does_not_count_what_is_there_as_done_now(cli: Any, tmp_path: Path) -> None:
    options = ("--seed", 40, "--shape", "32", "--particle-size", 10, "--log-json")
    cli("synth", tmp_path, "--count", 1, *options)
    _, _, err = cli("synth", tmp_path, "--count", 3, *options)
    events = [json.loads(line) for line in err.splitlines()]
    advanced = [(event["done"], event["resumed"]) for event in events if event["event"] == "StageAdvanced"]
    assert advanced == [(1, 1), (2, 1), (3, 1)]
    assert [event["name"] for event in events if event["event"] == "SampleMade"] == ["synth_00041", "synth_00042"]


def test_synth_refuses_what_cannot_be(cli: Any, tmp_path: Path) -> None:
    code, _, err = cli("synth", tmp_path / "samples", "--touching", 1.5)
    assert (code, "touching is 1.5" in err) == (2, True)
    assert not (tmp_path / "samples").exists()


def test_the_demo_ends_with_labels_table_report_and_scores(cli: Any, tmp_path: Path) -> None:
    code, out, err = cli("demo", tmp_path / "demo", "--size", 64)
    assert code == 0, err
    result = tmp_path / "demo" / "result"
    assert {p.name for p in result.iterdir()} == {
        "synth_00007.ome.zarr",
        "particles.parquet",
        "particles.csv",
        "particles_short.csv",
        "psd.csv",
        "dropped.parquet",
        "preview.jpg",
        "report.html",
        "run.json",
    }
    found = json.loads(out)
    assert found["particles"] > 0
    assert found["agreement"]["f1"] > 0.8
    assert found["simulated"] is True
    assert "This scan is simulated" in err
    assert "This scan is simulated" in (result / "report.html").read_text(encoding="utf-8")
