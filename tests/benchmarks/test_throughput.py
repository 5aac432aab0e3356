import json
import os
import subprocess
import sys

import pytest

from ps3d_bench import command, throughput
from ps3d_bench.plot import draw
from ps3d_rt.errors import Ps3dError


def row(size: int, side: int, normalized: int, planned: int, computed: int, seconds: float) -> dict:
    return {
        "particle_size_voxels": size,
        "shape": (side,) * 3,
        "normalized_shape": [normalized] * 3,
        "zoom": 24 / size,
        "overlap": 0.25,
        "patches": {"planned": planned, "computed": computed, "skipped": planned - computed},
        "engine": {"patch": [64, 64, 64]},
        "seconds_median": seconds,
        "stages_seconds": {"network": seconds / 2, "particles": seconds / 4},
        "other_seconds": seconds / 4,
        "peak_rss_mib": 700,
        "mvoxels_per_s": side**3 / seconds / 1e6,
    }


def test_a_scan_of_half_the_sides_is_run_for_the_particles_that_fit_it(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(throughput, "run_command", lambda *words: calls.append(words))
    made = list(throughput.scans(tmp_path, (128, 100, 90), [20, 23]))
    assert [(scan.shape, scan.particle_size_voxels) for scan in made] == [
        ((128, 100, 90), 20),
        ((64, 50, 45), 20),  # two particles of 20 fit 45 voxels, two of 23 do not
        ((128, 100, 90), 23),
    ]
    assert [words[0] for words in calls] == ["synth"] * 3
    assert len({(words[1], words[3]) for words in calls}) == 3


def test_another_generator_makes_other_scans(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "run_command", lambda *words: None)
    (scan,) = throughput.scans(tmp_path, (32, 32, 32), [20])
    monkeypatch.setattr(throughput, "generator_hash", lambda: "another one")
    assert next(throughput.scans(tmp_path, (32, 32, 32), [20])).path != scan.path


def test_patches_are_skipped_far_away_as_often_as_at_the_same_size():
    rows = [row(60, 128, 51, 1, 1, 3.0), row(60, 256, 102, 27, 9, 5.0), row(20, 256, 307, 343, 343, 60.0)]
    far = throughput.extrapolate(rows)
    assert far["voxels_over_measured"] == pytest.approx(997 * 1256 * 1256 / 256**3, abs=0.1)
    by_size = {size["particle_size_voxels"]: size for size in far["sizes"]}
    assert by_size.keys() == {60, 20}
    assert by_size[60]["patches"] == pytest.approx(8 * 11 * 11 / 3)
    assert by_size[60]["published_minutes_a100"] == 120
    assert by_size[20]["published_minutes_a100"] is None
    assert by_size[20]["minutes"] > by_size[60]["minutes"]
    assert throughput.extrapolate(rows, (997, 1256, 1255))["sizes"][0]["published_minutes_a100"] is None


def test_the_fit_explains_runs_that_follow_it():
    sizes = [(60, 128, 51, 1), (60, 256, 102, 27), (20, 256, 307, 343), (20, 128, 154, 64)]
    rows = [row(*size, size[3], 2 + 0.1 * size[3] + 0.05 * size[1] ** 3 / 1e6) for size in sizes]
    found = throughput.extrapolate(rows)
    assert found["fit"]["seconds_a_run"] == pytest.approx(2, rel=0.01)
    (far,) = [size for size in found["sizes"] if size["particle_size_voxels"] == 60]
    assert far["minutes"] == pytest.approx((2 + 0.1 * 968 + 0.05 * 1572.8) / 60, rel=0.02)


def test_a_stage_that_is_small_beside_the_start_counts_far_away():
    sizes = [(60, 128, 51, 1), (60, 256, 102, 27), (20, 256, 307, 343), (20, 128, 154, 64)]
    rows = [row(*size, size[3], 1.0) for size in sizes]
    for run, start in zip(rows, (3.1, 2.6, 2.5, 3.0), strict=True):  # starting varies by more than reading takes
        reading = 0.01 * run["shape"][0] ** 3 / 1e6
        run |= {"stages_seconds": {"reading": reading}, "other_seconds": start, "seconds_median": start + reading}
    found = throughput.extrapolate(rows)
    assert found["fit_of_stages"]["reading"]["seconds_a_source_voxel"] == pytest.approx(1e-8, rel=0.01)
    assert found["sizes"][0]["minutes"] == pytest.approx((2.8 + 15.7) / 60, abs=0.01)


def test_tables_have_a_line_a_run_and_a_line_a_size():
    rows = [row(60, 256, 102, 27, 9, 5.0), row(20, 256, 307, 343, 343, 60.0)]
    rows[1]["peak_rss_mib"] = None
    text = throughput.as_table({"runs": rows, "extrapolation": throughput.extrapolate(rows)})
    first, _, _, second, _ = text.split("\n\n")
    assert len(first.splitlines()) == len(second.splitlines()) == 4
    for table in (first, second):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "network" in first.splitlines()[0]


def test_growth_is_a_power_of_the_voxels_and_has_a_table():
    rows = [row(60, side, side // 2, 8, 8, 2e-6 * side**3.3) for side in (64, 128, 256)]
    assert throughput.slope(rows) == pytest.approx(1.1)
    found = throughput.extrapolate(rows[:2])
    growth = {"particle_size_voxels": 60, "log_log_slope": 1.1, "runs": rows}
    text = throughput.as_table({"runs": rows, "extrapolation": found, "growth": growth})
    assert "seconds grow as voxels to the power 1.10" in text
    assert "| 256×256×256 | 177.10 |" in text


def test_the_picture_shows_the_published_times_beside_ours(tmp_path):
    rows = [row(60, 128, 51, 1, 1, 3.0), row(60, 256, 102, 27, 9, 5.0), row(20, 256, 307, 343, 343, 60.0)]
    machine = {"cpu": "a CPU", "usable_cores": 2}
    content = {"runs": rows, "extrapolation": throughput.extrapolate(rows), "machine": machine}
    draw(content, tmp_path / "throughput.svg")
    text = (tmp_path / "throughput.svg").read_text(encoding="utf-8")
    assert "997 × 1256 × 1256 voxels" in text
    assert "published, A100: another, larger network" in text


def test_a_command_that_fails_says_what_it_said(tmp_path):
    with pytest.raises(Ps3dError, match=r"predict ended with exit code 2: .*nothing\.tif"):
        command.run_command("predict", tmp_path / "nothing.tif", tmp_path / "out", "--particle-size", 1)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell a process's peak memory")
def test_the_peak_is_that_of_the_process():
    code = "block = bytearray(300_000_000)"
    process = subprocess.Popen([sys.executable, "-c", code])
    large = command._peak_bytes(process)
    assert process.returncode == 0
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])
    command._peak_bytes(process)
    assert process.returncode == 3
    assert 300e6 < large < 3e9


def test_without_wait4_there_is_no_peak(monkeypatch):
    monkeypatch.delattr(os, "wait4", raising=False)
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])
    assert command._peak_bytes(process) is None
    assert process.returncode == 3


def test_the_command_runs_predict_on_scans_of_two_shapes(cli, tmp_path):
    out, picture = tmp_path / "results" / "throughput.json", tmp_path / "throughput.svg"
    options = ("--sizes", 12, "--shape", 48, "--repeats", 1, "--engine", "openvino", "--cache", tmp_path / "cache")
    code, printed, said = cli("bench", "throughput", *options, "--out", out, "--plot", picture, "--json")
    assert code == 0, said
    content = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(printed) == content
    assert [run["shape"] for run in content["runs"]] == [[48, 48, 48], [24, 24, 24]]
    for run in content["runs"]:
        assert run["engine"]["name"] == "openvino"
        assert run["zoom"] == pytest.approx(2)
        assert "network" in run["stages_seconds"]
        assert "all" not in run["stages_seconds"]
        assert run["engine_seconds"] > 0
        # The process starts and imports before its first stage; each figure is rounded to a millisecond.
        assert run["other_seconds"] > 0
        assert run["seconds_median"] == pytest.approx(sum(run["stages_seconds"].values()) + run["other_seconds"], 0.01)
        assert run["peak_rss_mib"] is None or run["peak_rss_mib"] > 50
    assert content["extrapolation"]["largest_relative_error"] < 0.5
    assert "Mvoxel/s" in picture.read_text(encoding="utf-8")
    assert content["command"].startswith("ps3d-rt bench throughput --sizes 12")


@pytest.mark.parametrize("options", [("--sizes", "20,x"), ("--sizes", "0"), ("--shape", "1,2"), ("--shape", "-4")])
def test_options_that_are_no_whole_numbers_are_refused(cli, options):
    code, _, said = cli("bench", "throughput", *options)
    assert code == 2
    assert options[0] in said
