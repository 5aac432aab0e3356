"""One mineral a voxel, from gray values that noise and blur have mixed; all loops see whole neighbourhoods only.

1. A voxel of a particle is at its surface if one of its 26 neighbours is not of the particle; else it lies inside.
2. A voxel at the surface is darkened by what lies outside. It takes the gray value of a neighbour that lies inside,
   unless its own is clearly brighter: a bright rim. Which neighbour does not depend on gray values: faces before edges
   before corners, so noise stays what it is.
3. A voxel of a middle class between a darker and a brighter one is blur, no mineral: it has no vote.
4. Twice, every voxel joins the class that most voters among its neighbours and itself have.

A voxel's result depends on voxels at most :data:`REACH` away, so parts of a volume that bring as many voxels around
them give what the whole gives. Beyond the faces of a volume is nothing: a particle that a face cuts has no surface
there.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled

REACH = 7
"""1 for the surface, 1 for the neighbour inside, 2 for voters, 1 for each vote, and 1 for neighbours of the result."""

NEIGHBOURS = np.array(
    sorted(
        (step for step in product((-1, 0, 1), repeat=3) if step != (0, 0, 0)),
        key=lambda step: (sum(map(abs, step)), step),
    ),
    np.int64,
)
"""(26, 3) faces, then edges, then corners."""

SURFACE, INSIDE = 1, 2


class Classified(NamedTuple):
    """What is known of every voxel of a part, (z, y, x) each."""

    place: NDArray[np.uint8]
    """0 outside particles, else :data:`SURFACE` or :data:`INSIDE`."""
    bins: NDArray[np.uint8]
    """Bin of the gray value; at the surface that of a neighbour inside."""
    classes: NDArray[np.uint8]
    """Void 0, phases 1, 2, …; meaningless outside particles."""


def classify(
    ids: NDArray[Any], bins: NDArray[np.uint8], centres: NDArray[np.float64], limits: NDArray[np.float64], noise: float
) -> Classified:
    """Tell the mineral of every voxel of particles.

    Args:
        ids: (z, y, x) uint32 or uint64, 0 is no particle.
        bins: (z, y, x) bins of the gray values.
        centres: (bins,) their values.
        limits: (phases,) values at which a voxel counts to the phase and no longer to the one below; ascending.
        noise: standard deviation of a voxel, in the unit of the values.
    """
    place = _places(ids)
    inward = _inward(ids, place, bins, NEIGHBOURS, centres, 4.5 * noise)
    of_bin = np.searchsorted(limits, centres, side="right").astype(np.uint8)
    classes = of_bin[inward]
    voters = _voters(ids, inward, classes, centres, 6 * noise)
    for _ in range(2):
        classes = _vote(ids, classes, voters, len(limits) + 1)
    return Classified(place, inward, classes)


@compiled
def _places(ids: NDArray[Any]) -> NDArray[np.uint8]:
    depth, height, width = ids.shape
    place = np.zeros(ids.shape, np.uint8)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = ids[z, y, x]
                if label == 0:
                    continue
                alike = True
                for dz in range(max(z - 1, 0), min(z + 2, depth)):
                    for dy in range(max(y - 1, 0), min(y + 2, height)):
                        for dx in range(max(x - 1, 0), min(x + 2, width)):
                            alike &= ids[dz, dy, dx] == label
                    if not alike:
                        break
                place[z, y, x] = 2 if alike else 1
    return place


@compiled
def _inward(
    ids: NDArray[Any],
    place: NDArray[np.uint8],
    bins: NDArray[np.uint8],
    steps: NDArray[np.int64],
    centres: NDArray[np.float64],
    brighter: float,
) -> NDArray[np.uint8]:
    """Give the surface the gray values of what lies inside."""
    depth, height, width = ids.shape
    out = bins.copy()
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if place[z, y, x] != 1:
                    continue
                for k in range(len(steps)):
                    dz, dy, dx = z + steps[k, 0], y + steps[k, 1], x + steps[k, 2]
                    if dz < 0 or dy < 0 or dx < 0 or dz >= depth or dy >= height or dx >= width:
                        continue
                    if place[dz, dy, dx] == 2 and ids[dz, dy, dx] == ids[z, y, x]:
                        if centres[bins[z, y, x]] <= centres[bins[dz, dy, dx]] + brighter:
                            out[z, y, x] = bins[dz, dy, dx]
                        break
    return out


@compiled
def _voters(
    ids: NDArray[Any],
    bins: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    centres: NDArray[np.float64],
    jump: float,
) -> NDArray[np.bool_]:
    """Tell which voxels are more than the blur between a darker and a brighter class."""
    depth, height, width = ids.shape
    voters = np.zeros(ids.shape, np.bool_)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = ids[z, y, x]
                if label == 0:
                    continue
                own, counts = classes[z, y, x], True
                for axis in range(3):
                    for reach in range(1, 3):
                        dz, dy, dx = reach * (axis == 0), reach * (axis == 1), reach * (axis == 2)
                        if z < dz or y < dy or x < dx or z + dz >= depth or y + dy >= height or x + dx >= width:
                            continue
                        if ids[z - dz, y - dy, x - dx] != label or ids[z + dz, y + dy, x + dx] != label:
                            continue
                        before, after = classes[z - dz, y - dy, x - dx], classes[z + dz, y + dy, x + dx]
                        if before < own < after or before > own > after:
                            a, b = centres[bins[z - dz, y - dy, x - dx]], centres[bins[z + dz, y + dy, x + dx]]
                            counts &= abs(a - b) <= jump
                voters[z, y, x] = counts
    return voters


@compiled
def _vote(ids: NDArray[Any], classes: NDArray[np.uint8], voters: NDArray[np.bool_], count: int) -> NDArray[np.uint8]:
    """Give every voxel the class with most voters around it; its own wins a tie, then the darkest."""
    depth, height, width = ids.shape
    out = classes.copy()
    votes = np.zeros(count, np.int64)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = ids[z, y, x]
                if label == 0:
                    continue
                votes[:] = 0
                for dz in range(max(z - 1, 0), min(z + 2, depth)):
                    for dy in range(max(y - 1, 0), min(y + 2, height)):
                        for dx in range(max(x - 1, 0), min(x + 2, width)):
                            if ids[dz, dy, dx] == label and voters[dz, dy, dx]:
                                votes[classes[dz, dy, dx]] += 1
                best = classes[z, y, x]
                for k in range(count):
                    if votes[k] > votes[best]:
                        best = k
                out[z, y, x] = best
    return out
