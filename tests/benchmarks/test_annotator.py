"""The simulated person of the annotation benchmark: finds what is wrong, mends it, and counts right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ps3d_bench.annotator import Corrector, contacts, drawn_border, part_contacts, scribble

SHAPE = (20, 24, 56)


def balls() -> Any:
    """Three balls in a row; the first two touch."""
    z, y, x = np.indices(SHAPE)
    away = [(z - 10) ** 2 + (y - 12) ** 2 + (x - centre) ** 2 for centre in (10, 22, 44)]
    truth = np.where(np.min(away, axis=0) < 49, 1 + np.argmin(away, axis=0), 0)
    noise = np.random.default_rng(0).normal(0, 200, SHAPE)
    return truth.astype(np.uint32), np.where(truth > 0, 20_000, 8_000) + noise


def test_a_contact_is_found_and_drawn_across() -> None:
    (found,) = contacts(balls()[0])
    first, second, places = found
    assert (first, second) == (1, 2)
    assert np.ptp(places[:, 2]) <= 1
    stroke = drawn_border(places)
    assert np.ptp(stroke, axis=0).max() > np.ptp(places, axis=0).max()
    assert np.count_nonzero(np.ptp(stroke, axis=0) < 0.1) >= 1


def test_contacts_that_are_parted_are_counted() -> None:
    found = part_contacts(*balls())
    assert found["contacts"] == 1
    for way in ("stroke", "marks"):
        assert found[way]["parted"] == 1
        assert found[way]["boundary_error_voxels"] < 1


@pytest.mark.parametrize(
    ("change", "clicks", "strokes"),
    [
        (lambda labels: np.where(labels == 2, 1, labels), 0, 1),
        (lambda labels: np.where((labels == 3) & (np.indices(SHAPE)[2] < 44), 9, labels), 2, 0),
        (lambda labels: np.where(labels == 3, 0, labels), 1, 0),
        (lambda labels: np.where((labels == 0) & (np.indices(SHAPE).sum(axis=0) < 9), 9, labels), 1, 0),
    ],
    ids=["merged", "split", "missed", "false"],
)
def test_each_error_costs_what_it_takes(change: Any, clicks: int, strokes: int) -> None:
    truth, image = balls()
    done = Corrector(change(truth), image, truth, 14).work()
    assert done["f1_instance"][0] < 0.98 <= done["f1_instance"][-1]
    assert (done["clicks"], done["strokes"], done["redrawn"]) == (clicks, strokes, 0)


def test_scribbles_stay_few_and_find_the_particles() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    truth, image = balls()
    likely, facts = scribble(image, truth, 0)
    assert facts["f1"] > 0.95
    assert likely.shape == truth.shape
    assert facts["strokes"] >= 24
