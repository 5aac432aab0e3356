import json

import numpy as np
import pytest

from ps3d_bench import stages
from ps3d_bench.capability import require
from ps3d_rt.errors import CapabilityError


def test_the_command_times_every_stage_and_all_agree(cli, tmp_path, monkeypatch):
    out = tmp_path / "stages.json"
    options = ("--side", 64, "--repeats", 1, "--cache", tmp_path / "cache", "--out", out)
    monkeypatch.setattr("ps3d_rt.cli.results.for_people", lambda *, as_json: not as_json)
    code, printed, said = cli("bench", "stages", *options)
    assert code == 0, said
    content = json.loads(out.read_text(encoding="utf-8"))
    rows = content["stages"]
    assert list(dict.fromkeys(row["stage"] for row in rows)) == [
        "resampling, smaller, low-pass",
        "resampling, smaller",
        "resampling, larger",
        "blending and argmax",
        "border-core → particles",
        "labels back to the source grid",
        "measuring",
        "writing labels",
        "reading a scan",
    ]
    for row in rows:
        assert row["agreement"] > 0.95
        assert row["seconds_median"] > 0
    exact = {row["runner"]: row["agreement"] for row in rows if row["stage"] == "border-core → particles"}
    assert exact["the published way"] == exact["ps3d-rt, chunks of 32³"] == 1.0
    assert len(printed.splitlines()) == 2 + len(rows)
    assert content["versions"].keys() >= {"scikit-image", "scipy"}


def test_two_resamplings_agree_where_they_differ_by_at_most_half_a_gray_value():
    image = np.zeros((2, 2, 2), np.float32)
    other = image.copy()
    other[0, 0] = 0.4, 0.6
    assert stages._close(image, other) == 7 / 8
    assert stages._close(image, image[:1]) == 0.0


def test_ids_do_not_matter_and_a_lost_particle_does():
    ours = np.array([[[1, 1, 0, 2, 2, 3]]], np.uint32)
    assert stages._same_particles(ours, np.array([[[9, 9, 0, 4, 4, 8]]])) == 1.0
    assert stages._same_particles(ours, np.array([[[9, 9, 0, 4, 4, 0]]])) == pytest.approx(2 / 3)
    assert stages._same_particles(ours, np.array([[[9, 9, 0, 9, 4, 8]]])) < 1


def test_a_table_that_differs_in_one_particle(grains):
    image, reference = grains
    table = stages.measure(reference, stages.SPACING_MM, image)
    names = ("label", "area", "centroid", "bbox", "intensity_mean")
    theirs = stages.regionprops_table(reference, image, properties=names)
    assert stages._same_table(table, theirs) == 1.0
    for name in ("area", "centroid-1", "bbox-5", "intensity_mean"):
        changed = theirs | {name: theirs[name] + np.array([0, 1, 0])}
        assert stages._same_table(table, changed) == pytest.approx(2 / 3), name


def test_what_is_missing_is_named_with_its_extra():
    require("numpy")
    with pytest.raises(CapabilityError, match=r"needs no_such_package.*ps3d-rt\[bench\]"):
        require("numpy", "no_such_package")
