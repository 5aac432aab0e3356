"""Are two samples drawn from one material? A permutation test of all that is compared at once.

1. For every property, the largest distance of the two samples' cumulative curves (Kolmogorov and Smirnov), particles
   weighed by number or volume.
2. The same after the particles, with their weights, were dealt to the two samples anew, :data:`DEALS` times over.
3. A distance counts in standard deviations of the dealt ones, and the largest over all properties decides: its chance
   among the dealt ones is the chance of the whole (Westfall and Young 1993). So many properties raise no false alarm.

Whatever the curves look like, samples of one material are called different in one of twenty comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.compare.sample import SHAPES, ComparedSample, Floats

DEALS = 400
LEVEL = 0.05
MOST = 20_000
"""Particles of a sample that are looked at; of more, an even choice."""


@dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """What the test says."""

    names: tuple[str, ...]
    """Of the properties."""
    distances: Floats
    """(properties,) largest distance of the cumulative curves, 0 to 1."""
    chances: Floats
    """(properties,) chance of so large a distance in any property, if the samples were of one material."""
    chance: float
    """Of the largest distance: below :data:`LEVEL` the samples are called different."""

    @property
    def different(self) -> bool:
        """Whether the samples are called different."""
        return self.chance < LEVEL


def two_sample_test(first: ComparedSample, second: ComparedSample, seed: int = 0) -> TwoSampleTest:
    """Test two samples with the same minerals."""
    draw = np.random.default_rng(seed)
    parts = [sample.thinned(MOST, draw) for sample in (first, second)]
    named = [_properties(sample) for sample in parts]
    owner = np.concatenate([np.zeros(len(parts[0]), bool), np.ones(len(parts[1]), bool)])
    deals = np.stack([owner, *(draw.permutation(owner) for _ in range(DEALS))])
    distances = np.stack(
        [
            _distances(np.concatenate([a for a, _ in both]), np.concatenate([w for _, w in both]), deals)
            for both in zip(named[0].values(), named[1].values(), strict=True)
        ],
        axis=1,
    )
    spread = np.maximum(distances.std(axis=0), 1e-12)
    standard = (distances - distances.mean(axis=0)) / spread
    largest = standard.max(axis=1)
    chances = (largest[:, None] >= standard[0] - 1e-12).mean(axis=0)
    return TwoSampleTest(tuple(named[0]), distances[0], chances, float(chances.min()))


def _properties(sample: ComparedSample) -> dict[str, tuple[Floats, Floats]]:
    """Name → values and weights."""
    weights, volume = sample.weights, sample.weights * sample.volumes_mm3
    found = {
        "size by number": (sample.diameters_mm, weights),
        "size by volume": (sample.diameters_mm, volume),
    }
    for k, name in enumerate(SHAPES):
        values = sample.shapes[:, k]
        known = np.isfinite(values)
        found[name] = (np.where(known, values, 0.0), np.where(known, weights, 0.0))
    shares = sample.shares
    return found | {f"share of {name}": (shares[:, k], volume) for k, name in enumerate(sample.minerals)}


def _distances(values: Floats, weights: Floats, deals: NDArray[np.bool_]) -> Floats:
    """(deals,) largest distance of the two cumulative curves of each deal."""
    order = np.argsort(values, kind="stable")
    last = np.append(values[order][1:] != values[order][:-1], True)
    weights = weights[order]
    total = np.cumsum(weights)
    found = np.empty(len(deals))
    for start, stop in pairwise([*range(0, len(deals), 32), len(deals)]):
        second = np.cumsum(weights * deals[start:stop, order], axis=1)
        ends = np.maximum(second[:, -1:], 1e-300), np.maximum(total[-1] - second[:, -1:], 1e-300)
        apart = np.abs(second / ends[0] - (total - second) / ends[1])
        found[start:stop] = apart[:, last].max(axis=1)
    return found
