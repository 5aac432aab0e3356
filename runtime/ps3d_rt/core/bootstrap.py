"""How sure percentiles are: a Poisson bootstrap whose draws do not grow with the number of particles.

A plain bootstrap draws every particle 0, 1, 2 … times, Poisson of mean 1, and repeats that. Here particles of similar
size are drawn together, in groups of about the same weight; a heavier particle is a group of its own. A group of the
weights w counts q · Poisson(λ), with q = Σw² / Σw and λ = (Σw)² / Σw². Its mean Σw and variance Σw² are those of
separate draws, and where the weights are equal so is its distribution. Inside the group that holds a percentile, the
cumulative weight grows linearly. That leaves out an 8,000th of the variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_ALONE = 2**14
"""Up to so many particles, each is drawn by itself."""
GROUPS = 2**13

_ROUNDING = 1e-12
"""A share reached but for the rounding of a sum is reached."""


def redraw(
    weights: tuple[NDArray[np.float64], ...], shares: tuple[float, ...], draws: int, seed: int
) -> list[NDArray[np.int64]]:
    """Find which particle each share is reached at, draw by draw.

    Args:
        weights: (n,) each, of particles in ascending order of size, at least one; several ways to weigh the same ones.
        shares: of the weight, 0 to 1.
        draws: how often.
        seed: of the draws.

    Returns:
        For every way to weigh, (draws, shares) places of particles.
    """
    draw = np.random.default_rng(seed)
    if weights[0].size > MOST_ALONE:
        return [_redraw_groups(some, shares, draws, draw) for some in weights]
    found: list[list[NDArray[np.int64]]] = [[] for _ in weights]
    while len(found[0]) < draws:
        times = draw.poisson(1.0, weights[0].size)
        if times.any():
            for places, some in zip(found, weights, strict=True):
                total = np.cumsum(times * some)
                places.append(np.searchsorted(total / total[-1], np.array(shares) * (1 - _ROUNDING)))
    return [np.array(places) for places in found]


def _redraw_groups(
    weights: NDArray[np.float64], shares: tuple[float, ...], draws: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    reached = np.cumsum(weights)
    stops = np.unique(np.searchsorted(reached, reached[-1] * np.arange(1, GROUPS) / GROUPS)) + 1
    starts = np.concatenate([[0], stops[stops < weights.size]])
    before = np.append(0.0, reached)[starts]
    total = np.diff(before, append=reached[-1])
    squares = np.add.reduceat(weights**2, starts)
    step = squares / total
    found = []
    for _ in range(draws):
        drawn = draw.poisson(total / step) * step
        sums = np.cumsum(drawn)
        wanted = np.array(shares) * sums[-1] * (1 - _ROUNDING)
        group = np.searchsorted(sums, wanted)
        part = 1 - (sums[group] - wanted) / drawn[group]
        found.append(np.searchsorted(reached, (before[group] + part * total[group]) * (1 - _ROUNDING)))
    places: NDArray[np.int64] = np.minimum(np.array(found), weights.size - 1)
    return places


def redraw_classes(
    sums: NDArray[np.float64], squares: NDArray[np.float64], draws: int, seed: int
) -> NDArray[np.float64]:
    """Draw what the particles of every class weigh together.

    Args:
        sums: (n,) of the weights of the particles in a class; at least one is above 0.
        squares: (n,) of the squares of these weights.
        draws: how often.
        seed: of the draws.

    Returns:
        (draws, n); in no draw all are 0.
    """
    draw = np.random.default_rng(seed)
    there = sums > 0
    step = squares[there] / sums[there]
    found = np.zeros((draws, sums.size))
    for row in found:
        while not row.any():
            row[there] = draw.poisson(sums[there] / step) * step
    return found
