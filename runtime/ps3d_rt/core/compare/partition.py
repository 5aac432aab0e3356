"""Where a separation sends what: the yield, the partition (Tromp) curve, and the recovery of minerals.

Of what is in a class, of size or of density, the partition number is the share that reaches the concentrate:
T = y·c / (y·c + (1 − y)·t), with y the yield, c and t the shares of the class in concentrate and tailings, all by mass
(by volume if densities are not known). The recovery of a mineral is the same for the mineral.

Without the masses of the products, the yield is the one at which concentrate and tailings together come nearest to the
feed, in all classes of size and minerals at once (least squares, the two-product formula of many assays).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ps3d_rt.core.compare.sample import ComparedSample, Floats
from ps3d_rt.core.compare.statistics import DRAWS, MOST
from ps3d_rt.core.distribution import CONFIDENCE
from ps3d_rt.errors import InputError

CLASSES = 10
"""Of every property, of equal mass in both products together."""
LEAST_PARTICLES = 20
"""In a class of both products; where there are fewer, the partition number is not given."""


@dataclass(frozen=True, eq=False)
class Partition:
    """A curve over the classes of one property."""

    limits: Floats
    """(classes + 1,)"""
    middles: Floats
    """(classes,) mean of the property in a class, by mass."""
    found: Floats
    """(classes,) share that reaches the concentrate."""
    low: Floats
    high: Floats
    """Ends of the 95 % intervals."""

    def at(self, number: float) -> float:
        """Where the curve reaches a partition number first, between classes along straight lines; NaN if it does not.

        >>> curve = Partition(*[np.array(v, float) for v in ([0, 2, 4], [1, 3], [0.2, 0.8], [0, 0], [1, 1])])
        >>> round(curve.at(0.5), 9)
        2.0
        """
        known = np.isfinite(self.found)
        points = list(zip(self.middles[known].tolist(), self.found[known].tolist(), strict=True))
        for (x0, y0), (x1, y1) in pairwise(points):
            if y0 != y1 and min(y0, y1) <= number <= max(y0, y1):
                return float(x0 + (number - y0) / (y1 - y0) * (x1 - x0))
        return float("nan")


@dataclass(frozen=True, eq=False)
class Separation:
    """What a separation does."""

    concentrate_yield: float
    """Mass of the concentrate over that of the feed."""
    yield_low: float
    yield_high: float
    by_size: Partition
    """Over the equivalent diameter, mm."""
    by_density: Partition | None
    """Over the density of particles, g/cm³; None if densities are not known."""
    recovery: Floats
    """(minerals, 3) found, low, high."""
    recovery_by_size: Floats
    """(size classes, minerals) found."""


def separate(
    feed: ComparedSample | None,
    concentrate: ComparedSample,
    tailings: ComparedSample,
    given_yield: float | None = None,
    seed: int = 0,
) -> Separation:
    """Describe a separation.

    Args:
        feed: needed if the yield is not given.
        concentrate: of the same minerals.
        tailings: as well.
        given_yield: mass of the concentrate over that of the feed, between 0 and 1.
        seed: of the draws.

    Raises:
        InputError: if the yield is neither given nor to be found.
    """
    products = (concentrate, tailings)
    limits = _limits(products, [sample.diameters_mm for sample in products])
    densities = [sample.particle_densities for sample in products]
    known = [values for values in densities if values is not None]
    density_limits = _limits(products, known) if len(known) == 2 else None
    draw = np.random.default_rng(seed)
    rows = [_row(feed, products, limits, density_limits, given_yield, None)]
    feed = None if feed is None else feed.thinned(MOST, draw)
    thin = concentrate.thinned(MOST, draw), tailings.thinned(MOST, draw)
    middle = _row(feed, thin, limits, density_limits, given_yield, None)
    rows += [_row(feed, thin, limits, density_limits, given_yield, draw) for _ in range(DRAWS)]
    found, low, high = ({}, {}, {})
    tail = (1 - CONFIDENCE) / 2
    for name, value in rows[0].items():
        drawn = np.stack([row[name] for row in rows[1:]])
        found[name] = value
        low[name], high[name] = np.quantile(drawn, (tail, 1 - tail), axis=0) + (value - middle[name])
    for part in (found, low, high):
        part["size"] = np.where(_too_few(products, limits), np.nan, part["size"])
    by_density = None
    if density_limits is not None:
        middles = _middles(products, known, density_limits)
        by_density = Partition(density_limits, middles, *(part["density"] for part in (found, low, high)))
    sizes = _middles(products, [sample.diameters_mm for sample in products], limits)
    return Separation(
        concentrate_yield=float(found["yield"]),
        yield_low=float(low["yield"]),
        yield_high=float(high["yield"]),
        by_size=Partition(limits, sizes, *(part["size"] for part in (found, low, high))),
        by_density=by_density,
        recovery=np.stack([part["recovery"] for part in (found, low, high)], axis=1),
        recovery_by_size=found["recovery_by_size"],
    )


def _limits(products: tuple[ComparedSample, ComparedSample], values: list[Floats]) -> Floats:
    """Limits of classes that hold equal mass of both products together."""
    both = np.concatenate(values)
    mass = np.concatenate([sample.amounts.sum(axis=1) * sample.weights for sample in products])
    # Each product counts the same, whatever was scanned of it.
    scale = np.concatenate([np.full(len(v), 1 / m) for v, m in zip(values, (_mass(p) for p in products), strict=True)])
    order = np.argsort(both, kind="stable")
    reached = np.cumsum((mass * scale)[order])
    at = np.searchsorted(reached / reached[-1], np.arange(1, CLASSES) / CLASSES)
    return np.unique(np.concatenate([[both.min()], both[order][at], [np.nextafter(both.max(), np.inf)]]))


def _mass(sample: ComparedSample) -> float:
    return float((sample.amounts.sum(axis=1) * sample.weights).sum())


def _middles(products: tuple[ComparedSample, ComparedSample], values: list[Floats], limits: Floats) -> Floats:
    both = np.concatenate(values)
    mass = np.concatenate([sample.amounts.sum(axis=1) * sample.weights for sample in products])
    number = np.digitize(both, limits[1:-1])
    total = np.bincount(number, mass, len(limits) - 1)
    return np.asarray(np.bincount(number, mass * both, len(limits) - 1) / np.maximum(total, 1e-300))


def _row(
    feed: ComparedSample | None,
    products: tuple[ComparedSample, ComparedSample],
    limits: Floats,
    density_limits: Floats | None,
    given_yield: float | None,
    draw: np.random.Generator | None,
) -> dict[str, Floats]:
    """All numbers of the samples as they are, or of their particles drawn anew."""
    drawn = [None if draw is None else draw.poisson(1.0, len(sample)).astype(np.float64) for sample in products]
    sizes = [_by_class(p, p.diameters_mm, limits, times) for p, times in zip(products, drawn, strict=True)]
    share = given_yield
    if share is None:
        if feed is None:
            raise InputError(
                "a partition curve needs the feed, or the masses of concentrate and tailings in the column mass."
            )
        times = None if draw is None else draw.poisson(1.0, len(feed)).astype(np.float64)
        share = _best_yield(_by_class(feed, feed.diameters_mm, limits, times), *sizes)
    row = {
        "yield": np.array(share),
        "size": _split(share, *(amounts.sum(axis=1) for amounts in sizes)),
        "recovery": _split(share, *(amounts.sum(axis=0) for amounts in sizes)),
        "recovery_by_size": _split(share, *sizes),
    }
    if density_limits is not None:
        by_density = [
            _by_class(p, p.particle_densities, density_limits, times).sum(axis=1)
            for p, times in zip(products, drawn, strict=True)
        ]
        row["density"] = _split(share, *by_density)
    return row


def _by_class(sample: ComparedSample, values: Floats | None, limits: Floats, times: Floats | None) -> Floats:
    """(classes, minerals) share of the sample's mass."""
    number = np.digitize(sample.diameters_mm if values is None else values, limits[1:-1])
    mass = sample.amounts * (sample.weights if times is None else sample.weights * times)[:, None]
    amounts = [np.bincount(number, mass[:, k], len(limits) - 1) for k in range(mass.shape[1])]
    return np.asarray(np.stack(amounts, axis=1) / max(mass.sum(), 1e-300))


def _best_yield(feed: Floats, concentrate: Floats, tailings: Floats) -> float:
    apart = concentrate - tailings
    size = float((apart**2).sum())
    if size < 1e-12:
        raise InputError(
            "concentrate and tailings are alike, so the yield cannot be found; give masses in samples.csv."
        )
    return float(np.clip(((feed - tailings) * apart).sum() / size, 0, 1))


def _split(share: float, concentrate: Floats, tailings: Floats) -> Floats:
    """Share that reaches the concentrate."""
    up, down = share * concentrate, (1 - share) * tailings
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(up / (up + down))


def _too_few(products: tuple[ComparedSample, ComparedSample], limits: Floats) -> Floats:
    both = np.concatenate([sample.diameters_mm for sample in products])
    counts = np.bincount(np.digitize(both, limits[1:-1]), minlength=len(limits) - 1)
    return np.asarray(counts < LEAST_PARTICLES)
