"""What a gray value says of the minerals in a voxel: a mixture of phases, noise, and voxels that two phases share.

A voxel is of one phase, and its value is normal about the phase's peak; or two minerals share it, in any proportion
alike, and its value lies between their peaks (interphase voxels: Godinho et al., Minerals Engineering 144 (2019),
106016). Of such a voxel, the part f belongs to the brighter one; what f is expected to be at a value follows from the
same model, noise included, so that noise moves no volume on average. Voxels shared with what lies outside a particle
are not here: :mod:`ps3d_rt.core.minerals.classify` gives the surface the values of the inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.minerals.bins import AnchoredBins
from ps3d_rt.core.minerals.phases import AnchoredScale, PhaseList
from ps3d_rt.errors import InputError

Floats = NDArray[np.float64]

_STEPS = 48
"""Proportions that a shared voxel is looked at in."""
_ANYTHING = 1e-3
"""Share of every component that may have any value, so that no voxel is impossible."""
LEAST_VOXELS = 27
"""Deep in a phase, in a sample; fewer are noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """How the values of each component are spread over the bins; component 0 is void, then the phases, then pairs."""

    peaks: Floats
    """(phases + 1,) 0 and the peak of every phase, on the anchored scale."""
    widths: Floats
    """(phases + 1,) standard deviation of a voxel's value."""
    pairs: NDArray[np.int64]
    """(pairs, 2) which phases share voxels, the darker first; 1 is the first phase."""
    densities: Floats
    """(components, bins) share of a component's voxels in every bin; each row adds up to 1."""
    brighter: Floats
    """(pairs, bins) how much of a shared voxel belongs to the brighter phase."""

    @classmethod
    def of(cls, peaks: Floats, widths: Floats, bins: AnchoredBins) -> Mixture:
        """Make the components of some peaks; the first is that of the embedding."""
        edges = bins.edges()
        pairs = list(combinations(range(1, len(peaks)), 2))
        shared = [_shared(edges, bins.centres(), peaks[[k, m]], widths[[k, m]]) for k, m in pairs]
        pure = [_in_bins(edges, peak, width) for peak, width in zip(peaks, widths, strict=True)]
        densities = np.stack([*pure, *(density for density, _ in shared)])
        densities /= np.maximum(densities.sum(axis=1, keepdims=True), 1e-300)
        densities = (1 - _ANYTHING) * densities + _ANYTHING / densities.shape[1]
        brighter = np.array([share for _, share in shared]).reshape(len(pairs), densities.shape[1])
        return cls(peaks, widths, np.array(pairs, np.int64).reshape(-1, 2), densities, brighter)

    @property
    def phases(self) -> int:
        """How many phases there are, the void not counted."""
        return len(self.peaks) - 1

    def limits(self) -> Floats:
        """(phases,) midway between neighbouring peaks: where a voxel begins to be more of the brighter one."""
        found: Floats = (self.peaks[1:] + self.peaks[:-1]) / 2
        return found


def fit(pure: NDArray[np.integer], phases: PhaseList, scale: AnchoredScale, bins: AnchoredBins) -> Mixture:
    """Find the peak of every phase, and how wide it is, from voxels that lie deep in it.

    Args:
        pure: (phases + 1, bins) :attr:`ps3d_rt.core.minerals.sums.MineralSums.pure`.
        phases: names and ranges. A peak lies inside its range.
        scale: of the scan; its noise is the least width.
        bins: of the histograms.

    Raises:
        InputError: if a phase is not to be found.
    """
    noise = max(scale.noise, bins.knee / 20)
    peaks, widths, centres = [0.0], [noise], bins.centres()
    for phase, counts in zip(phases.phases, np.asarray(pure[1:], np.float64), strict=True):
        if counts.sum() < LEAST_VOXELS:
            raise InputError(_not_found(phase.name, phase.low, phase.high, pure, centres))
        peak, width = _peak(counts, centres)
        if not phase.low <= peak <= phase.high:
            raise InputError(
                f"{phase.name} has the range {phase.low:g} to {phase.high:g} above the embedding, but the voxels "
                f"nearest to it have their peak at {peak:.4g}; move the range so that it holds its peak, or leave the "
                "phase out."
            )
        peaks.append(peak)
        widths.append(max(noise, width))
    return Mixture.of(np.array(peaks), np.array(widths), bins)


def starting_limits(phases: PhaseList) -> Floats:
    """Where a voxel begins to count to each phase, before peaks are known: midway between ranges, and the first low."""
    ends = [(phase.low, phase.high) for phase in phases.phases]
    return np.array([ends[0][0], *((a[1] + b[0]) / 2 for a, b in pairwise(ends))])


def _peak(counts: Floats, centres: Floats) -> tuple[float, float]:
    """Mean and standard deviation, without what lies three of them away."""
    kept = counts
    for _ in range(4):
        peak = float(kept @ centres / kept.sum())
        width = float(np.sqrt(kept @ (centres - peak) ** 2 / kept.sum()))
        near = np.abs(centres - peak) <= 3 * width
        if not counts[near].sum():
            break
        kept = np.where(near, counts, 0)
    return peak, width


def _in_bins(edges: Floats, peak: float, width: float) -> Floats:
    from scipy.special import ndtr  # noqa: PLC0415 - loads for long

    found: Floats = np.diff(ndtr((edges - peak) / width))
    return found


def _shared(edges: Floats, centres: Floats, peaks: Floats, widths: Floats) -> tuple[Floats, Floats]:
    """How voxels that two phases share are spread over the bins, and how much of each is the brighter one's."""
    from scipy.special import ndtr  # noqa: PLC0415 - loads for long

    part = (np.arange(_STEPS) + 0.5) / _STEPS
    middle, width = peaks[0] + np.diff(peaks) * part, widths[0] + np.diff(widths) * part
    spread = np.diff(ndtr((edges[:, None] - middle) / width), axis=0)
    density = spread.mean(axis=1)
    straight = np.clip((centres - peaks[0]) / np.diff(peaks), 0, 1)
    brighter = np.where(density > 1e-9, spread @ part / _STEPS / np.maximum(density, 1e-12), straight)
    return density, brighter


def _not_found(name: str, low: float, high: float, pure: NDArray[np.integer], centres: Floats) -> str:
    """Say that a phase has no voxels, and where voxels are."""
    counts = pure.sum(axis=0)
    reached = np.cumsum(counts) / max(counts.sum(), 1)
    first, last = (float(centres[np.searchsorted(reached, share)]) for share in (0.01, 0.99))
    return (
        f"{name} was never found: no grain of it is 3 voxels thick, or none lies from {low:g} to {high:g} above the "
        f"embedding; 98 % of the insides of grains lie from {first:.4g} to {last:.4g}. Correct the range, or leave the "
        "phase out."
    )
