"""What a scan looks like, in numbers from which samples like it are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.normalize import normalized_shape
from ps3d_rt.core.resample import resample, resample_labels
from ps3d_rt.core.scan_statistics import measure_volume, whole_diameters
from ps3d_training.adapt.parts import SegmentedPart
from ps3d_training.synth.truth import touching_share

LEVELS = 12
"""Gray levels that are kept of the particles, at evenly spread ranks."""
LEAST_LEVEL = 0.2
"""Of a particle, in contrasts; darker ones are not told from the embedding."""


@dataclass(frozen=True, eq=False)
class Look:
    """A part of a scan on a grid on which its particles are no larger than the model's, gray values in contrasts."""

    statistics: Mapping[str, float]
    """From :func:`measure_volume`."""
    labels: Array
    """(z, y, x) uint32, sure particles only."""
    levels: Array
    """(n,) gray values of particles above the embedding, in contrasts, ascending."""
    size_voxels: float
    """Mean diameter of the particles."""
    spacing_mm: float
    fill: float
    touching: float
    size_spread: float


def look_at_part(part: SegmentedPart, target_size_voxels: float) -> Look:
    """Measure a segmented part.

    Args:
        part: of a scan.
        target_size_voxels: of the model; finer scans are looked at on its grid, coarser ones on their own.
    """
    size = min(part.size_voxels, target_size_voxels)
    spacing = part.particle_size_mm / size
    z, y, x = (side / spacing for side in part.spacing_mm)
    gray = part.found.run["gray"]
    sign = -1.0 if gray["dark"] else 1.0
    linear = (part.image.astype(np.float32) - gray["embedding"]) * np.float32(sign / gray["contrast"])
    grid = normalized_shape(_shape(part.image), (z, y, x))
    image = resample(linear, grid, zoom=(z, y, x))
    every, sure = (resample_labels(ids, grid, zoom=(1 / z, 1 / y, 1 / x)) for ids in (part.found.labels, part.sure))
    diameters = whole_diameters(every)
    return Look(
        statistics=measure_volume(image, every),
        labels=sure.astype(np.uint32),
        levels=_levels(image, every),
        size_voxels=size,
        spacing_mm=spacing,
        fill=float(np.mean(every != 0)),
        touching=touching_share(every),
        size_spread=float(np.clip(np.std(np.log(diameters)), 0.1, 0.7)) if len(diameters) > 5 else 0.35,
    )


def _shape(array: Array) -> Zyx:
    return array.shape[0], array.shape[1], array.shape[2]


def _levels(image: Array, labels: Array) -> Array:
    ids, where = np.unique(labels, return_inverse=True)
    means = np.bincount(where.ravel(), image.ravel()) / np.bincount(where.ravel())
    levels = np.maximum(means[ids != 0], LEAST_LEVEL)
    return np.asarray(np.quantile(levels, np.linspace(0.05, 0.95, LEVELS)))
