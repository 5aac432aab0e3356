"""What a slab of a volume knows of the minerals of its particles: whole numbers, so any cutting gives the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.grid import Box
from ps3d_rt.core.minerals.bins import BINS
from ps3d_rt.core.minerals.classify import Classified
from ps3d_rt.core.surface import STEPS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MineralSums:
    """Sums of all particles 1..N, row by row: row k is particle k + 1.

    Classes are void 0 and the phases 1, 2 and so on.
    """

    histogram: NDArray[np.uint32]
    """(N, bins) voxels in each bin, those at the surface by a neighbour inside."""
    surface: NDArray[np.uint32]
    """(N,) voxels at the surface."""
    seen: NDArray[np.uint32]
    """(N, classes) voxels taken for each class."""
    crossings: NDArray[np.uint32]
    """(N, classes, 13) steps, either way, that lead out of the particle from a voxel of the class."""
    faces: NDArray[np.uint32]
    """(N, classes, classes) voxel faces inside the particle between two classes, the smaller first."""
    pure: NDArray[np.int64]
    """(classes, bins) voxels of all particles that lie deep in a class: all 26 neighbours are of the class, too.

    Noise and blur choose none of them, so their mean is the peak of the class.
    """

    @classmethod
    def empty(cls, particles: int, classes: int) -> MineralSums:
        """Begin with nothing; it takes about 1 kB a particle."""
        return cls(
            histogram=np.zeros((particles, BINS), np.uint32),
            surface=np.zeros(particles, np.uint32),
            seen=np.zeros((particles, classes), np.uint32),
            crossings=np.zeros((particles, classes, len(STEPS)), np.uint32),
            faces=np.zeros((particles, classes, classes), np.uint32),
            pure=np.zeros((classes, BINS), np.int64),
        )

    def add(self, ids: NDArray[Any], found: Classified, own: Box) -> None:
        """Add a part of a volume.

        Args:
            ids: (z, y, x) ids 0..N of the part and of the voxels around it; beyond them is outside the volume.
            found: of the same voxels.
            own: the part, in voxels of ``ids``; its neighbours are in ``ids`` unless the volume ends there.
        """
        start, stop = np.array(own.start), np.array(own.stop)
        place, bins, classes = found
        _count(ids, (place, bins, classes), start, stop, self.histogram, self.surface, self.seen)
        _cross(ids, place, classes, start, stop, STEPS, self.crossings)
        _meet(ids, classes, start, stop, self.faces)
        _add_pure(place, bins, classes, start, stop, self.pure)


@compiled
def _count(
    ids: NDArray[Any],
    found: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    histogram: NDArray[np.uint32],
    surface: NDArray[np.uint32],
    seen: NDArray[np.uint32],
) -> None:
    place, bins, classes = found
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                if ids[z, y, x] == 0:
                    continue
                k = ids[z, y, x] - 1
                histogram[k, bins[z, y, x]] += 1
                surface[k] += place[z, y, x] == 1
                seen[k, classes[z, y, x]] += 1


@compiled
def _cross(
    ids: NDArray[Any],
    place: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    steps: NDArray[np.int64],
    crossings: NDArray[np.uint32],
) -> None:
    depth, height, width = ids.shape
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                label = ids[z, y, x]
                at_face = z == 0 or y == 0 or x == 0 or z == depth - 1 or y == height - 1 or x == width - 1
                if label == 0 or (place[z, y, x] == 2 and not at_face):
                    continue
                k, own = label - 1, classes[z, y, x]
                for step in range(len(steps)):
                    for way in (-1, 1):
                        dz, dy, dx = z + way * steps[step, 0], y + way * steps[step, 1], x + way * steps[step, 2]
                        beyond = dz < 0 or dy < 0 or dx < 0 or dz >= depth or dy >= height or dx >= width
                        if beyond or ids[dz, dy, dx] != label:
                            crossings[k, own, step] += 1


@compiled
def _meet(
    ids: NDArray[Any],
    classes: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    faces: NDArray[np.uint32],
) -> None:
    depth, height, width = ids.shape
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                label = ids[z, y, x]
                if label == 0:
                    continue
                for axis in range(3):
                    dz, dy, dx = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if dz >= depth or dy >= height or dx >= width or ids[dz, dy, dx] != label:
                        continue
                    a, b = classes[z, y, x], classes[dz, dy, dx]
                    if a != b:
                        faces[label - 1, min(a, b), max(a, b)] += 1


@compiled
def _add_pure(
    place: NDArray[np.uint8],
    bins: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    pure: NDArray[np.int64],
) -> None:
    depth, height, width = place.shape
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                if place[z, y, x] != 2:
                    continue
                own, alike = classes[z, y, x], True
                for dz in range(max(z - 1, 0), min(z + 2, depth)):
                    for dy in range(max(y - 1, 0), min(y + 2, height)):
                        for dx in range(max(x - 1, 0), min(x + 2, width)):
                            alike &= classes[dz, dy, dx] == own
                    if not alike:
                        break
                if alike:
                    pure[own, bins[z, y, x]] += 1
