"""Push a particle against another one: the published augmentation for touching particles, made exact.

1. A particle of the patch and a direction are drawn.
2. The new particle comes from far out along that direction towards the middle of the other one, one voxel face at a
   time. The last place before they would overlap is where they touch: the voxel that would enter has a face there.
3. The place is taken if no other particle is in the way; otherwise another particle and direction are drawn.
4. Gray values are blended with the mask blurred at sigma 1. The new particle is cut into border and core; as every
   core lies deeper than the border, no cores touch.

Source: arXiv 2301.13319. There, the particles are moved until their boxes overlap by 15 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from ps3d_rt.core.border_core import to_border_core

BLUR_SIGMA = 1.0
MARGIN = 4
"""Voxels around a stored particle: what the blurred mask reaches, four sigma."""
ATTEMPTS = 10
"""Places tried in one patch. In a dense packing most of them are taken, but there particles touch anyway."""
ADDED = -2
"""Label of the new particle; −1 is outside the volume."""

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Particle:
    """A particle cut out of a training volume, with :data:`MARGIN` voxels around it."""

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]


def push_against(
    image: NDArray[np.float32],
    border_core: NDArray[np.int16],
    instances: NDArray[np.int16],
    particle: Particle,
    *,
    middle: Slices,
    thickness_voxels: float,
) -> bool:
    """Add ``particle`` to a patch, in place, so that it touches one that is there.

    Draws from numpy's global generator.

    Args:
        image: (z, y, x) gray values.
        border_core: (z, y, x), −1 outside the volume.
        instances: (z, y, x), −1 outside the volume.
        particle: what to add.
        middle: the particle that it is pushed against has a voxel in here.
        thickness_voxels: of the border.

    Returns:
        Whether there was room for it; if not, nothing has changed.
    """
    there = np.flatnonzero(np.bincount(np.maximum(instances[middle], 0).ravel()))
    there = there[there > 0]
    if len(there) == 0:
        return False
    volume = _box(instances >= 0)
    image, border_core, instances = image[volume], border_core[volume], instances[volume]
    for _ in range(ATTEMPTS):
        neighbour = instances == np.random.choice(there)
        corner = contact(neighbour, particle.mask, np.random.normal(size=3))
        if corner is not None and _fits(particle.mask, neighbour, instances, corner):
            _paste(image, border_core, instances, particle, corner, thickness_voxels)
            return True
    return False


def contact(still: NDArray[np.bool_], moving: NDArray[np.bool_], direction: NDArray[Any]) -> NDArray[np.int64] | None:
    """Find where ``moving`` touches ``still`` when it comes from ``direction``.

    Args:
        still: (z, y, x) mask, not empty.
        moving: mask of any other shape, not empty.
        direction: seen from the middle of ``still``; not zero, any length.

    Returns:
        Where the corner of ``moving`` lies then, voxels of ``still``; some voxel of each mask shares a face with one
        of the other, and none is in both. None if it passes through, as through a ring.
    """
    box = _box(still)
    low, still = np.array([part.start for part in box]), still[box]
    inner, outer = np.argwhere(still) + low, np.argwhere(moving)
    # What enters first is surface: the voxel ahead of it is not of the moving mask.
    surface = np.argwhere(moving & ~binary_erosion(moving))
    middle, own = inner.mean(axis=0), outer.mean(axis=0)
    apart = sum(float(np.linalg.norm(v - m, axis=1).max()) for v, m in ((inner, middle), (outer, own))) + 2
    end = np.rint(middle - own).astype(np.int64)
    start = np.rint(middle - own + direction / np.linalg.norm(direction) * apart).astype(np.int64)
    place: NDArray[np.int64] = start
    for step in face_steps(end - start):
        if _meets(still, surface + (place + step - low)):
            return place
        place = place + step
    return None


def face_steps(way: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split a way into steps of one voxel along one axis, as near to the straight line as they get.

    >>> face_steps(np.array([0, -2, 1])).tolist()
    [[0, -1, 0], [0, 0, 1], [0, -1, 0]]
    """
    counts = np.abs(way)
    axes = np.repeat(np.arange(len(way)), counts)
    when = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    axes = axes[np.argsort(when, kind="stable")]
    steps = np.zeros((len(axes), len(way)), np.int64)
    steps[np.arange(len(axes)), axes] = np.sign(way)[axes]
    return steps


def _meets(mask: NDArray[np.bool_], places: NDArray[np.int64]) -> bool:
    inside = places[np.all((places >= 0) & (places < mask.shape), axis=1)]
    return bool(mask[tuple(inside.T)].any())


def _fits(
    mask: NDArray[np.bool_], neighbour: NDArray[np.bool_], instances: NDArray[np.int16], corner: NDArray[np.int64]
) -> bool:
    """Whether no particle is in the way, and the contact is not out of sight."""
    there, own = _overlap(instances.shape, mask.shape, corner)
    shown = mask[own]
    if np.any(instances[there][shown] != 0):
        return False
    return bool(np.any(binary_dilation(shown) & neighbour[there]))


def _paste(
    image: NDArray[np.float32],
    border_core: NDArray[np.int16],
    instances: NDArray[np.int16],
    particle: Particle,
    corner: NDArray[np.int64],
    thickness_voxels: float,
) -> None:
    there, own = _overlap(image.shape, particle.mask.shape, corner)
    weight = gaussian_filter(particle.mask.astype(np.float32), BLUR_SIGMA, mode="constant", radius=MARGIN)[own]
    image[there] += weight * (particle.image[own] - image[there])
    added = particle.mask[own]
    instances[there][added] = ADDED
    # The others keep their borders: where the new one lies was background, from which they had one already.
    border_core[there][added] = to_border_core(added.astype(np.uint8), thickness_voxels)[added]


def _overlap(shape: tuple[int, ...], own: tuple[int, ...], corner: NDArray[np.int64]) -> tuple[Slices, Slices]:
    """Slices of an array, and of one whose corner lies at ``corner`` in it, where both have voxels."""
    starts = np.clip(corner, 0, shape)
    stops = np.clip(corner + own, starts, shape)
    there = tuple(slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))
    return there, tuple(slice(int(a), int(b)) for a, b in zip(starts - corner, stops - corner, strict=True))


def _box(mask: NDArray[np.bool_]) -> Slices:
    """Bounding box of what is set."""
    sides = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        sides.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(sides)
