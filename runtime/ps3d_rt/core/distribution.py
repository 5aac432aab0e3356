"""The size distribution of a sample: D10, D50 and D90, by number and by volume, and how sure they are.

*Percentiles.* D(p) is the smallest diameter d of a particle such that the particles of diameter ≤ d make up at least
the share p, of all particles (by number, Q0) or of their volume (by volume, Q3): a point of the cumulative curve
itself, never a value between two particles.

*Particles cut by the faces* look smaller than they are, and leaving them out favours small ones, because large ones
are cut more often. With the shape of the volume given, particles that touch a face are left out and each of the others
counts 1 / P: P is the share of places of its bounding box, among all that start in the volume, at which it touches no
face. What is left is right on average for any sizes and shapes (Miles 1974, Lantuéjoul 1980). A sample with an edge of
its own inside the volume needs no correction.

*Sieve diameter.* The smallest square hole that an ellipsoid passes: it goes through point first, its two shorter axes
b and c across, along the diagonals of the hole, which is then √((b² + c²) / 2) wide. The axes are those of the
ellipsoid of the same moments.

*Intervals* come from a bootstrap (:mod:`ps3d_rt.core.bootstrap`): every particle is drawn 0, 1, 2 … times, 200 times
over, with a fixed seed, as if particles were independent of each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isnan, nan, pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.bootstrap import redraw
from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    from ps3d_rt.core.sample_table import SampleTable

SHARES = (0.1, 0.5, 0.9)
DETECTION_LIMIT_VOXELS = 3
"""Particles less than this across are mostly missed (Gotkowski et al., 2024)."""
DRAWS = 200
"""Of the bootstrap."""
CONFIDENCE = 0.95

_ROUNDING = 1e-12
"""A share reached but for the rounding of a sum is reached."""


@dataclass(frozen=True, slots=True, eq=False)
class Cumulative:
    """Share of a sample in particles of up to a diameter."""

    diameters_mm: NDArray[np.float64]
    """(n,) ascending."""
    shares: NDArray[np.float64]
    """(n,) share of the weight up to each of the diameters; the last is 1."""

    @classmethod
    def from_diameters(cls, diameters_mm: NDArray[Any], weights: NDArray[Any]) -> Cumulative:
        """Sort particles, at least one, by their diameters and add up their weights."""
        order = np.argsort(diameters_mm, kind="stable")
        total = np.cumsum(weights[order])
        return cls(diameters_mm[order], total / total[-1])

    def up_to(self, diameters_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Shares in particles of at most the diameters asked for."""
        found = np.searchsorted(self.diameters_mm, diameters_mm, side="right")
        shares: NDArray[np.float64] = np.concatenate([[0.0], self.shares])[found]
        return shares

    def percentiles(self, shares: tuple[float, ...] = SHARES) -> list[float]:
        """Smallest diameters up to which at least these shares lie, mm.

        >>> Cumulative.from_diameters(np.array([3.0, 1.0, 2.0]), np.array([1, 1, 2])).percentiles((0.2, 0.75, 0.76))
        [1.0, 2.0, 3.0]
        """
        at = np.searchsorted(self.shares, np.array(shares) * (1 - _ROUNDING))
        found: list[float] = self.diameters_mm[at].tolist()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeDistribution:
    """Percentiles of the diameter, mm; NaN without particles."""

    particles: int
    """Number of particles that went in."""
    below_limit: int
    """How many of them are less than 3 voxels across: the sample has more of them than are found."""
    detection_limit_mm: float
    """Three voxels; percentiles below it are no measurement."""
    d10_by_number_mm: float
    d50_by_number_mm: float
    d90_by_number_mm: float
    d10_by_volume_mm: float
    d50_by_volume_mm: float
    d90_by_volume_mm: float


PERCENTILES = tuple(
    field.name for field in fields(SizeDistribution) if field.name.startswith("d") and "_by_" in field.name
)


@dataclass(frozen=True, slots=True, eq=False)
class SizeSample:
    """The particles that count, and how much each does."""

    diameters_mm: NDArray[np.float64]
    """(n,)"""
    voxels: NDArray[np.int64]
    """(n,)"""
    weights: NDArray[np.float64]
    """(n,) particles that each stands for; 1 without correction."""
    voxel_mm: float
    """Side of the cube of a voxel's volume."""

    @classmethod
    def from_table(cls, table: SampleTable, shape: Zyx | None = None, *, sieve: bool = False) -> SizeSample:
        """Take the particles of a table.

        Args:
            table: the particles.
            shape: of the volume, voxels z, y, x, to correct for its faces; None to take all particles as they are.
            sieve: size them by the sieve diameter, not by the equivalent diameter.

        Raises:
            InputError: if particles lie outside a volume of this shape.
        """
        diameters = sieve_diameter_mm(table) if sieve else table.equivalent_diameter_mm
        weights = np.ones(len(table)) if shape is None else edge_weights(table, shape)
        kept = weights > 0
        side = float(np.cbrt(table.volume_mm3[0] / table.volume_voxels[0])) if len(table) else nan
        return cls(diameters[kept], table.volume_voxels[kept], weights[kept], side)

    def curves(self) -> tuple[Cumulative, Cumulative]:
        """Q0 and Q3, of at least one particle."""
        return Cumulative.from_diameters(self.diameters_mm, self.weights), Cumulative.from_diameters(
            self.diameters_mm, self.weights * self.voxels
        )


def edge_weights(table: SampleTable, shape: Zyx) -> NDArray[np.float64]:
    """How many particles each one stands for: 0 if it touches a face, else 1 / P(a particle of its box touches none).

    Raises:
        InputError: if particles lie outside a volume of this shape.
    """
    weights = (~table.touches_edge).astype(np.float64)
    for axis, length in zip("zyx", shape, strict=True):
        start, stop = getattr(table, f"box_{axis}_start_voxels"), getattr(table, f"box_{axis}_stop_voxels")
        if stop.max(initial=0) > length:
            raise InputError(f"particles reach {axis} = {stop.max()} and the volume ends at {length}; give its shape.")
        # Of ``length`` starts, 1 .. length − side − 1 leave a voxel free on both sides.
        weights *= length / np.maximum(length - 1 - (stop - start), 1)
    return weights


def sieve_diameter_mm(table: SampleTable) -> NDArray[np.float64]:
    """Width of the smallest square hole that the particles pass, as ellipsoids of their moments."""
    width: NDArray[np.float64] = np.sqrt((table.axis_middle_mm**2 + table.axis_minor_mm**2) / 2)
    return width


def below_limit(voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which particles are less than 3 voxels across: smaller than a ball of that diameter."""
    return voxels < pi / 6 * DETECTION_LIMIT_VOXELS**3


def size_distribution(table: SampleTable, shape: Zyx | None = None, *, sieve: bool = False) -> SizeDistribution:
    """Compute D10, D50 and D90 by number and by volume.

    Args:
        table: the particles.
        shape: of the volume, voxels z, y, x, to correct for its faces; None to take all particles as they are.
        sieve: size them by the sieve diameter, not by the equivalent diameter.

    Raises:
        InputError: if particles lie outside a volume of this shape.

    >>> from ps3d_rt.core.measure import measure
    >>> found = size_distribution(measure(np.array([[[1, 0, 2, 2]]]), (1, 1, 1)))
    >>> round(found.d50_by_number_mm, 9)  # (6/π)^(1/3); the last bits depend on the CPU
    1.240700982
    """
    sample = SizeSample.from_table(table, shape, sieve=sieve)
    return _distribution(
        sample, [d for curve in sample.curves() for d in curve.percentiles()] if len(sample.voxels) else []
    )


def confidence_interval(
    table: SampleTable, shape: Zyx | None = None, *, sieve: bool = False, seed: int = 0
) -> tuple[SizeDistribution, SizeDistribution]:
    """Estimate between what values the percentiles lie, with 95 % confidence.

    Args:
        table: the particles.
        shape: as for :func:`size_distribution`.
        sieve: as for :func:`size_distribution`.
        seed: of the draws.

    Returns:
        The lower ends and the upper ends.
    """
    sample = SizeSample.from_table(table, shape, sieve=sieve)
    if not len(sample.voxels):
        return _distribution(sample, []), _distribution(sample, [])
    order = np.argsort(sample.diameters_mm, kind="stable")
    diameters = sample.diameters_mm[order]
    by_number, by_volume = sample.weights[order], (sample.weights * sample.voxels)[order]
    places = redraw((by_number, by_volume), SHARES, DRAWS, seed)
    found = diameters[np.concatenate(places, axis=1)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, (tail, 1 - tail), axis=0).tolist()
    return _distribution(sample, low), _distribution(sample, high)


def size_facts(table: SampleTable, shape: Zyx | None = None, *, sieve: bool = False) -> dict[str, Any]:
    """Give the distribution with its intervals, and how it was made, as JSON.

    Args:
        table: the particles.
        shape: as for :func:`size_distribution`.
        sieve: as for :func:`size_distribution`.

    Returns:
        ``diameter``, ``edge_correction``, the fields of :class:`SizeDistribution` and, for every percentile
        ``d50_by_number_mm``, its ``d50_by_number_interval_mm``; None for what is not known.
    """
    ends = confidence_interval(table, shape, sieve=sieve)
    found = asdict(size_distribution(table, shape, sieve=sieve))
    for name in PERCENTILES:
        found[name.replace("_mm", "_interval_mm")] = [_or_none(getattr(end, name)) for end in ends]
    known = {name: value if isinstance(value, list) else _or_none(value) for name, value in found.items()}
    return {"diameter": "sieve" if sieve else "equivalent", "edge_correction": shape is not None, **known}


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value


def _distribution(sample: SizeSample, percentiles: list[float]) -> SizeDistribution:
    return SizeDistribution(
        particles=len(sample.voxels),
        below_limit=int(below_limit(sample.voxels).sum()),
        detection_limit_mm=DETECTION_LIMIT_VOXELS * sample.voxel_mm,
        **dict(zip(PERCENTILES, percentiles or [nan] * len(PERCENTILES), strict=True)),
    )
