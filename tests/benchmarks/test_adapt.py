"""What the benchmark of adaptation makes of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

import adapt
from ps3d_training.synth.spec import SampleSpec


def row(before: float, after: float, *, adopted: bool) -> dict[str, Any]:
    right = adopted == (after > before)
    return {"before": before, "after": after, "gain": after - before, "adopted": adopted, "picked_the_better": right}


def test_only_what_is_adopted_counts_as_gain_or_loss() -> None:
    rows = [row(0.6, 0.7, adopted=True), row(0.9, 0.5, adopted=False), row(0.8, 0.79, adopted=True)]
    found = adapt.summary(rows)
    assert np.isclose(found["mean_gain"], 0.03)
    assert np.isclose(found["mean_gain_where_below_0.75"], 0.1)
    assert np.isclose(found["largest_loss"], -0.01)
    assert found["picked_the_better"] == "2 of 3"
    assert adapt.summary([]) == {}


def test_every_kind_is_a_sample_that_can_be_made() -> None:
    assert len(adapt.UNLIKE) == 10
    for fields in adapt.UNLIKE.values():
        SampleSpec(shape=adapt.SHAPE, particle_size_voxels=adapt.SIZE_VOXELS, **fields)
