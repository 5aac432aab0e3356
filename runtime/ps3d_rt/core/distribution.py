"""The size distribution of a sample: D10, D50, D80 and D90, by number and by volume, and how sure they are.

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

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite, isnan, nan, pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.bootstrap import redraw
from ps3d_rt.core.edge_weights import box_weights
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.sieves import SERIES, check_sieves
from ps3d_rt.core.size_fits import fit_laws
from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    from ps3d_rt.core.sample_table import SampleTable

SHARES = (0.1, 0.5, 0.8, 0.9)
DETECTION_LIMIT_VOXELS = 3
"""Particles less than this across are mostly missed (Gotkowski et al., 2024)."""
DRAWS = 200
"""Of the bootstrap."""
CONFIDENCE = 0.95

_ROUNDING = 1e-12
"""A share reached but for the rounding of a sum is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeOptions:
    """How the size distribution is made, and cut into classes."""

    sieve: bool | None = None
    """Size particles by the sieve diameter; None: if sieves are given."""
    edge_correction: bool = True
    """Correct for the particles that the faces of the volume cut."""
    percentiles: tuple[float, ...] = ()
    """Of the diameter, percent, besides 10, 50, 80 and 90."""
    sieves_mm: tuple[float, ...] = ()
    """Widths of the holes of the sieves that part the classes, ascending."""
    series: str | None = None
    """A name of :data:`ps3d_rt.core.sieves.SERIES`, in place of ``sieves_mm``; None: neither, and classes are even."""
    density_g_cm3: float | None = None
    """Of the particles, for their mass."""

    def __post_init__(self) -> None:
        if self.sieves_mm:
            check_sieves(self.sieves_mm)
        if self.series is not None and self.series not in SERIES:
            raise InputError(f"sieve series {self.series!r} is not known; there are {', '.join(SERIES)}.")
        if not all(0 < p < 100 for p in self.percentiles):
            raise InputError(f"percentiles are {self.percentiles}; each must lie between 0 and 100.")
        density = self.density_g_cm3
        if density is not None and not (isfinite(density) and density > 0):
            raise InputError(f"the density is {density} g/cm³; it must be above 0, such as 2.65 for quartz.")

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> SizeOptions:
        """Read the options that :func:`facts_by` was given from what it gave, perhaps in another version."""
        return cls(
            sieve=facts["diameter"] == "sieve",
            edge_correction=bool(facts["edge_correction"]),
            sieves_mm=tuple(facts.get("sieves_mm") or ()),
            series=facts.get("sieve_series"),
            density_g_cm3=facts.get("density_g_cm3"),
        )

    @property
    def by_sieve(self) -> bool:
        """Whether particles are sized by the sieve diameter."""
        return bool(self.sieves_mm or self.series) if self.sieve is None else self.sieve


PLAIN_SIZES = SizeOptions()


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
    d80_by_number_mm: float
    d90_by_number_mm: float
    d10_by_volume_mm: float
    d50_by_volume_mm: float
    d80_by_volume_mm: float
    """P80: 80 % of the volume passes."""
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
    """How many particles each one stands for: :func:`ps3d_rt.core.edge_weights.box_weights` of a table.

    Raises:
        InputError: if particles lie outside a volume of this shape.
    """
    start, stop = (
        np.stack([getattr(table, f"box_{axis}_{end}_voxels") for axis in "zyx"], axis=1) for end in ("start", "stop")
    )
    for axis, length, most in zip("zyx", shape, stop.max(axis=0, initial=0), strict=True):
        if most > length:
            raise InputError(f"particles reach {axis} = {most} and the volume ends at {length}; give its shape.")
    return box_weights(start, stop, shape) * ~table.touches_edge


def sieve_diameter_mm(table: SampleTable) -> NDArray[np.float64]:
    """Width of the smallest square hole that the particles pass, as ellipsoids of their moments."""
    width: NDArray[np.float64] = np.sqrt((table.axis_middle_mm**2 + table.axis_minor_mm**2) / 2)
    return width


def below_limit(voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which particles are less than 3 voxels across: smaller than a ball of that diameter."""
    return voxels < pi / 6 * DETECTION_LIMIT_VOXELS**3


def size_distribution(table: SampleTable, shape: Zyx | None = None, *, sieve: bool = False) -> SizeDistribution:
    """Compute D10, D50, D80 and D90 by number and by volume.

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


def percentile_intervals(
    sample: SizeSample, shares: tuple[float, ...] = SHARES, seed: int = 0
) -> tuple[list[float], list[float]]:
    """Estimate between what diameters the percentiles lie, with 95 % confidence.

    Args:
        sample: at least one particle.
        shares: of the percentiles, in (0, 1).
        seed: of the draws.

    Returns:
        The lower and the upper ends, mm, each by number for all shares, then by volume.
    """
    order = np.argsort(sample.diameters_mm, kind="stable")
    diameters = sample.diameters_mm[order]
    by_number, by_volume = sample.weights[order], (sample.weights * sample.voxels)[order]
    places = redraw((by_number, by_volume), shares, DRAWS, seed)
    found = diameters[np.concatenate(places, axis=1)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, (tail, 1 - tail), axis=0).tolist()
    return low, high


def size_facts(
    table: SampleTable, shape: Zyx | None = None, *, sieve: bool = False, percentiles: tuple[float, ...] = ()
) -> dict[str, Any]:
    """Give the distribution with its intervals, and how it was made, as JSON.

    Args:
        table: the particles.
        shape: as for :func:`size_distribution`.
        sieve: as for :func:`size_distribution`.
        percentiles: of the diameter, percent, besides 10, 50, 80 and 90.

    Returns:
        ``diameter``, ``edge_correction``, the fields of :class:`SizeDistribution` and, for every percentile
        ``d50_by_number_mm``, its ``d50_by_number_interval_mm``; None for what is not known. ``fits_by_volume`` are
        those of :func:`ps3d_rt.core.size_fits.fit_laws`.
    """
    sample = SizeSample.from_table(table, shape, sieve=sieve)
    curves = sample.curves() if len(sample.voxels) else None
    shares = tuple(sorted({*SHARES, *(p / 100 for p in percentiles)}))
    names = [f"d{100 * share:02.6g}_by_{weight}" for weight in ("number", "volume") for share in shares]
    unknown = [nan] * len(names)
    found = unknown if curves is None else [d for curve in curves for d in curve.percentiles(shares)]
    ends = (unknown, unknown) if curves is None else percentile_intervals(sample, shares)
    counts = {name: value for name, value in asdict(_distribution(sample, [])).items() if name not in PERCENTILES}
    return {
        "diameter": "sieve" if sieve else "equivalent",
        "edge_correction": shape is not None,
        **{name: _or_none(value) for name, value in counts.items()},
        **{f"{name}_mm": _or_none(value) for name, value in zip(names, found, strict=True)},
        **{
            f"{name}_interval_mm": [_or_none(low), _or_none(high)] for name, low, high in zip(names, *ends, strict=True)
        },
        "fits_by_volume": {} if curves is None else fit_laws(curves[1].diameters_mm, curves[1].shares),
    }


def facts_by(table: SampleTable, shape: Zyx, options: SizeOptions) -> dict[str, Any]:
    """Give :func:`size_facts` as the options ask for them, with what they ask of the classes.

    Args:
        table: the particles.
        shape: of the volume, voxels z, y, x.
        options: what is asked for.
    """
    given = shape if options.edge_correction else None
    facts = size_facts(table, given, sieve=options.by_sieve, percentiles=options.percentiles)
    asked = {
        "sieves_mm": list(options.sieves_mm) or None,
        "sieve_series": options.series,
        "density_g_cm3": options.density_g_cm3,
    }
    return facts | {name: value for name, value in asked.items() if value is not None}


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value


def _distribution(sample: SizeSample, percentiles: list[float]) -> SizeDistribution:
    return SizeDistribution(
        particles=len(sample.voxels),
        below_limit=int(below_limit(sample.voxels).sum()),
        detection_limit_mm=DETECTION_LIMIT_VOXELS * sample.voxel_mm,
        **dict(zip(PERCENTILES, percentiles or [nan] * len(PERCENTILES), strict=True)),
    )
