"""Planes along every axis, cut from the boxes of a volume as they are read, shrunk to the size of a picture.

So the pictures of a report cost no second reading: :func:`cut_planes` per box, :func:`join_planes` at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx

PLANES = 15
"""Along an axis; an odd number, so that one is in the middle."""
MOST_PIXELS = 800
"""Longest side of a picture, at most, for a sample of any size."""


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Planes that stand on one axis. Their rows and columns are the two axes left, in the order z, y, x."""

    axis: int
    """0 (z), 1 (y) or 2 (x)."""
    shape: Zyx
    """Of the sample, voxels."""
    indices: tuple[int, ...]
    """Where the planes lie on that axis, voxels, ascending."""
    gray: NDArray[Any]
    """(n, H, W) gray values, shrunk if the sample is large."""
    labels: NDArray[Any]
    """(n, H, W) unsigned, one id a particle, 0 elsewhere; shrunk alike."""

    @property
    def middle(self) -> int:
        """Number of the plane in the middle."""
        return len(self.indices) // 2


@dataclass(frozen=True, slots=True, eq=False)
class PlaneTile:
    """What one box holds of one plane."""

    axis: int
    number: int
    """Of the plane, among those of its axis."""
    box: Box
    gray: NDArray[Any]
    """(h, w) gray values, shrunk."""
    labels: NDArray[Any]
    """(h, w) ids, shrunk alike."""

    def relabelled(self, id_map: NDArray[Any]) -> PlaneTile:
        """Give the particles the ids ``id_map[id]``."""
        return replace(self, labels=id_map[self.labels])


@dataclass(frozen=True, slots=True)
class PlaneChoice:
    """Which planes of a volume are shown, and how small."""

    shape: Zyx
    """Of the volume, voxels."""
    indices: tuple[tuple[int, ...], ...]
    """Along z, y and x."""
    shrink: int
    """A power of 2; boxes that are cut start at multiples of it."""

    @classmethod
    def for_shape(cls, shape: Zyx, planes: int = PLANES, most_pixels: int = MOST_PIXELS) -> PlaneChoice:
        """Choose evenly spread planes, the middle ones among them.

        Args:
            shape: of the volume, voxels.
            planes: at most so many along an axis.
            most_pixels: samples with a longer side are shrunk, by 2, 4, 8 …
        """
        shrink = 1
        while max(shape) > most_pixels * shrink:
            shrink *= 2
        return cls(shape, tuple(plane_places(n, planes) for n in shape), shrink)

    def inside(self, box: Box) -> list[list[int]]:
        """List the planes that go through a box, along every axis."""
        return [[i for i in at if a <= i < b] for at, a, b in zip(self.indices, box.start, box.stop, strict=True)]


def cut_planes(choice: PlaneChoice, box: Box, gray: NDArray[Any], ids: NDArray[Any]) -> tuple[PlaneTile, ...]:
    """Cut the planes out of a box of the volume; ``gray`` and ``ids`` are its voxels."""
    tiles = []
    for axis, found in enumerate(choice.inside(box)):
        for index in found:
            some_gray, some_ids = (values.take(index - box.start[axis], axis) for values in (gray, ids))
            drawn = shrink_gray(some_gray, choice.shrink), shrink_labels(some_ids, choice.shrink)
            tiles.append(PlaneTile(axis, choice.indices[axis].index(index), box, *drawn))
    return tuple(tiles)


def join_planes(choice: PlaneChoice, tiles: Iterable[PlaneTile]) -> list[Slices]:
    """Put the planes together, along z, then y, then x."""
    by_axis: list[list[PlaneTile]] = [[], [], []]
    for tile in tiles:
        by_axis[tile.axis].append(tile)
    return [_joined(choice, axis, some) for axis, some in enumerate(by_axis)]


def _joined(choice: PlaneChoice, axis: int, tiles: Sequence[PlaneTile]) -> Slices:
    shape, indices = choice.shape, choice.indices[axis]
    rows, columns = (-(-n // choice.shrink) for n in across(shape, axis))
    gray = np.zeros((len(indices), rows, columns), tiles[0].gray.dtype)
    labels = np.zeros(gray.shape, tiles[0].labels.dtype)
    for tile in tiles:
        top, left = (start // choice.shrink for start in across(tile.box.start, axis))
        height, width = tile.gray.shape
        where = tile.number, slice(top, top + height), slice(left, left + width)
        gray[where], labels[where] = tile.gray, tile.labels
    return Slices(axis, shape, indices, gray, labels)


def plane_places(length: int, planes: int) -> tuple[int, ...]:
    """Middles of equal parts of an axis.

    >>> plane_places(100, 5), plane_places(3, 5)
    ((10, 30, 50, 70, 90), (0, 1, 2))
    """
    count = min(length, planes)
    return tuple((2 * k + 1) * length // (2 * count) for k in range(count))


def across(zyx: Sequence[Any], axis: int) -> list[Any]:
    """Leave out the entry of one axis.

    >>> across((1, 2, 3), 1)
    [1, 3]
    """
    return [value for a, value in enumerate(zyx) if a != axis]


def shrink_gray(gray: NDArray[Any], shrink: int) -> NDArray[Any]:
    """Take the means of ``shrink`` × ``shrink`` voxels of a plane; those at the far ends may hold fewer."""
    for axis in (0, 1) if shrink > 1 else ():
        starts = np.arange(0, gray.shape[axis], shrink)
        counts = np.diff(starts, append=gray.shape[axis])
        gray = np.add.reduceat(gray, starts, axis, dtype=np.float32) / (counts[:, None] if axis == 0 else counts)
    return gray


def shrink_labels(labels: NDArray[Any], shrink: int) -> NDArray[Any]:
    """Take the middle voxel of each of the same squares as :func:`shrink_gray`."""
    for axis in (0, 1) if shrink > 1 else ():
        middles = np.arange(0, labels.shape[axis], shrink) + shrink // 2
        labels = labels.take(np.minimum(middles, labels.shape[axis] - 1), axis)
    return labels
