from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import particle_table as script
from ps3d_bench.race import judge
from ps3d_rt.core.measure import measure


def case():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 9, 9)).repeat(4, 0).repeat(4, 1).repeat(4, 2).astype(np.uint32)
    return SimpleNamespace(reference=labels, image=rng.integers(0, 60_000, labels.shape).astype(np.uint16))


def test_both_give_the_same_table(monkeypatch):
    monkeypatch.setattr(script, "WORK_SHARD", (8, 16, 16))
    with ThreadPoolExecutor(2) as threads:
        ours, theirs = judge(script.race(case(), threads), 1)
    assert ours["agreement"] == theirs["agreement"] == 1


def test_a_difference_shows():
    given = case()
    theirs = script.regionprops_table(given.reference, given.image, properties=script.PROPERTIES)
    ours = measure(given.reference, (1.0, 1.0, 1.0), given.image)
    assert script.agreement(ours, theirs) == 1
    assert script.agreement(replace(ours, axis_major_mm=ours.axis_major_mm * 1.01), theirs) == 0
    assert script.agreement(measure(given.reference + 1, (1.0, 1.0, 1.0), given.image), theirs) == 0


def test_the_surface_of_balls_is_right():
    found = script.surface_bias(6, 20)
    assert found["bias"] == pytest.approx(0, abs=0.005)
    assert found["scatter"] < 0.02
