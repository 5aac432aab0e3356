"""How a run's time follows from its size: a line through measured runs, and what it says about a larger scan.

    seconds = a + b · patches + c · source voxels + d · normalized voxels        a, b, c, d ≥ 0

The line is fitted to every stage, and the lines are added up. Fitted to the whole run it would lose the stages that
cost little in a small scan and much in a large one behind the seconds that Python takes to start, which vary more. Each
fit is non-negative least squares of the *relative* errors, so a short run counts as much as a long one. Patches and
normalized voxels grow together, so a fit may give the share of one to the other: trust the sum, not the parts. Far
beyond the shapes that were measured it is an extrapolation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from math import prod

import numpy as np
from scipy.optimize import nnls

from ps3d_rt.core.grid import PatchLattice, Zyx
from ps3d_rt.core.normalize import normalized_shape
from ps3d_rt.errors import InputError

SHORTEST_SECONDS = 0.01
"""What takes less is clock noise and counts as this much."""


@dataclass(frozen=True)
class Work:
    """What one run has to do."""

    patches: float
    """Patches that the network computes, without the skipped ones."""
    source_voxels: int
    normalized_voxels: int


@dataclass(frozen=True)
class Fit:
    """Seconds for each unit of work."""

    seconds_a_run: float
    seconds_a_patch: float
    seconds_a_source_voxel: float
    seconds_a_normalized_voxel: float

    def seconds(self, work: Work) -> float:
        """Predict one run."""
        return (
            self.seconds_a_run
            + self.seconds_a_patch * work.patches
            + self.seconds_a_source_voxel * work.source_voxels
            + self.seconds_a_normalized_voxel * work.normalized_voxels
        )

    def largest_relative_error(self, works: Sequence[Work], seconds: Sequence[float]) -> float:
        """How far the prediction is from the run it fits worst, as a share of that run's seconds."""
        return max(abs(self.seconds(work) / taken - 1) for work, taken in zip(works, seconds, strict=True))


def fit(works: Sequence[Work], seconds: Sequence[float]) -> Fit:
    """Fit the line to one stage, or to anything else that has seconds.

    Args:
        works: what every run did; scans of at least two shapes, or start and source voxels cannot be told apart.
        seconds: how long each took, 0 or more.

    Raises:
        InputError: if there is no run.
    """
    if not works:
        raise InputError("there is no run to fit; measure at least one.")
    terms = np.array([(1, work.patches, work.source_voxels, work.normalized_voxels) for work in works], np.float64)
    taken = np.asarray(seconds, np.float64)
    scale = np.maximum(terms.max(axis=0), 1e-12)  # voxels are millions, patches hundreds
    weight = 1 / np.maximum(taken, SHORTEST_SECONDS)
    found, _ = nnls(terms / scale * weight[:, None], taken * weight)
    return Fit(*(found / scale).tolist())


def total(fits: Iterable[Fit]) -> Fit:
    """Add up the lines of all stages."""
    return Fit(*np.sum([astuple(line) for line in fits], axis=0).tolist())


def work_of(shape: Zyx, zoom: float, patch: Zyx, overlap: float, computed_share: float = 1.0) -> Work:
    """Count the work of a scan by arithmetic.

    Args:
        shape: of the scan, voxels.
        zoom: normalized voxels per source voxel, the same for all axes.
        patch: input of the network, voxels.
        overlap: share of a patch covered again by the next one.
        computed_share: patches that are not skipped, of all.

    >>> work_of((100, 100, 100), zoom=0.64, patch=(64, 64, 64), overlap=0.25)
    Work(patches=1.0, source_voxels=1000000, normalized_voxels=262144)
    """
    normalized = normalized_shape(shape, (zoom, zoom, zoom))
    patches = PatchLattice.plan(normalized, patch, overlap).count
    return Work(patches * computed_share, prod(shape), prod(normalized))
