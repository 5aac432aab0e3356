"""The size distribution in classes: frequency and cumulative passing by number, volume and mass, and how sure they are.

A class holds the diameters above its lower and up to its upper width: what passes a sieve and is retained on the next
finer one. The particles that count, and how much each does, are those of :mod:`ps3d_rt.core.distribution`. Intervals
come from the same bootstrap; the particles of a class are drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.bootstrap import redraw_classes
from ps3d_rt.core.distribution import CONFIDENCE, DRAWS, SizeOptions, SizeSample
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.core.sieves import SERIES, around


@dataclass(frozen=True, slots=True, eq=False)
class ClassShares:
    """Shares of a sample in classes of size, each (n,), 0 to 1."""

    frequency: NDArray[np.float64]
    """In the class."""
    frequency_ends: NDArray[np.float64]
    """(2, n) the lower and the upper end of its 95 % interval."""
    passing: NDArray[np.float64]
    """In the class and all finer ones."""
    passing_ends: NDArray[np.float64]
    """(2, n)"""


@dataclass(frozen=True, slots=True, eq=False)
class Psd:
    """A size distribution in n classes, ascending; none without particles."""

    diameter: str
    """``equivalent`` or ``sieve``."""
    lower_mm: NDArray[np.float64]
    """(n,) 0 for what passes the finest sieve."""
    upper_mm: NDArray[np.float64]
    """(n,) infinite for what is retained on the coarsest."""
    particles: NDArray[np.float64]
    """(n,) how many, counted as the edge correction counts them."""
    volume_mm3: NDArray[np.float64]
    """(n,) of these."""
    mass_mg: NDArray[np.float64] | None
    """(n,) None without a density."""
    shares: dict[str, ClassShares]
    """By ``number``, ``volume`` and, with a density, ``mass``."""

    def columns(self) -> dict[str, Any]:
        """Give the columns of ``psd.csv`` by name, (n,) each; shares in percent."""
        found: dict[str, Any] = {
            "diameter": np.full(len(self.lower_mm), self.diameter, object),
            "lower_mm": self.lower_mm,
            "upper_mm": np.where(np.isinf(self.upper_mm), np.nan, self.upper_mm),
            "particles": self.particles,
            "volume_mm3": self.volume_mm3,
        }
        if self.mass_mg is not None:
            found["mass_mg"] = self.mass_mg
        for name, shares in self.shares.items():
            for what in ("frequency", "passing"):
                low, high = getattr(shares, f"{what}_ends")
                ends = {"": getattr(shares, what), "_low": low, "_high": high}
                found |= {f"{name}_{what}{end}_percent": 100 * values for end, values in ends.items()}
        return found


def size_psd(table: SampleTable, shape: Zyx | None, options: SizeOptions) -> Psd:
    """Cut the size distribution of a sample into classes.

    Args:
        table: the particles.
        shape: of the volume, voxels z, y, x; read if the options correct for its faces.
        options: diameter, sieves and density.

    Raises:
        InputError: if particles lie outside a volume of this shape.
    """
    sample = SizeSample.from_table(table, shape if options.edge_correction else None, sieve=options.by_sieve)
    diameter = "sieve" if options.by_sieve else "equivalent"
    if not len(sample.diameters_mm):
        return _no_classes(diameter, options)
    edges = class_edges(sample.diameters_mm, options)
    place = np.searchsorted(edges[1:-1], sample.diameters_mm)  # a diameter equal to a width passes
    volumes = sample.weights * sample.voxels * sample.voxel_mm**3
    volume_mm3 = _sums(place, volumes, len(edges) - 1)
    shares = {
        name: _class_shares(place, weights, len(edges) - 1)
        for name, weights in (("number", sample.weights), ("volume", volumes))
    }
    mass_mg = None
    if options.density_g_cm3 is not None:  # one density for all: shares by mass are those by volume
        mass_mg, shares["mass"] = volume_mm3 * options.density_g_cm3, shares["volume"]
    particles = _sums(place, sample.weights, len(edges) - 1)
    return Psd(diameter, edges[:-1], edges[1:], particles, volume_mm3, mass_mg, shares)


def _no_classes(diameter: str, options: SizeOptions) -> Psd:
    none, ends = np.zeros(0), np.zeros((2, 0))
    with_mass = options.density_g_cm3 is not None
    names = ["number", "volume", "mass"][: 3 if with_mass else 2]
    shares = dict.fromkeys(names, ClassShares(none, ends, none, ends))
    return Psd(diameter, none, none, none, none, none if with_mass else None, shares)


def class_edges(diameters_mm: NDArray[np.float64], options: SizeOptions) -> NDArray[np.float64]:
    """Choose the edges of the classes, ascending: of sieves from 0 to infinity, else of equal steps on a log axis."""
    low, high = float(diameters_mm.min()), float(diameters_mm.max())
    sieves: Sequence[float] = options.sieves_mm
    if options.series is not None:
        sieves = around(SERIES[options.series], low, high)
    if not sieves:
        return size_classes(low, high)
    edges = [0.0, *sieves]
    return np.array(edges if high <= sieves[-1] else [*edges, np.inf])


def _sums(place: NDArray[np.intp], weights: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    return np.bincount(place, weights, classes).astype(np.float64)


def _class_shares(place: NDArray[np.intp], weights: NDArray[np.float64], classes: int) -> ClassShares:
    sums = _sums(place, weights, classes)
    drawn = redraw_classes(sums, _sums(place, weights**2, classes), DRAWS, seed=0)
    tail = (1 - CONFIDENCE) / 2
    frequency, frequencies = sums / sums.sum(), drawn / drawn.sum(axis=1, keepdims=True)
    return ClassShares(
        frequency,
        np.quantile(frequencies, (tail, 1 - tail), axis=0),
        _cumulative(frequency),
        np.quantile(_cumulative(frequencies), (tail, 1 - tail), axis=0),
    )


def _cumulative(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    passing: NDArray[np.float64] = np.minimum(np.cumsum(frequency, axis=-1), 1.0)
    passing[..., -1] = 1.0  # whatever the rounding of the sums
    return passing


def size_classes(low: float, high: float) -> NDArray[np.float64]:
    """Edges of the histogram: equal steps on the logarithmic axis, 10, 20 or 40 a decade, around low..high.

    Each class holds the diameters above its lower and up to its upper edge.

    >>> size_classes(1.0, 10.0).round(2)[[0, 1, -1]]
    array([ 0.89,  1.  , 10.  ])
    """
    decades = log10(high / low)
    a_decade = next((n for n in (10, 20) if n * decades >= 16), 40)
    # The classes are open below, so a particle exactly on an edge needs the class under it.
    first, last = ceil(log10(low) * a_decade - 1e-9) - 1, ceil(log10(high) * a_decade - 1e-9)
    edges = 10.0 ** (np.arange(first, last + 1) / a_decade)
    edges[-1] = max(edges[-1], high)
    return edges
