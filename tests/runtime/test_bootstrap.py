"""Drawn in groups, particles give the intervals that they give when each is drawn by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ps3d_rt.core import bootstrap
from ps3d_rt.core.bootstrap import redraw

SHARES = (0.1, 0.5, 0.9)


def ends(places: Any, diameters: Any) -> Any:
    return np.quantile(diameters[places], (0.025, 0.975), axis=0)


@pytest.mark.parametrize("spread", [0.2, 0.9])
def test_groups_give_the_intervals_of_particles_alone(monkeypatch: pytest.MonkeyPatch, spread: float) -> None:
    """Both ends within 15 % of the interval's width, which 2,000 draws leave uncertain by 2 %; heavy tails too."""
    rng = np.random.default_rng(0)
    diameters = np.sort(rng.lognormal(0, spread, 20_000))
    weights = (rng.uniform(1, 1.5, diameters.size), diameters**3)
    grouped = redraw(weights, SHARES, 2000, 1)
    monkeypatch.setattr(bootstrap, "MOST_ALONE", diameters.size)
    alone = redraw(weights, SHARES, 2000, 2)
    for some, each in zip(grouped, alone, strict=True):
        found, want = ends(some, diameters), ends(each, diameters)
        assert np.all(np.abs(found - want) <= 0.15 * (want[1] - want[0]))


def test_heavy_particles_are_drawn_by_themselves() -> None:
    """One particle has three fifths of the weight: D50 is itself about as often as it is drawn."""
    weights = np.append(np.ones(20_000), 30_000.0)
    (places,) = redraw((weights,), (0.5,), 400, 0)
    share = float(np.mean(places == 20_000))
    assert 0.55 < share < 0.71, "1 - 1/e, when it is drawn at all"


def test_equal_particles_spread_as_the_binomial_says() -> None:
    count = 1_000_000
    (places,) = redraw((np.ones(count),), (0.5,), 400, 0)
    assert places.mean() == pytest.approx(count / 2, abs=4 * count**0.5 / 20)
    assert places.std() == pytest.approx(count**0.5 / 2, rel=0.15)
