"""ThreshWater, the classical method the published network is compared with, written from its description.

1. foreground: gray value above a threshold;
2. opening with a ball removes noise;
3. seeds: 6-connected pieces of the foreground eroded by a ball;
4. watershed of the distance to the background, from the seeds, inside the foreground;
5. a piece of the foreground without a seed is one particle, and particles under 0.005 of the mean seeded particle are
   removed. Both are ours: without them the baseline loses every small particle, or counts every speck of noise.

:func:`tune` picks threshold, opening and erosion by the score on the very sample that is then reported. No user could
do that, since it takes the reference: what it gives is the most that the method can reach on that sample.

Source: Gotkowski et al., Powder Technology 434 (2024) 119286, section on baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import ball
from skimage.segmentation import watershed

from ps3d_rt.core.metrics import Metrics, evaluate

Array = np.ndarray[Any, Any]

MIN_RELATIVE_VOLUME = 0.005
"""Of the mean particle: the same rule that ends our own post-processing."""
DISTANCE_STEPS = 8
"""Levels a voxel that the watershed tells apart; whole numbers keep it fast."""

THRESHOLD_STEP, EROSION_STEP = 0.05, 0.04
"""Finest steps of the search. Thresholds are counted from the mean gray value of the dark side of Otsu's threshold (0)
to that of the bright side (1), erosions in mean particle diameters."""
COARSE = (range(5, 16, 2), range(3), range(0, 10, 3))
"""Where the search starts, in steps: thresholds 0.25 to 0.75, openings 0 to 2 voxels, erosions 0 to 0.36."""

Point = tuple[int, int, int]


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
    foreground = _foreground(image, settings.threshold, settings.opening_voxels)
    return _split(foreground, ndimage.distance_transform_edt(foreground), settings.erosion_voxels)


def tune(image: Array, reference: Array, particle_size_voxels: float) -> Tuned:
    """Find the settings with the highest F1_instance: a coarse grid, then uphill in fine steps until no step helps.

    Args:
        image: (z, y, x) gray values.
        reference: (z, y, x) ids: the truth of this very sample.
        particle_size_voxels: mean diameter, the unit of the erosions that are tried.
    """
    dark, bright = _sides(image)

    def settings_at(point: Point) -> Settings:
        threshold, opening, erosion = point
        share = threshold * THRESHOLD_STEP
        return Settings(dark + share * (bright - dark), opening, erosion * EROSION_STEP * particle_size_voxels)

    tried: dict[Point, Metrics] = {}
    best: Point | None = None
    while True:
        points = set(product(*COARSE)) if best is None else _steps_from(best)
        for point, labels in _runs(image, sorted(points - tried.keys()), settings_at):
            tried[point] = evaluate(labels, reference)
        found = max(tried, key=lambda point: tried[point].f1_instance)
        if found == best:
            return Tuned(settings_at(best), tried[best], len(tried))
        best = found


def _sides(image: Array) -> tuple[float, float]:
    """Mean gray value below and above Otsu's threshold."""
    threshold = threshold_otsu(image)
    return float(image[image <= threshold].mean()), float(image[image > threshold].mean())


def _steps_from(point: Point) -> set[Point]:
    """One step up and down in each setting; opening and erosion end at 0."""
    moves = [(axis, step) for axis in range(3) for step in (-1, 1)]
    near = [tuple(value + step * (i == axis) for i, value in enumerate(point)) for axis, step in moves]
    return {(threshold, opening, erosion) for threshold, opening, erosion in near if opening >= 0 and erosion >= 0}


def _runs(
    image: Array, points: Iterable[Point], settings_at: Callable[[Point], Settings]
) -> Iterator[tuple[Point, Array]]:
    """Labels at sorted points; foreground and distances are computed once for all erosions."""
    for _, group in groupby(points, key=lambda point: point[:2]):
        same = list(group)
        settings = settings_at(same[0])
        foreground = _foreground(image, settings.threshold, settings.opening_voxels)
        distance = ndimage.distance_transform_edt(foreground)
        for point in same:
            yield point, _split(foreground, distance, settings_at(point).erosion_voxels)


def _foreground(image: Array, threshold: float, opening_voxels: int) -> Array:
    foreground: Array = image > threshold
    return ndimage.binary_opening(foreground, ball(opening_voxels)) if opening_voxels else foreground


def _split(foreground: Array, distance: Array, erosion_voxels: float) -> Array:
    """Steps 3 to 5."""
    seeds, count = ndimage.label(distance > erosion_voxels)
    height = (-DISTANCE_STEPS * distance).astype(np.int32)
    labels = watershed(height, seeds, mask=foreground)
    seeded = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    seedless, _ = ndimage.label(foreground & (labels == 0))
    labels = np.where(seedless > 0, seedless + count, labels)
    volumes = np.bincount(labels.ravel())
    smallest = MIN_RELATIVE_VOLUME * seeded.mean() if count else 0.0
    return np.where(volumes[labels] >= smallest, labels, 0)
