"""The parts of a scan: one to learn from, one that is left out to judge by; both segmented by the model at hand."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import cast

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.merge_scores import LISTED
from ps3d_rt.engines import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import RunResult
from ps3d_training.adapt.score import segment_part

SIDE_SIZES, LEAST_SIZES = 8.0, 3.0
"""Particle diameters along a side of a part: at most, and along the longest side of the scan at least."""
FIRST_SIDE = 192
"""Voxels of the middle of a scan from which the particle size is estimated."""
SURE = 0.9
"""Confidence of particles that are believed where enough have it."""


@dataclass(frozen=True, eq=False)
class SegmentedPart:
    """A part of a scan and what the model finds in it."""

    name: str
    image: Array
    """(z, y, x) gray values."""
    found: RunResult
    spacing_mm: tuple[float, float, float]
    particle_size_mm: float

    @property
    def size_voxels(self) -> float:
        """Particle diameter along the finest axis."""
        return self.particle_size_mm / min(self.spacing_mm)

    @property
    def sure(self) -> Array:
        """(z, y, x) the labels of particles that look single and are sure, or as sure as half of them are."""
        table = self.found.particles
        sure = np.ones(len(table), bool)
        if table.confidence is not None and len(table):
            sure = table.confidence >= min(SURE, float(np.median(table.confidence)))
        if table.merged_score is not None:
            sure &= ~(table.merged_score >= LISTED)
        return np.where(np.isin(self.found.labels, table.label[sure]), self.found.labels, 0)


def two_parts(shape: Zyx, size_voxels: float) -> tuple[Box, Box]:
    """Choose the part to learn from and the one to judge by: apart along the longest side, in the middle of the others.

    Raises:
        InputError: if the scan is too small for two.

    >>> [box.start for box in two_parts((400, 100, 100), 10)]
    [(55, 10, 10), (265, 10, 10)]
    """
    axis = int(np.argmax(shape))
    most, gap = ceil(SIDE_SIZES * size_voxels), ceil(size_voxels)
    length = min(most, (shape[axis] - gap) // 2)
    if length < LEAST_SIZES * size_voxels:
        raise InputError(
            f"the scan is {shape[axis]} voxels long and its particles about {size_voxels:.0f} across: a part to learn "
            f"from and one to judge by need {ceil((2 * LEAST_SIZES + 1) * size_voxels)}. Correct some patches instead: "
            "ps3d-rt train update."
        )
    sides = [min(most, n) for n in shape]
    sides[axis] = length
    starts = [(n - side) // 2 for n, side in zip(shape, sides, strict=True)]
    boxes = []
    for middle in ((shape[axis] - gap) / 4, shape[axis] - (shape[axis] - gap) / 4):
        starts[axis] = round(middle - length / 2)
        stops = [start + side for start, side in zip(starts, sides, strict=True)]
        boxes.append(Box(cast(Zyx, tuple(starts)), cast(Zyx, tuple(stops))))
    return boxes[0], boxes[1]


def segmented_parts(
    volume: Volume, bundle: ModelBundle, engine: Engine, particle_size_mm: float | None
) -> tuple[SegmentedPart, SegmentedPart]:
    """Read and segment the two parts of a scan; the particle size is estimated from its middle if it is None.

    Raises:
        InputError: if the scan has no spacing, is too small, or nothing is found in it.
    """
    if volume.spacing_mm is None:
        raise InputError(f"{volume.source} does not say how large its voxels are; give it with --spacing.")
    z, y, x = (float(side) for side in volume.spacing_mm)
    spacing = (z, y, x)
    if particle_size_mm is None:
        middle = [(max(0, n - FIRST_SIDE) // 2, (n + min(n, FIRST_SIDE)) // 2) for n in volume.shape]
        (z0, z1), (y0, y1), (x0, x1) = middle
        first = segment_part(bundle, engine, volume.read(Box((z0, y0, x0), (z1, y1, x1))), spacing, None)
        particle_size_mm = float(first.run["parameters"]["particle_size_mm"])
    parts = []
    for box in two_parts(volume.shape, particle_size_mm / min(spacing)):
        image = volume.read(box)
        found = segment_part(bundle, engine, image, spacing, particle_size_mm)
        parts.append(SegmentedPart(volume.name, image, found, spacing, particle_size_mm))
    if not parts[0].sure.any():
        raise InputError(
            f"{volume.source}: the model finds no single particle in it, so there is nothing to learn from. "
            "Correct some patches instead: ps3d-rt train update."
        )
    return parts[0], parts[1]
