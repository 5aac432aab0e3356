"""``--particle-size auto``: the decisions, the parts that are looked at, and the option as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ps3d_rt
from ps3d_rt.core.measure import measure
from ps3d_rt.core.size_trials import SizeTrial, find_size, mean_diameter_mm, sizes_to_try
from ps3d_rt.errors import InputError
from ps3d_rt.events import Event, SizeEstimated, SizeMismatch, SizeTried
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.stages.particle_size import estimate_particle_size as estimate
from ps3d_rt.stages.particle_size import parts

SHAPE = (96, 96, 96)
RADIUS, PITCH = 6.0, 16


@pytest.fixture(scope="module")
def scan() -> Any:
    """Balls of 12 voxels on a lattice, uint16."""
    z, y, x = ((np.indices(SHAPE) - 4) % PITCH - PITCH / 2).astype(float)
    noise = np.random.default_rng(0).normal(0, 100, SHAPE)
    return (np.where(z**2 + y**2 + x**2 < RADIUS**2, 30000, 9000) + noise).astype(np.uint16)


def seen(true_mm: float, slope: float = 0.2, crowd: int = 50) -> Any:
    """A trial of particles that are ``true_mm`` wide: nothing below a fifth and above five times the size."""

    def look(size: float) -> SizeTrial:
        there = true_mm / 5 < size < true_mm * 5
        found = true_mm * (size / true_mm) ** slope if there else None
        return SizeTrial(assumed_mm=size, found_mm=found, particles=crowd if there else 0, patches=8)

    return look


@given(true_mm=st.floats(0.05, 2.0), slope=st.floats(-0.3, 0.3))
def test_the_search_settles_where_found_and_assumed_agree(true_mm: float, slope: float) -> None:
    look = seen(true_mm, slope)
    estimate = find_size(look, look, sizes_to_try(2.0, 0.01))
    assert estimate.particle_size_mm == pytest.approx(true_mm, rel=0.1)
    assert len(estimate.trials) <= 6 + 3
    assert estimate.patches == 8 * len(estimate.trials)


def test_crumbs_do_not_end_the_search_and_a_few_particles_do_if_there_are_no_more() -> None:
    def crumbs(size: float) -> SizeTrial:
        return (
            seen(0.1)(size) if size < 0.3 else SizeTrial(assumed_mm=size, found_mm=size / 10, particles=90, patches=8)
        )

    assert find_size(crumbs, crumbs, sizes_to_try(3.0, 0.01)).particle_size_mm == pytest.approx(0.1, rel=0.1)
    few = seen(0.1, crowd=3)
    assert find_size(few, few, sizes_to_try(3.0, 0.01)).particle_size_mm == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("crowd", [0, 2])
def test_a_scan_without_particles_has_no_estimate(crowd: int) -> None:
    look = seen(0.1, crowd=crowd)
    with pytest.raises(InputError, match=r"cannot be estimated.*pass --particle-size"):
        find_size(look, look, sizes_to_try(1.0, 0.01))


def test_parts_count_large_particles_as_often_as_the_scan_holds_them_whole() -> None:
    """A row of rods: 2 and 30 long, as many of each. The parts cut most long ones; the mean must not fall."""
    length, labels = 4000, np.zeros((3, 3, 4000), np.uint32)
    at, label, draw = 1, 0, np.random.default_rng(0)
    while at < length - 40:
        label += 1
        side = (2, 30)[label % 2]
        labels[1, 1, at : at + side] = label
        at += side + int(draw.integers(1, 6))

    def table(part: Any) -> Any:
        return measure(part, (1.0, 1.0, 1.0))

    whole, _ = mean_diameter_mm([(table(labels), labels.shape)], labels.shape)
    cut = [labels[:, :, x : x + 50] for x in range(0, length, 50)]
    parted, count = mean_diameter_mm([(table(part), part.shape) for part in cut], labels.shape)
    plain = np.mean(np.concatenate([t.equivalent_diameter_mm[~t.touches_edge] for t in map(table, cut)]))
    assert count < label
    assert parted == pytest.approx(whole, rel=0.03)
    assert plain < 0.9 * whole
    assert np.isnan(mean_diameter_mm([(table(labels[:, :, :1]), (3, 3, 1))], labels.shape)[0])


@given(shape=st.tuples(*[st.integers(1, 40)] * 3), lengths=st.tuples(*[st.floats(0.7, 60)] * 3))
def test_parts_tile_the_volume_from_the_middle_on(shape: Any, lengths: Any) -> None:
    times = np.zeros(shape, int)
    for part in parts(shape, lengths):
        times[part.slices] += 1
    assert (times == 1).all()


@pytest.mark.parametrize("side", [0.01, 0.05])
def test_the_estimate_is_the_size_of_the_balls(scan: Any, side: float) -> None:
    seen: list[Event] = []
    result = ps3d_rt.predict(scan, spacing=side, particle_size="auto", engine="fake", progress=seen.append)
    size = result.run["parameters"]["particle_size_mm"]
    assert size == pytest.approx(2 * RADIUS * side, rel=0.15)
    facts = result.run["particle_size"]
    assert (facts["how"], facts["mismatch"]) == ("estimated", False)
    tried = [event for event in seen if isinstance(event, SizeTried)]
    assert [event.assumed_mm for event in tried] == [trial["assumed_mm"] for trial in facts["trials"]]
    assert [event.particle_size_mm for event in seen if isinstance(event, SizeEstimated)] == [size]
    again = ps3d_rt.predict(scan, spacing=side, particle_size=size, engine="fake")
    assert again.run["particle_size"]["how"] == "given"
    assert np.array_equal(again.labels, result.labels)


def test_a_size_that_is_far_off_is_said(scan: Any) -> None:
    seen: list[Event] = []
    run = ps3d_rt.predict(scan, spacing=0.01, particle_size=0.3, engine="fake", progress=seen.append).run
    (told,) = [event for event in seen if isinstance(event, SizeMismatch)]
    assert (told.given_mm, told.found_mm) == (0.3, run["particle_size"]["mean_found_mm"])
    assert told.found_mm == pytest.approx(0.12, rel=0.2)
    assert run["particle_size"]["mismatch"]


def test_auto_on_the_command_line(cli: Any, scan: Any, tmp_path: Path) -> None:
    write_volume(tmp_path / "ore.tif", scan)
    options = ("--spacing", "0.01", "--particle-size", "auto", "--engine", "fake")
    code, _, err = cli("predict", tmp_path / "ore.tif", tmp_path / "out", *options)
    assert code == 0, err
    assert "particle size: 0.1" in err
    run = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    size = run["parameters"]["particle_size_mm"]
    code, out, err = cli("plan", tmp_path / "ore.tif", *options, "--no-trial")
    assert code == 0, err
    assert json.loads(out)["particle_size_mm"] == size
    code, _, _ = cli("predict", tmp_path / "ore.tif", tmp_path / "two", *options, "--chunk", "64")
    assert code == 0
    assert json.loads((tmp_path / "two" / "run.json").read_text())["parameters"]["particle_size_mm"] == size


def test_what_cannot_be_estimated_is_exit_code_2(cli: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(1000, 10, (64, 64, 64)).astype(np.uint16))
    options = ("--spacing", "0.01", "--engine", "fake")
    code, _, err = cli("predict", tmp_path / "noise.npy", tmp_path / "out", *options, "--particle-size", "auto")
    assert (code, "pass --particle-size" in err) == (2, True)
    code, _, err = cli("predict", tmp_path / "noise.npy", tmp_path / "out", *options, "--particle-size", "large")
    assert (code, "--particle-size is 'large'" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["noise.npy"]


def test_a_run_that_goes_on_keeps_its_estimate_and_another_scan_gets_its_own(
    cli: Any, scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    made: list[object] = []
    monkeypatch.setattr("ps3d_rt.pipeline.estimate_particle_size", lambda *a: made.append(1) or estimate(*a))
    write_volume(tmp_path / "ore.tif", scan)
    arguments = ("predict", tmp_path / "ore.tif", tmp_path / "out", "--engine", "fake")
    with monkeypatch.context() as patched:
        patched.setattr("ps3d_rt.pipeline.segment_volume", interrupt)
        assert cli(*arguments, "--spacing", "0.01")[0] == 4
        assert cli(*arguments, "--spacing", "10um")[0] == 4
        assert len(made) == 1, "nothing but the estimate was done, and it is kept"
        assert cli(*arguments, "--spacing", "0.02")[0] == 4
        assert len(made) == 2
    code, _, err = cli(*arguments, "--spacing", "0.02")
    assert (code, len(made)) == (0, 2), err
    assert "mm, estimated before the run was stopped" in err
    run = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["parameters"]["particle_size_mm"] == pytest.approx(4 * RADIUS * 0.01, rel=0.15)
    assert run["particle_size"]["how"] == "estimated"
    assert run["particle_size"]["trials"]
