"""The histogram of a particle → how much of it each mineral takes, and how sure that is.

The weights of a :class:`~ps3d_rt.core.minerals.mixture.Mixture` that make a particle's histogram most likely, by
expectation and maximization from those of the sample; then shared voxels are shared out, and a phase that is faint and
nowhere to be seen is left out.

The error of a share is that of the weights (the inverse of the Fisher information), with half as many voxels as there
are inside, because a scan's noise is the same in neighbours and the surface shows the inside once more. To it comes a
part of what was not seen by itself: of shared voxels (:data:`SHARED_ERROR`), of the surface in mixed particles
(:data:`SURFACE_ERROR`), of how much one grain of a mineral is brighter than another, against the distance to the next
peak (:data:`PEAK_ERROR`), and of what was left out (:data:`LEFT_OUT_ERROR`). They were chosen on simulated samples, so
that 1.96 errors hold the truth in nine particles of ten.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.minerals.mixture import Floats, Mixture

SHARED_ERROR = 0.15
SURFACE_ERROR = 0.25
PEAK_ERROR = 0.015
LEFT_OUT_ERROR = 0.5
"""Relative."""
_NOISE_ALIKE = 2.0
"""Voxels that carry the noise of one."""
_BLOCK = 10_000
"""Particles at a time: a particle takes some kB here."""
_ROUNDS = 200
_ENOUGH = 1e-4
"""Change of a weight that ends the rounds."""
_LEAST_VOID = 0.03
"""Share of a void that no voxel of the particle was taken for: less is noise."""
_FAINT, _LEAST_SEEN = 0.2, 0.3
"""A phase of a share up to the first is none if voxels of less than the second of that share were taken for it: one
grain of a mineral is some percent brighter than another, and where no second grain is seen, there is no second mineral.
Chosen on simulated samples; without it, half of the particles of one mineral look mixed."""


class Unmixed(NamedTuple):
    """(n, phases + 1) each; the void first."""

    shares: Floats
    """Of the particle's voxels; the sum is 1."""
    errors: Floats
    """Standard deviation of the shares."""


def unmix(
    histograms: NDArray[np.integer],
    surface: NDArray[np.integer],
    seen: NDArray[np.integer],
    start: Floats,
    mixture: Mixture,
) -> Unmixed:
    """Find the shares of the phases in particles.

    Args:
        histograms: (n, bins) voxels.
        surface: (n,) how many of them are at the surface, and have a value of the inside.
        seen: (n, phases + 1) voxels that were taken for each phase, void first.
        start: (components,) weights to begin with, those of the sample.
        mixture: of the sample.
    """
    blocks = [slice(first, first + _BLOCK) for first in range(0, max(1, len(histograms)), _BLOCK)]
    found = [_unmix(histograms[rows], surface[rows], seen[rows], start, mixture) for rows in blocks]
    return Unmixed(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _unmix(
    histograms: NDArray[np.integer],
    surface: NDArray[np.integer],
    seen: NDArray[np.integer],
    start: Floats,
    mixture: Mixture,
) -> Unmixed:
    weights = _weights(histograms, start, mixture.densities, _ROUNDS, _ENOUGH)
    counts = np.maximum(histograms.sum(axis=1), 1).astype(np.float64)
    pure = mixture.phases + 1
    expected = weights @ mixture.densities
    responsible = histograms / np.maximum(expected, 1e-300) / counts[:, None]
    shares = weights[:, :pure] * (responsible @ mixture.densities[:pure].T)
    for pair, (dark, bright) in enumerate(mixture.pairs.tolist()):
        shared = weights[:, pure + pair, None] * mixture.densities[pure + pair] * responsible
        part = shared @ mixture.brighter[pair]
        shares[:, bright] += part
        shares[:, dark] += shared.sum(axis=1) - part
    faint = (shares <= _FAINT) & (seen <= _LEAST_SEEN * shares * counts[:, None])
    faint[:, 0] = (shares[:, 0] < _LEAST_VOID) & (seen[:, 0] == 0)
    left_out = np.where(faint & ~faint.all(axis=1, keepdims=True), shares, 0.0)
    shares = shares - left_out
    shares /= shares.sum(axis=1, keepdims=True)
    errors = _errors(histograms, surface, weights, expected, shares, mixture)
    errors = np.hypot(errors, LEFT_OUT_ERROR * (left_out + shares * left_out.sum(axis=1, keepdims=True)))
    return Unmixed(shares, errors)


def sample_weights(histogram: NDArray[np.integer], mixture: Mixture, *, void: bool) -> Floats:
    """Give the weights of the components in a pooled histogram; that of a void that is not there is 0, no other."""
    count = len(mixture.densities)
    start = np.full(count, 1 / count)
    start[0] *= void
    weights = _weights(histogram[None], start, mixture.densities, 1000, 1e-6)[0]
    weights = np.maximum(weights, 1e-4)
    weights[0] *= void
    found: Floats = weights / weights.sum()
    return found


@compiled
def _weights(histograms: NDArray[np.integer], start: Floats, densities: Floats, rounds: int, enough: float) -> Floats:
    components, bins = densities.shape
    weights = np.empty((len(histograms), components))
    used = np.empty(bins, np.int64)
    gained = np.empty(components)
    for row in range(len(histograms)):
        count, voxels = 0, 0.0
        for k in range(bins):
            if histograms[row, k] > 0:
                used[count] = k
                count += 1
                voxels += histograms[row, k]
        own = weights[row]
        own[:] = start
        for _ in range(rounds):
            gained[:] = 0
            for i in range(count):
                k = used[i]
                total = 0.0
                for c in range(components):
                    total += own[c] * densities[c, k]
                ratio = histograms[row, k] / (total * voxels)
                for c in range(components):
                    gained[c] += ratio * densities[c, k]
            change = 0.0
            for c in range(components):
                new = own[c] * gained[c]
                change = max(change, abs(new - own[c]))
                own[c] = new
            if change < enough:
                break
    return weights


def _errors(
    histograms: NDArray[np.integer],
    surface: NDArray[np.integer],
    weights: Floats,
    expected: Floats,
    shares: Floats,
    mixture: Mixture,
) -> Floats:
    """Give the standard deviation of the shares; see the head of the file."""
    pure = mixture.phases + 1
    counts = np.maximum(histograms.sum(axis=1), 1).astype(np.float64)
    inside = np.maximum(counts - surface, 1.0)
    density = mixture.densities[:pure]
    seen = np.maximum(expected, 1e-300)
    # A particle's own weights leave the pairs out: what they add stands in the second part.
    information = np.einsum("nb,cb,db->ncd", histograms / seen**2, density, density, optimize=True)
    # Shares add up to 1, and what is not there stays so: information along the other directions only.
    there = (shares > 0).astype(np.float64)
    along = there[:, :, None] * np.eye(pure) - there[:, :, None] * there[:, None] / there.sum(axis=1)[:, None, None]
    inverse = np.linalg.pinv(along @ information @ along, rcond=1e-9, hermitian=True)
    variance = np.maximum(np.einsum("ncc->nc", inverse), 0) * _NOISE_ALIKE * (counts / inside)[:, None]
    variance = np.minimum(variance, 0.25)
    shared = weights[:, pure:].sum(axis=1, keepdims=True)
    mixed = np.sqrt(shares * (1 - shares))
    unseen = SURFACE_ERROR * (surface / counts)[:, None] * mixed
    gaps = np.diff(mixture.peaks)
    nearest = np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf))
    moved = PEAK_ERROR * np.append(0.0, mixture.peaks[1:]) / nearest * (shares < 1)
    errors: Floats = np.sqrt(variance + (SHARED_ERROR * shared) ** 2 + unseen**2 + moved**2)
    return errors
