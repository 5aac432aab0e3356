"""ThreshWater, the classical method the published network is compared with, written from its description.

Foreground is what is brighter than a threshold; opening, seeds and watershed are those of ``watershed.py``. How the
three numbers are set decides how well it does, so there are two ways:

- as in the paper, threshold by image, opening and erosion once for all on training samples. The paper's threshold was
  set by hand; :func:`threshold_for` takes the best one by the reference's foreground, which no hand can beat;
- :func:`tune` picks all three by the score on the very sample that is then reported. No user could do that, since it
  takes the reference: what it gives is the most that the method can reach on that sample.

Source: Gotkowski et al., Powder Technology 434 (2024) 119286, section on baselines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
from skimage.filters import threshold_otsu

from ps3d_bench.baselines.watershed import EROSION_STEP, Point, climb, distance_inside, eroded, opening, split
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import Metrics, evaluate

THRESHOLD_STEP = 0.05
"""Finest step of the search, counted from the mean gray value of the dark side of Otsu's threshold (0) to that of the
bright side (1)."""
COARSE = (range(5, 16, 2), range(3), range(0, 10, 3))
"""Where the search starts, in steps: thresholds 0.25 to 0.75, openings 0 to 2 voxels, erosions 0 to 0.36."""
GRAY_LEVELS = 2000
"""Thresholds that :func:`threshold_for` compares, over the range of the image."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The three numbers that a user of ThreshWater sets for a sample."""

    threshold: float
    """Gray value; foreground is above it."""
    opening_voxels: int
    """Radius of the ball; 0 leaves the foreground as it is."""
    erosion_voxels: float
    """Radius of the ball that leaves the seeds."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best settings for one sample."""

    settings: Settings
    metrics: Metrics
    tried: int
    """Number of settings that were compared."""


def threshwater(image: Array, settings: Settings) -> Array:
    """Segment a volume.

    Args:
        image: (z, y, x) gray values, particles brighter than what is around them.
        settings: threshold, opening, erosion.

    Returns:
        (z, y, x) int32 ids, 0 is background; ids may have gaps.
    """
    foreground = opening(image > settings.threshold, settings.opening_voxels)
    return split(foreground, distance_inside(foreground), settings.erosion_voxels)


def threshold_for(image: Array, reference: Array) -> float:
    """Find the threshold whose foreground has the highest voxel F1, before any opening.

    Args:
        image: (z, y, x) gray values.
        reference: (z, y, x) ids, 0 is background.
    """
    limits = (float(image.min()), float(image.max()))
    above, edges = _counts_above(image, limits)
    right, _ = _counts_above(image[reference > 0], limits)
    f1 = 2 * right / (above + np.count_nonzero(reference))
    return float(edges[np.argmax(f1)])


def tune(image: Array, reference: Array, particle_size_voxels: float) -> Tuned:
    """Find the settings with the highest F1_instance: a coarse grid, then uphill in fine steps until no step helps.

    Args:
        image: (z, y, x) gray values.
        reference: (z, y, x) ids: the truth of this very sample.
        particle_size_voxels: mean diameter, the unit of the erosions that are tried.
    """
    dark, bright = _sides(image)
    metrics: dict[Point, Metrics] = {}

    def threshold_at(step: int) -> float:
        return dark + THRESHOLD_STEP * step * (bright - dark)

    def scores(points: list[Point]) -> Iterator[tuple[Point, float]]:
        for step, group in groupby(points, key=lambda point: point[0]):
            same = list(group)
            erosions = [EROSION_STEP * particle_size_voxels * erosion for *_, erosion in same]
            runs = eroded(image > threshold_at(step), [radius for _, radius, _ in same], erosions)
            for point, labels in zip(same, runs, strict=True):
                metrics[point] = evaluate(labels, reference)
                yield point, metrics[point].f1_instance

    best, _, tried = climb(product(*COARSE), scores)
    step, radius, erosion = best
    settings = Settings(threshold_at(step), radius, EROSION_STEP * particle_size_voxels * erosion)
    return Tuned(settings, metrics[best], tried)


def _counts_above(values: Array, limits: tuple[float, float]) -> tuple[Array, Array]:
    """How many values lie above each of :data:`GRAY_LEVELS` thresholds, and the thresholds."""
    counts, edges = np.histogram(values, GRAY_LEVELS, limits)
    return np.cumsum(counts[::-1])[::-1], edges[:-1]


def _sides(image: Array) -> tuple[float, float]:
    """Mean gray value below and above Otsu's threshold."""
    threshold = threshold_otsu(image)
    return float(image[image <= threshold].mean()), float(image[image > threshold].mean())
