"""What a sample is made of: its minerals, how free they are, whom they touch, in which sizes they are.

Every statistic is computed from the particles and how much each counts (:func:`ps3d_rt.core.distribution.edge_weights`:
those that a face cuts are left out, and the larger one of the others is, the more it counts). Intervals come from
particles drawn again 0, 1, 2 … times (Poisson of mean 1), :data:`DRAWS` times over, each draw with its shares moved by
their errors; so they hold for the material that the sample was taken from. Of more than :data:`MOST` particles an even
choice is drawn from: a minute instead of hours, and intervals that are rather too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.distribution import CONFIDENCE, Cumulative, edge_weights
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.minerals.mixture import Floats
from ps3d_rt.core.minerals.phases import PhaseList
from ps3d_rt.core.minerals.table import CLASSES, MineralTable, liberation_class
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.errors import InputError

DRAWS = 200
MOST = 200_000
"""Particles that are drawn from for the intervals; of more, an even choice, which makes them no narrower."""
LIBERATION = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Shares of a mineral in a particle at which its liberation curve is taken."""
YIELDS = tuple(k / 20 for k in range(1, 21))
PERCENTILES = (0.1, 0.5, 0.9)
_ROUNDING = 1e-9
_COLUMNS = ("weights", "diameters_mm", "volumes_mm3", "errors", "surface_shares", "touched")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MineralSample:
    """The particles of a sample that count; (n, phases) is mineral by mineral."""

    phases: PhaseList
    weights: Floats
    """(n,) how many particles each stands for."""
    diameters_mm: Floats
    """(n,)"""
    volumes_mm3: Floats
    """(n, phases)"""
    errors: Floats
    """(n, phases) standard deviation of the share."""
    surface_shares: Floats
    """(n, phases)"""
    touched: Floats
    """(n, phases, phases + 2) voxel faces of a mineral with void, each phase, and what is outside the particle."""

    @classmethod
    def from_table(cls, table: MineralTable, particles: SampleTable, shape: Zyx | None) -> MineralSample:
        """Take the particles that count.

        Args:
            table: minerals, row by row as ``particles``.
            particles: the particle table.
            shape: of the volume, voxels z, y, x, to correct for its faces; None to take all particles as they are.

        Raises:
            InputError: if the tables have different particles.
        """
        if len(table) != len(particles) or not np.array_equal(table.label, particles.label):
            raise InputError(
                f"the table of minerals has {len(table)} particles and that of particles {len(particles)}; "
                "run `ps3d-rt minerals` again."
            )
        weights = np.ones(len(table)) if shape is None else edge_weights(particles, shape)
        kept = (weights > 0) & (table.dominating() >= 0)
        faces = table.faces + table.faces.transpose(0, 2, 1)
        touched = np.concatenate([faces, table.free_faces[:, :, None]], axis=2)[:, 1:]
        return cls(
            phases=table.phases,
            weights=weights[kept],
            diameters_mm=particles.equivalent_diameter_mm[kept],
            volumes_mm3=table.mineral_mm3[kept],
            errors=np.nan_to_num(table.errors[kept]),
            surface_shares=table.surface_shares[kept],
            touched=touched[kept].astype(np.float64),
        )

    @classmethod
    def pooled(cls, samples: Sequence[MineralSample]) -> MineralSample:
        """Put several scans of one sample together; their phases have the same names.

        Raises:
            InputError: if they have not.
        """
        names = {sample.phases.names for sample in samples}
        if len(names) > 1:
            listed = " and ".join(", ".join(some) for some in sorted(names))
            raise InputError(f"the scans of one sample have different phases: {listed}. Use one phases.json for all.")
        joined = {name: np.concatenate([getattr(sample, name) for sample in samples]) for name in _COLUMNS}
        return cls(phases=samples[0].phases, **joined)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def shares(self) -> Floats:
        """(n, phases) share of each mineral in a particle, by volume."""
        shares: Floats = self.volumes_mm3 / self.volumes_mm3.sum(axis=1, keepdims=True)
        return shares

    @property
    def densities(self) -> Floats:
        """(phases,) g/cm³ (mg/mm³); ones if they are not known: mass is volume then."""
        known = self.phases.densities
        return np.ones(len(self.phases.phases)) if known is None else known

    def size_classes_mm(self) -> Floats:
        """Limits of size classes, a ratio of √2 apart, as sieves of the R 40/12 series are; at most 24 classes."""
        low, high = (2 * log2(float(end)) for end in (self.diameters_mm.min(), self.diameters_mm.max()))
        first, last = floor(low), floor(high) + 1
        limits: Floats = 2.0 ** (np.arange(max(first, last - 24), last + 1) / 2)
        return limits


Values = dict[str, Floats]
"""Statistic → its values, of any shape."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Statistics of a sample, and between what they lie with 95 % confidence."""

    found: Values
    low: Values
    high: Values


def statistics_of(sample: MineralSample, *, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Compute all statistics of a sample with at least one particle, and their intervals.

    Raises:
        InputError: if no particle counts.
    """
    if not len(sample):
        raise InputError("every particle touches a face of the volume, so none counts; pass --no-edge-correction.")
    limits = sample.size_classes_mm()
    found = _values(sample, limits)
    draw = np.random.default_rng(seed)
    part, middle = sample, found
    if len(sample) > MOST:
        part = _rows(sample, np.sort(draw.choice(len(sample), MOST, replace=False)))
        middle = _values(part, limits)
    drawn: list[Values] = []
    while len(drawn) < draws:
        times = draw.poisson(1.0, len(part))
        if times.any():
            kept = times > 0
            again = replace(_rows(part, kept), weights=(part.weights * times)[kept])
            drawn.append(_values(_moved(again, draw), limits))
    tail = (1 - CONFIDENCE) / 2
    low, high = ({}, {})
    for name in found:
        with np.errstate(invalid="ignore"):
            ends = _quantiles(np.stack([values[name] for values in drawn]), tail) + (found[name] - middle[name])
        low[name], high[name] = np.fmin(ends[0], found[name]), np.fmax(ends[1], found[name])
    return Interval(found, low, high)


def _quantiles(drawn: Floats, tail: float) -> Floats:
    """Quantiles over the draws; of what no draw knows, NaN."""
    ordered = np.sort(drawn, axis=0)  # NaN last
    known = np.isfinite(ordered).sum(axis=0)
    places = [np.rint(share * np.maximum(known - 1, 0)).astype(np.int64) for share in (tail, 1 - tail)]
    return np.stack([np.take_along_axis(ordered, place[None], axis=0)[0] for place in places])


def _rows(sample: MineralSample, rows: NDArray[Any]) -> MineralSample:
    return MineralSample(phases=sample.phases, **{name: getattr(sample, name)[rows] for name in _COLUMNS})


def _moved(sample: MineralSample, draw: np.random.Generator) -> MineralSample:
    """Move the shares of every particle by their errors: half of it alike in all, as an error of a peak is."""
    alike, own = draw.standard_normal(sample.errors.shape[1]), draw.standard_normal(sample.errors.shape)
    mixed = np.where((sample.volumes_mm3 > 0).sum(axis=1, keepdims=True) > 1, 1.0, 0.0)
    moved = np.clip(sample.shares + mixed * sample.errors * (alike / 2 + own * np.sqrt(0.75)), 0, None)
    moved *= sample.volumes_mm3 > 0
    total = moved.sum(axis=1, keepdims=True)
    moved = np.where(total > 0, moved / np.maximum(total, 1e-300), sample.shares)
    return replace(sample, volumes_mm3=moved * sample.volumes_mm3.sum(axis=1, keepdims=True))


def _values(sample: MineralSample, size_limits: Floats) -> Values:
    weighed = sample.volumes_mm3 * sample.weights[:, None]
    by_mineral = weighed.sum(axis=0)
    mass = by_mineral * sample.densities
    shares = sample.shares
    return {
        "volume_share": by_mineral / by_mineral.sum(),
        "mass_share": mass / mass.sum(),
        "liberation_by_volume": _liberation(shares, weighed),
        "liberation_by_surface": _liberation(sample.surface_shares, weighed),
        **_yields(shares, weighed * sample.densities),
        "association": _association(sample),
        "percentiles_mm": _percentiles(sample, weighed),
        "class_percentiles_mm": _class_percentiles(sample),
        **_by_size(sample, weighed, size_limits),
    }


def _liberation(shares: Floats, weighed: Floats) -> Floats:
    """(phases, limits) share of a mineral in particles that hold at least so much of it."""
    reached = np.searchsorted(LIBERATION, shares + _ROUNDING, side="right")
    found = np.empty((shares.shape[1], len(LIBERATION)))
    for k in range(shares.shape[1]):
        amounts = np.bincount(reached[:, k], weighed[:, k], len(LIBERATION) + 1)
        total = amounts.sum()
        found[k] = amounts[::-1].cumsum()[::-1][1:] / total if total else np.nan
    return found


def _yields(shares: Floats, mass: Floats) -> Values:
    """Best recovery and grade of each mineral at a yield by mass: particles sorted by how much of it they hold."""
    recovery, grade = (np.empty((shares.shape[1], len(YIELDS))) for _ in range(2))
    total = mass.sum(axis=1)
    for k in range(shares.shape[1]):
        order = np.argsort(-mass[:, k] / np.maximum(total, 1e-300), kind="stable")
        taken, got = (np.concatenate([[0.0], np.cumsum(values[order])]) for values in (total, mass[:, k]))
        at = np.interp(np.array(YIELDS) * taken[-1], taken, got)
        recovery[k] = at / got[-1] if got[-1] else np.nan
        grade[k] = at / (np.array(YIELDS) * taken[-1])
    return {"recovery": recovery, "grade": grade}


def _association(sample: MineralSample) -> Floats:
    """(phases, phases + 2) share of a mineral's boundary with void, each phase, and what is outside."""
    faces = np.einsum("n,nkm->km", sample.weights, sample.touched)
    total = faces.sum(axis=1, keepdims=True)
    return np.where(total > 0, faces / np.maximum(total, 1e-300), np.nan)


def _percentiles(sample: MineralSample, weighed: Floats) -> Floats:
    """(phases, 3) D10, D50 and D90 of the particles that hold a mineral, weighed by how much of it they hold."""
    found = np.full((weighed.shape[1], len(PERCENTILES)), np.nan)
    for k in range(weighed.shape[1]):
        if weighed[:, k].sum() > 0:
            found[k] = Cumulative.from_diameters(sample.diameters_mm, weighed[:, k]).percentiles(PERCENTILES)
    return found


def _class_percentiles(sample: MineralSample) -> Floats:
    """(classes, 3) D10, D50 and D90 by volume of the particles of each liberation class of their main mineral."""
    classes = liberation_class(sample.shares.max(axis=1))
    volume = sample.volumes_mm3.sum(axis=1) * sample.weights
    found = np.full((len(CLASSES), len(PERCENTILES)), np.nan)
    for k, name in enumerate(CLASSES):
        own = classes == name
        if volume[own].sum() > 0:
            found[k] = Cumulative.from_diameters(sample.diameters_mm[own], volume[own]).percentiles(PERCENTILES)
    return found


def _by_size(sample: MineralSample, weighed: Floats, limits: Floats) -> Values:
    """(size classes, phases) share of each mineral in a size class; and (size classes,) the volume in each."""
    number = np.clip(np.searchsorted(limits, sample.diameters_mm, side="right") - 1, 0, len(limits) - 2)
    amounts = np.stack([np.bincount(number, weighed[:, k], len(limits) - 1) for k in range(weighed.shape[1])], axis=1)
    total = amounts.sum(axis=1, keepdims=True)
    grade = np.where(total > 0, amounts / np.maximum(total, 1e-300), np.nan)
    return {"size_volume_share": total[:, 0] / total.sum(), "size_grade": grade}
