"""Minerals as the last step of a run: from the command, from Python, in a batch, and in a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.batch.listing import parse_csv
from ps3d_rt.batch.run import failure_of, run_batch
from ps3d_rt.batch.samples import Sample
from ps3d_rt.core.minerals.phases import AutoPhases
from ps3d_rt.errors import InputError
from ps3d_rt.events import RunResumed, SamplesKept
from ps3d_rt.io.frames import read_frame
from ps3d_rt.io.phases import read_phases
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.watch.config import parse_config

OPTIONS = ("--spacing", "0.01", "--particle-size", "0.18", "--engine", "fake")
GIVEN = {"spacing": 0.01, "particle_size": 0.18, "engine": "fake"}
QUARTZ, PYRITE = {"name": "quartz", "low": 4000, "high": 13_000}, {"name": "pyrite", "low": 13_000, "high": 40_000}


def write_phases(path: Path, *phases: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"unit": "gray", "phases": phases}), encoding="utf-8")
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Two balls 18 voxels across in an embedding of 9000: one 10,000 brighter, one 21,000."""
    grid, noise = np.indices((22, 22, 44)), np.random.default_rng(0).normal(0, 100, (22, 22, 44))
    gray = 9000 + noise
    for x, brighter in ((11, 10_000), (32, 21_000)):
        gray += brighter * (((grid - np.reshape((11, 11, x), (3, 1, 1, 1))) ** 2).sum(0) <= 81)
    np.save(tmp_path / "ore.npy", gray.astype(np.uint16))
    return tmp_path / "ore.npy"


@pytest.fixture
def phases(tmp_path: Path) -> Path:
    return write_phases(tmp_path / "phases.json", QUARTZ, PYRITE)


def test_a_run_with_phases_leaves_what_the_two_commands_leave(
    cli: Any, tmp_path: Path, scan: Path, phases: Path
) -> None:
    code, printed, err = cli("predict", scan, tmp_path / "one", *OPTIONS, "--phases", phases)
    assert code == 0, err
    composition = json.loads(printed)["minerals"]["composition"]
    assert composition.keys() == {"quartz", "pyrite"}
    assert sum(composition.values()) == pytest.approx(1, abs=1e-5)
    table = read_frame(tmp_path / "one/minerals/minerals.parquet")
    assert table["mineral"].tolist() == ["quartz", "pyrite"]
    assert table["quartz_share"].tolist() == pytest.approx([1, 0], abs=0.02)
    run = json.loads((tmp_path / "one/run.json").read_text(encoding="utf-8"))
    assert run["minerals"]["phases"] == read_phases(phases).to_json()
    assert "minerals" in run["seconds"]

    assert cli("predict", scan, tmp_path / "two", *OPTIONS)[0] == 0
    assert not (tmp_path / "two/minerals").exists()
    assert cli("minerals", tmp_path / "two", "--phases", phases)[0] == 0
    again = json.loads((tmp_path / "two/run.json").read_text(encoding="utf-8"))
    assert again["minerals"] == run["minerals"]
    for path in (tmp_path / "two/minerals").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "one/minerals" / path.name).read_bytes(), path.name
    for name in ("one", "two"):
        page = (tmp_path / name / "report.html").read_text(encoding="utf-8")
        assert page.count('alt="Minerals of particle') == 2


def test_a_proposal_is_left_in_the_output_and_said_in_the_report(cli: Any, tmp_path: Path, scan: Path) -> None:
    code, printed, err = cli("predict", scan, tmp_path / "out", *OPTIONS, "--phases", "auto:2")
    assert code == 0, err
    proposed = json.loads(printed)["minerals"]["proposed"]
    assert proposed == json.loads((tmp_path / "out/phases.json").read_text(encoding="utf-8"))
    assert [phase["low"] < peak < phase["high"] for phase, peak in zip(proposed["phases"], (1e4, 2.1e4), strict=True)]
    said = "phases.json is a proposal of 2 phase(s), and nothing was measured with it"
    assert said in err
    assert said in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "out/minerals").exists()
    code, _, err = cli("minerals", tmp_path / "out")
    assert code == 0, err
    run = json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))
    assert run["minerals"]["phases"] == proposed
    assert not [text for text in run["warnings"] if "proposal" in text], "it is accepted"
    assert said not in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_phases_are_read_before_anything_is_computed(cli: Any, tmp_path: Path, scan: Path) -> None:
    write_phases(tmp_path / "wrong.json", QUARTZ, PYRITE | {"low": 12_000})
    for given, words in (
        ("auto:9", "it must be 1 to 8"),
        ("auto", "auto:N with N phases at most"),
        (tmp_path / "none.json", "none.json is not there"),
        (tmp_path / "wrong.json", "overlap"),
    ):
        code, _, err = cli("predict", scan, tmp_path / "out", *OPTIONS, "--phases", given)
        assert (code, words in err) == (2, True), err
        assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_phase_that_is_not_there_ends_the_run_and_another_goes_on(tmp_path: Path, scan: Path, phases: Path) -> None:
    gold = write_phases(tmp_path / "gold.json", QUARTZ, PYRITE, {"name": "gold", "low": 45_000, "high": 60_000})
    with pytest.raises(InputError, match=r"gold was never found.*The labels are done: the same command with other"):
        ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN, phases=gold)
    assert not (tmp_path / "out").exists()
    heard: list[Any] = []
    run = ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN, phases=phases, progress=heard.append)
    assert [event for event in heard if isinstance(event, RunResumed)]
    assert run["minerals"]["composition"].keys() == {"quartz", "pyrite"}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_stopped_after_its_minerals_goes_on_to_what_is_asked_for_then(
    tmp_path: Path, scan: Path, phases: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.output.draw_report", stop)
        with pytest.raises(KeyboardInterrupt):
            ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN, phases=phases)
    run = ps3d_rt.predict_to_folder(scan, tmp_path / "out", **GIVEN, phases=phases if wanted else None)
    assert run["resumed"]
    assert ("minerals" in run) is (tmp_path / "out/minerals").exists() is wanted
    if wanted:
        ps3d_rt.predict_to_folder(scan, tmp_path / "whole", **GIVEN, phases=phases)
        for path in (tmp_path / "whole/minerals").glob("*.csv"):
            assert path.read_bytes() == (tmp_path / "out/minerals" / path.name).read_bytes()


def test_in_memory_there_are_no_minerals(scan: Path) -> None:
    with pytest.raises(InputError, match=r"minerals are found in the folder of a run only.*predict_to_folder"):
        ps3d_rt.predict(scan, **GIVEN, phases="auto:2")


@pytest.fixture
def batch(tmp_path: Path, scan: Path) -> Callable[..., list[Any]]:
    """Run a batch of the one scan with some phases; gives what was heard."""
    engines = iter([FakeEngine((16, 16, 16), threshold=0.3)])

    def run(phases: Any, of_sample: Any = None) -> list[Any]:
        options = PredictOptions(model=fake_bundle(16), spacing=0.01, particle_size=0.18, phases=phases)
        heard: list[Any] = []
        with EnginePool(options, lambda bundle, _: next(engines)) as pool:
            sample = Sample(name="ore", path=scan, phases=of_sample)
            run_batch([sample], tmp_path / "out", pool, options, on_event=heard.append)
        return heard

    return run


def test_a_batch_adds_minerals_to_labels_that_are_there(
    tmp_path: Path, phases: Path, batch: Callable[..., list[Any]]
) -> None:
    batch("auto:2")
    ore = tmp_path / "out/ore"
    assert (ore / "phases.json").is_file()
    labels = {path: path.stat().st_mtime_ns for path in (ore / "ore.ome.zarr").rglob("*")}
    (ore / "phases.json").write_text("a person is at it", encoding="utf-8")
    assert any(isinstance(event, SamplesKept) for event in batch("auto:2")), "a proposal is not made again"

    batch("auto:2", read_phases(phases))  # what the list says of a sample comes before the option
    assert failure_of(tmp_path / "out", "ore") is None
    assert read_frame(ore / "minerals/composition.parquet")["mineral"].tolist() == ["quartz", "pyrite"]
    assert labels == {path: path.stat().st_mtime_ns for path in (ore / "ore.ome.zarr").rglob("*")}
    assert any(isinstance(event, SamplesKept) for event in batch(phases)), "the same phases"

    write_phases(phases, QUARTZ | {"name": "calcite"}, PYRITE)
    batch(phases)
    assert read_frame(ore / "minerals/composition.parquet")["mineral"].tolist() == ["calcite", "pyrite"]
    write_phases(phases, QUARTZ, PYRITE, {"name": "gold", "low": 45_000, "high": 60_000})
    batch(phases)
    assert "gold was never found" in str(failure_of(tmp_path / "out", "ore"))


def test_a_list_of_samples_names_phases(tmp_path: Path, phases: Path) -> None:
    text = "path,phases\na.tif,phases.json\nb.tif,auto:3\nc.tif,\nd.tif,auto:x\ne.tif,../phases.json\n"
    given, auto, none, no_number, outside = parse_csv(text, tmp_path, "samples.csv")
    assert (given.phases, auto.phases, none.phases) == (read_phases(phases), AutoPhases(3), None)
    assert "samples.csv, line 5: phases are 'auto:x'" in str(no_number.problem)
    assert "leads out of" in str(outside.problem)


def test_a_watched_folder_has_phases(phases: Path) -> None:
    assert parse_config({"scan": {"phases": str(phases)}}, "watch.toml").scan.options().phases == read_phases(phases)
    assert parse_config({}, "watch.toml").scan.options().phases is None
    with pytest.raises(InputError, match="phases are 'auto:many'"):
        parse_config({"scan": {"phases": "auto:many"}}, "watch.toml").scan.options()
