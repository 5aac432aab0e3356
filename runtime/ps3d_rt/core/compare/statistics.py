"""What samples are compared by, with intervals; and how two differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ps3d_rt.core.compare.sample import SHAPES, ComparedSample, Floats
from ps3d_rt.core.distribution import CONFIDENCE, Cumulative

DRAWS = 200
MOST = 200_000
"""Particles of a sample that are drawn from; of more, an even choice, which makes intervals no narrower."""
FREE = 0.9
"""Share of a mineral from which a particle counts as liberated."""
_PERCENTILES = (0.1, 0.5, 0.9)
_POWER = 0.84
"""Normal deviate of a power of 80 %: four of five such pairs of samples would show the difference."""
_SURE = 1.96


@dataclass(frozen=True, eq=False)
class Drawn:
    """Statistics of a sample."""

    names: tuple[str, ...]
    """With units; shares are of 1."""
    found: Floats
    """(statistics,)"""
    draws: Floats
    """(draws, statistics) of particles drawn anew."""
    particles: int
    """That were drawn from."""

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """Ends of the 95 % intervals."""
        return _ends(self.draws)


@dataclass(frozen=True, eq=False)
class Difference:
    """How a second sample differs from a first; (statistics,) each."""

    names: tuple[str, ...]
    found: Floats
    """Second minus first."""
    low: Floats
    high: Floats
    """Of the 95 % interval."""
    needed: Floats
    """Particles a sample, both alike, that would show the difference found in four of five trials; Inf if there is
    none."""


def statistics_of(sample: ComparedSample, seed: int = 0) -> Drawn:
    """Compute all statistics of a sample, and those of :data:`DRAWS` draws of its particles (Poisson of mean 1)."""
    names, found = _statistics(sample, sample.weights)
    draw = np.random.default_rng(seed)
    part = sample.thinned(MOST, draw)
    middle = found if part is sample else _statistics(part, part.weights)[1]
    draws: list[Floats] = []
    while len(draws) < DRAWS:
        times = draw.poisson(1.0, len(part))
        if times.any():
            draws.append(_statistics(part, part.weights * times)[1] + (found - middle))
    return Drawn(names, found, np.array(draws), len(part))


def difference(first: Drawn, second: Drawn) -> Difference:
    """Subtract the first of two samples from the second; both have the same statistics."""
    change, drawn = second.found - first.found, second.draws - first.draws
    low, high = _ends(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The error of a difference falls with the square root of the particles; both samples with the smaller number.
        ratio = (_SURE + _POWER) * np.nanstd(drawn, axis=0) / np.abs(change)
        needed = np.where(change == 0, np.inf, np.ceil(min(first.particles, second.particles) * ratio**2))
    return Difference(first.names, change, low, high, needed)


def _ends(drawn: Floats) -> tuple[Floats, Floats]:
    tail = (1 - CONFIDENCE) / 2
    known = np.isfinite(drawn).any(axis=0)
    low, high = np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    low[known], high[known] = np.nanquantile(drawn[:, known], (tail, 1 - tail), axis=0)
    return low, high


def _statistics(sample: ComparedSample, weights: Floats) -> tuple[tuple[str, ...], Floats]:
    counts = weights > 0
    weights, diameters = weights[counts], sample.diameters_mm[counts]
    volume = weights * sample.volumes_mm3[counts]
    found: dict[str, float] = {}
    for kind, amount in (("number", weights), ("volume", volume)):
        marks = Cumulative.from_diameters(diameters, amount).percentiles(_PERCENTILES)
        found |= {f"d{p * 100:.0f}_by_{kind}_mm": mark for p, mark in zip(_PERCENTILES, marks, strict=True)}
    for name, values in zip(SHAPES, sample.shapes[counts].T, strict=True):
        known = np.isfinite(values)
        half = Cumulative.from_diameters(values[known], weights[known]).percentiles((0.5,)) if known.any() else [np.nan]
        found[f"median_{name}"] = half[0]
    amounts = sample.amounts[counts] * weights[:, None]
    shares, kind = sample.shares[counts], "volume" if sample.densities is None else "mass"
    for k, mineral in enumerate(sample.minerals):
        total = amounts[:, k].sum()
        free = amounts[shares[:, k] >= FREE, k].sum()
        found[f"{mineral}: {kind} share"] = total / amounts.sum()
        found[f"{mineral}: share liberated"] = free / total if total else np.nan
    return tuple(found), np.array(list(found.values()))
