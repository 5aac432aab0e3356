"""The mean particle size of a scan, estimated before a run: which sizes to try, and when to accept a result.

A trial of an assumed size s resizes parts of the scan as if the particles were s wide, and gives the mean diameter f(s)
of the particles that the network finds there. The true size is where f(s) = s. Far below it the parts lie inside single
particles, far above it particles are too small to be seen: nothing whole is found. From about a third to three times
the true size, f(s) is close to it whatever s is.

1. Search: assume the largest size that the scan can show, then half of it and so on, until some whole particles are
   found that are not crumbs of the size assumed.
2. Refine: assume what was found, on larger parts, until no trial finds much else than it assumed.

The caller tries the sizes; the result of a trial must depend on its arguments only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from ps3d_rt.core.distribution import edge_weights
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.errors import InputError

ENOUGH_TO_SEARCH, ENOUGH_TO_REFINE = 5, 100
"""Whole particles after which a trial may stop; the mean of 100 is known to 5 % where sizes spread by half."""
LEAST_WHOLE = 3
"""Fewer particles than this are no finding."""
MOST_REFINED = 3
"""Trials on larger parts."""
MISMATCH = 2.0
"""A size given that is off by more than this factor is worth a warning."""
SETTLED = 1.15
"""A trial that finds what it assumed, up to this factor, is the last."""

_STEP = 2.0
_CRUMB = 0.25
"""Particles this much smaller than assumed are a few voxels wide: the next size will show them better."""
_SMALLEST_VOXELS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeTrial:
    """What was found where the particles were assumed to be of a size."""

    assumed_mm: float
    found_mm: float | None
    """Mean diameter of the particles; None without any."""
    particles: int
    """Those that no face of their part cuts."""
    patches: int
    """That the network computed."""

    @property
    def off_by(self) -> float:
        """Factor between what was assumed and what was found; infinite if nothing was."""
        return inf if self.found_mm is None else max(self.found_mm / self.assumed_mm, self.assumed_mm / self.found_mm)


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """The mean diameter, and how it came about."""

    particle_size_mm: float
    trials: tuple[SizeTrial, ...]
    """In their order; the last one found the size."""

    @property
    def patches(self) -> int:
        """That the network computed."""
        return sum(trial.patches for trial in self.trials)


def mean_diameter_mm(parts: Sequence[tuple[ParticleTable, Zyx]], scan: Zyx) -> tuple[float, int]:
    """Average the diameters of the particles that the faces of a scan do not cut, from some parts of it.

    A large particle is whole in a part more seldom than in the scan: each one counts by the ratio of the two chances.

    Args:
        parts: particles and shape, voxels, of every part.
        scan: shape of the scan in the same voxels.

    Returns:
        The mean, NaN if no particle is whole in its part, and how many are.
    """
    diameters = np.concatenate([table.equivalent_diameter_mm[~table.touches_edge] for table, _ in parts])
    in_part, in_scan = (
        np.concatenate([edge_weights(table, shape or part)[~table.touches_edge] for table, part in parts])
        for shape in (None, scan)
    )
    weights = in_part / in_scan
    return (float(np.average(diameters, weights=weights)) if len(weights) else nan), len(weights)


def is_mismatch(given_mm: float, found_mm: float) -> bool:
    """Whether a size is off by more than :data:`MISMATCH` from what was found.

    >>> is_mismatch(0.1, 0.19), is_mismatch(0.1, 0.21), is_mismatch(0.1, 0.04), is_mismatch(0.1, nan)
    (False, True, True, False)
    """
    return found_mm > MISMATCH * given_mm or found_mm < given_mm / MISMATCH


def sizes_to_try(largest_mm: float, spacing_mm: float) -> list[float]:
    """List the sizes of the search, from the largest down to four voxels.

    >>> sizes_to_try(0.2, 0.01)
    [0.2, 0.1, 0.05]
    """
    sizes = [max(largest_mm, _SMALLEST_VOXELS * spacing_mm)]
    while sizes[-1] / _STEP >= _SMALLEST_VOXELS * spacing_mm:
        sizes.append(sizes[-1] / _STEP)
    return sizes


def find_size(
    search: Callable[[float], SizeTrial], refine: Callable[[float], SizeTrial], sizes: list[float]
) -> SizeEstimate:
    """Find the size at which the network finds what it was told.

    Args:
        search: tries a size, mm, on small parts.
        refine: the same on larger ones.
        sizes: to search, mm, from :func:`sizes_to_try`.

    Raises:
        InputError: if no trial finds particles.

    >>> def trial(size):
    ...     return SizeTrial(assumed_mm=size, found_mm=0.3 * (size / 0.3) ** 0.25, particles=50, patches=8)
    >>> [round(trial.assumed_mm, 2) for trial in find_size(trial, trial, sizes_to_try(1.0, 0.01)).trials]
    [1.0, 0.41, 0.32]
    """
    trials: list[SizeTrial] = []
    for size in sizes:
        trials.append(search(size))
        if trials[-1].particles >= ENOUGH_TO_SEARCH and _believable(trials[-1]):
            break
    best = max(trials, key=lambda trial: trial.particles if _believable(trial) else 0)
    for _ in range(MOST_REFINED):
        if best.found_mm is None or best.particles < LEAST_WHOLE:
            break
        trials.append(best := refine(best.found_mm))
        if best.off_by < SETTLED:
            break
    if best.found_mm is None or best.particles < LEAST_WHOLE:
        raise InputError(
            f"the particle size cannot be estimated: of the sizes from {sizes[0]:.3g} to {sizes[-1]:.3g} mm that were "
            f"tried, none shows {LEAST_WHOLE} whole particles. Particles must be brighter than what surrounds them; "
            "measure a few on a slice and pass --particle-size with their mean diameter in mm."
        )
    return SizeEstimate(best.found_mm, tuple(trials))


def _believable(trial: SizeTrial) -> bool:
    return trial.found_mm is not None and trial.found_mm > _CRUMB * trial.assumed_mm
