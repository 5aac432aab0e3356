"""From foreground to particles by a watershed of the distance to the background: what the classical methods share.

1. opening with a ball removes noise;
2. seeds: 6-connected pieces of the foreground eroded by a ball;
3. watershed of the distance, from the seeds, inside the foreground;
4. a piece of the foreground without a seed is one particle, and particles under 0.005 of the mean seeded particle are
   removed. Both are ours: without them a baseline loses every small particle, or counts every speck of noise.

:func:`tune_cut` picks opening and erosion by the score on samples with a reference.

Source: Gotkowski et al., Powder Technology 434 (2024) 119286, section on baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
from scipy import ndimage
from skimage.morphology import ball
from skimage.segmentation import watershed

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import evaluate

Point = tuple[int, ...]

MIN_RELATIVE_VOLUME = 0.005
"""Of the mean particle: the same rule that ends our own post-processing."""
DISTANCE_STEPS = 8
"""Levels a voxel that the watershed tells apart; whole numbers keep it fast."""
EROSION_STEP = 0.04
"""Finest step of an erosion that is tuned, in mean particle diameters."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The two numbers that separate particles in a foreground."""

    opening_voxels: int
    """Radius of the ball; 0 leaves the foreground as it is."""
    erosion_share: float
    """Radius of the ball that leaves the seeds, in mean particle diameters of the sample."""

    def apply(self, foreground: Array, particle_size_voxels: float) -> Array:
        """Separate particles: (z, y, x) bool → int32 ids."""
        opened = opening(foreground, self.opening_voxels)
        return split(opened, distance_inside(opened), self.erosion_share * particle_size_voxels)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A foreground that was found, and what it should have become."""

    foreground: Array
    """(z, y, x) bool."""
    reference: Array
    """(z, y, x) ids."""
    particle_size_voxels: float


def opening(foreground: Array, radius_voxels: int) -> Array:
    """Remove what a ball of this radius does not fit into; radius 0 changes nothing."""
    opened: Array = ndimage.binary_opening(foreground, ball(radius_voxels)) if radius_voxels else foreground
    return opened


def distance_inside(foreground: Array) -> Array:
    """Distance of every voxel to the nearest one outside the foreground, voxels; none is infinitely far."""
    if foreground.all():  # there is no outside to be far from
        return np.full(foreground.shape, float(max(foreground.shape)))
    distance: Array = ndimage.distance_transform_edt(foreground)
    return distance


def split(foreground: Array, distance: Array, erosion_voxels: float) -> Array:
    """Steps 2 to 4: seeds by erosion, then :func:`from_seeds`."""
    seeds, _ = ndimage.label(distance > erosion_voxels)
    return from_seeds(foreground, distance, seeds)


def from_seeds(foreground: Array, distance: Array, seeds: Array) -> Array:
    """Steps 3 and 4.

    Args:
        foreground: (z, y, x) bool.
        distance: of every voxel to the background, voxels.
        seeds: ids from 1, 0 elsewhere; inside the foreground.

    Returns:
        (z, y, x) int32 ids, 0 is background; ids may have gaps.
    """
    height = (-DISTANCE_STEPS * distance).astype(np.int32)
    return completed(watershed(height, seeds, mask=foreground), foreground)


def completed(labels: Array, foreground: Array) -> Array:
    """Step 4.

    Args:
        labels: (z, y, x) ids from 1 of the seeded particles, 0 elsewhere.
        foreground: (z, y, x) bool; holds them all.
    """
    volumes = np.bincount(labels.ravel())
    seeded = volumes[1:][volumes[1:] > 0]
    seedless, _ = ndimage.label(foreground & (labels == 0))
    labels = np.where(seedless > 0, seedless + (len(volumes) - 1), labels)
    smallest = MIN_RELATIVE_VOLUME * seeded.mean() if len(seeded) else 0.0
    return np.where(np.bincount(labels.ravel())[labels] >= smallest, labels, 0)


def tune_cut(samples: Sequence[Labelled]) -> tuple[Cut, float, int]:
    """Find opening and erosion with the highest mean F1_instance over samples.

    Returns:
        The cut, its mean F1_instance, and how many were compared.
    """

    def scores(points: list[Point]) -> Iterator[tuple[Point, float]]:
        found = np.zeros(len(points))
        for sample in samples:
            erosions = [EROSION_STEP * sample.particle_size_voxels * erosion for _, erosion in points]
            runs = eroded(sample.foreground, [point[0] for point in points], erosions)
            found += [evaluate(labels, sample.reference).f1_instance for labels in runs]
        yield from zip(points, found / len(samples), strict=True)

    (radius, erosion), best, tried = climb(product(range(3), range(0, 10, 3)), scores)
    return Cut(radius, EROSION_STEP * erosion), best, tried


def eroded(foreground: Array, openings: Sequence[int], erosions: Sequence[float]) -> Iterator[Array]:
    """Labels for pairs of opening and erosion in voxels; neighbours with one opening share its distances."""
    for radius, pairs in groupby(zip(openings, erosions, strict=True), key=lambda pair: pair[0]):
        opened = opening(foreground, radius)
        distance = distance_inside(opened)
        for _, erosion in pairs:
            yield split(opened, distance, erosion)


def climb(
    start: Iterable[Point], scores: Callable[[list[Point]], Iterable[tuple[Point, float]]]
) -> tuple[Point, float, int]:
    """Search a grid of whole numbers: the best of ``start``, then uphill in single steps until none helps.

    Args:
        start: points to begin with; their last two coordinates, opening and erosion, end at 0.
        scores: sorted points → each with its score; called once a point.

    Returns:
        The best point, its score, and how many were scored.
    """
    tried: dict[Point, float] = {}
    points, best = set(start), None
    while True:
        tried.update(scores(sorted(points - tried.keys())))
        found = max(tried, key=lambda point: tried[point])
        if found == best:
            return found, tried[found], len(tried)
        best, points = found, _steps_from(found)


def _steps_from(point: Point) -> set[Point]:
    """One step up and down in each coordinate."""
    moves = [(axis, step) for axis in range(len(point)) for step in (-1, 1)]
    near = [tuple(value + step * (i == axis) for i, value in enumerate(point)) for axis, step in moves]
    return {candidate for candidate in near if min(candidate[-2:]) >= 0}
