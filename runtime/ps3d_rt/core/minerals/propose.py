"""Phases proposed from gray values: a mixture of at most so many, fitted to what noise and blur leave alone.

1. A voxel counts if all 27 of its neighbourhood lie inside one particle and vary as noise alone does: no edge of a
   grain, no speck. Its value is the mean of the 27, about a fifth as noisy as a voxel.
2. The histogram of these means has a mode for every phase; the strongest ones begin a mixture of normal components.
3. Components that are too rare, or too near to a stronger one, go; the others are fitted again.
4. Ranges meet midway between the peaks.

What comes out is a proposal: two minerals of one gray value are one phase here, and only a person knows the names.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.grid import Box
from ps3d_rt.core.minerals.bins import BINS, AnchoredBins
from ps3d_rt.core.minerals.mixture import Floats
from ps3d_rt.core.minerals.phases import AnchoredScale, Phase, PhaseList, Unit
from ps3d_rt.errors import InputError

REACH = 2
"""Voxels around a voxel that decide whether it counts."""

_LEAST_SHARE = 0.003
"""Of a phase; fewer voxels are chance."""
_LEAST_VOXELS = 1000
_SMOOTH_BINS = 1.5
_VARIES = 1.6
"""Noise deviations, or as many of :data:`_TEXTURE`, that 27 voxels of one phase may vary."""
_TEXTURE = 0.03
"""Relative deviation inside a phase beside the noise."""
_APART = 2.0
"""Widths between two peaks, at least."""
_ROUNDS = 300


def add_flat(
    ids: NDArray[Any],
    bins: NDArray[np.uint8],
    own: Box,
    centres: Floats,
    scale: AnchoredScale,
    histogram: NDArray[np.int64],
) -> None:
    """Add the flat voxels of a part of a volume to a histogram of their means.

    Args:
        ids: (z, y, x) of the part and :data:`REACH` voxels around it, as far as the volume goes.
        bins: of the same voxels.
        own: the part, in voxels of ``ids``.
        centres: values of the bins.
        scale: of the scan.
        histogram: (bins,), added to in place.
    """
    edges = (centres[1:] + centres[:-1]) / 2
    start, stop = np.array(own.start), np.array(own.stop)
    _add_flat(ids, bins, start, stop, centres, edges, (_VARIES * scale.noise, _VARIES * _TEXTURE), histogram)


def propose(
    histogram: NDArray[np.integer], most: int, bins: AnchoredBins, scale: AnchoredScale, unit: Unit
) -> PhaseList:
    """Propose phases.

    Args:
        histogram: (bins,) from :func:`add_flat`.
        most: phases at most, 1 or more.
        bins: of the histogram.
        scale: of the scan.
        unit: of the scale.

    Raises:
        InputError: if nothing is flat.
    """
    counts, centres = np.asarray(histogram, np.float64).copy(), bins.centres()
    counts[centres < 3 * scale.noise] = 0
    if counts.sum() < _LEAST_VOXELS:
        raise InputError(
            f"only {int(counts.sum())} voxels lie in grains more than 3 voxels thick; that is too few to propose "
            "phases from. Give the phases in a file."
        )
    peaks = _mixture(counts, centres, most, scale.noise / 4)
    edges = [peaks[0] / 2, *((a + b) / 2 for a, b in pairwise(peaks)), 1.5 * peaks[-1]]
    return PhaseList(
        tuple(
            Phase(f"phase {number}", float(f"{low:.4g}"), float(f"{high:.4g}"))
            for number, (low, high) in enumerate(pairwise(edges), start=1)
        ),
        unit,
    )


def _modes(counts: Floats, centres: Floats, most: int) -> list[float]:
    """Values of the strongest modes, from dark to bright."""
    reach = np.arange(-6, 7)
    kernel = np.exp(-((reach / _SMOOTH_BINS) ** 2) / 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    tops = [k for k in range(1, BINS - 1) if smooth[k - 1] < smooth[k] >= smooth[k + 1]]
    strongest = sorted(tops, key=lambda k: -smooth[k])
    return sorted(float(centres[k]) for k in strongest[: 3 * most])


def _mixture(counts: Floats, centres: Floats, most: int, least_width: float) -> list[float]:
    """Fit normal components, drop one that is rare or near to a stronger one or too many, and fit again: peaks."""
    peaks = _modes(counts, centres, most)
    while True:
        found, widths, weights = _fitted(counts, centres, np.array(peaks), least_width)
        order = np.argsort(found)
        found, widths, weights = found[order], widths[order], weights[order]
        if len(found) == 1:
            return [float(found[0])]
        near = np.diff(found) < _APART * (widths[1:] + widths[:-1]) / 2
        if near.any():
            k = int(np.flatnonzero(near)[0])
            drop = k if weights[k] < weights[k + 1] else k + 1
        elif weights.min() < _LEAST_SHARE or len(found) > most:
            drop = int(np.argmin(weights))
        else:
            return [float(peak) for peak in found]
        peaks = [float(peak) for k, peak in enumerate(found) if k != drop]


def _fitted(counts: Floats, centres: Floats, peaks: Floats, least_width: float) -> tuple[Floats, Floats, Floats]:
    bin_width = np.gradient(centres)
    least = np.maximum(least_width, np.interp(peaks, centres, bin_width))
    widths, weights = 2 * least, np.full(len(peaks), 1 / len(peaks))
    for _ in range(_ROUNDS):
        z = (centres - peaks[:, None]) / widths[:, None]
        density = weights[:, None] * np.exp(-(z**2) / 2) / widths[:, None] * bin_width + 1e-12
        moved = density * (counts / density.sum(axis=0))
        mass = np.maximum(moved.sum(axis=1), 1e-9)
        before, peaks = peaks, moved @ centres / mass
        widths = np.maximum(least, np.sqrt((moved * (centres - peaks[:, None]) ** 2).sum(axis=1) / mass))
        weights = mass / mass.sum()
        if np.abs(peaks - before).max() < 1e-3 * least.min():
            break
    return peaks, widths, weights


@compiled
def _add_flat(
    ids: NDArray[Any],
    bins: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    centres: Floats,
    edges: Floats,
    varies: tuple[float, float],
    histogram: NDArray[np.int64],
) -> None:
    depth, height, width = ids.shape
    for z in range(max(start[0], 2), min(stop[0], depth - 2)):
        for y in range(max(start[1], 2), min(stop[1], height - 2)):
            for x in range(max(start[2], 2), min(stop[2], width - 2)):
                label = ids[z, y, x]
                if label == 0:
                    continue
                # Six voxels 2 away: all 26 neighbours are inside, roughly, and none is at the surface.
                inside = ids[z - 2, y, x] == label and ids[z + 2, y, x] == label
                inside &= ids[z, y - 2, x] == label and ids[z, y + 2, x] == label
                inside &= ids[z, y, x - 2] == label and ids[z, y, x + 2] == label
                total, squares = 0.0, 0.0
                for dz in range(-1, 2):
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            inside &= ids[z + dz, y + dy, x + dx] == label
                            value = centres[bins[z + dz, y + dy, x + dx]]
                            total += value
                            squares += value * value
                    if not inside:
                        break
                if not inside:
                    continue
                mean = total / 27
                variance = squares / 27 - mean * mean
                if variance <= varies[0] ** 2 + (varies[1] * mean) ** 2:
                    histogram[np.searchsorted(edges, mean)] += 1
