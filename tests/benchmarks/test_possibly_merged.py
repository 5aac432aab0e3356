import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import possibly_merged as script
from ps3d_rt.core.measure import measure


def grains() -> np.ndarray:
    """Twelve balls in a row that touch, labels 1 to 12."""
    grid = np.indices((18, 18, 12 * 16 + 2))
    labels = np.zeros(grid.shape[1:], np.uint32)
    for k in range(12):
        labels[(grid[0] - 9) ** 2 + (grid[1] - 9) ** 2 + (grid[2] - 9 - 16 * k) ** 2 <= 8**2] = k + 1
    return labels


def test_pairs_that_touch_are_joined_each_particle_once_at_most():
    labels = grains()
    joined, which = script.join_pairs(labels, np.random.default_rng(1), np.arange(2, 13))
    assert 1 <= len(which) <= 5
    for one in which.tolist():
        assert sorted(np.unique(labels[joined == one])) in ([one, one + 1], [one - 1, one])
    assert np.array_equal(joined == 1, labels == 1), "not one of those allowed"
    assert len(np.unique(joined)) == 13 - len(which)
    assert script.merged(joined, labels).tolist() == sorted(which.tolist())


def test_a_tenth_of_a_particle_or_of_a_grain_counts():
    truth = np.repeat(np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2], np.uint32), 10)[None, None]
    assert script.merged(np.ones_like(truth), truth).tolist() == [1]
    nearly = truth.copy()
    nearly[0, 0, 99:] = 0
    assert script.merged(np.ones_like(truth), nearly).tolist() == []
    parts = np.where(np.arange(110) < 80, 5, 6)[None, None].astype(np.uint32)
    assert script.split(parts, truth).tolist() == [5], "most of the other lies in grain 2"
    assert script.split(truth, truth).tolist() == []


def test_the_result_adds_up(tmp_path: Path, monkeypatch, capsys):
    labels = grains()
    table = measure(labels, (1, 1, 1))
    monkeypatch.setattr(
        script, "read_pairs", lambda *folders: iter([("a", labels, (labels, table)), ("b", labels, None)])
    )
    out = tmp_path / "merged.json"
    script.main(["samples", "predictions", "--out", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["labels"] for row in found["totals"]] == ["grains", "predictions", "as found"]
    joined, _, as_found = (SimpleNamespace(**row) for row in found["totals"])
    assert joined.planted == joined.merged == joined.hits == joined.listed > 0
    assert (joined.found_of_planted, joined.false_of_listed) == (1, 0)
    assert (as_found.merged, as_found.listed, as_found.found_of_merged) == (0, 0, None)
    assert "false_of_listed" in capsys.readouterr().out
