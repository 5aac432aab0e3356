"""Planes through a sample along every axis, read in one pass, as JPEG pictures of a bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.report.drawing import Shades, data_uri, overlay, shades_of, shrink_gray, shrink_labels

PLANES = 15
"""Along an axis; an odd number, so that one is in the middle."""
PIXELS, MOST_PIXELS = 512, 800
"""Longest side of the largest picture: about the first for a small sample, at most the second for any."""
MOST_BYTES = 3_000_000
"""Of all pictures together; as text in the page they take a third more."""
QUALITIES = (85, 70, 55, 40, 25)
"""Of JPEG: the first that keeps the pictures small enough."""

READ: Zyx = (64, 512, 512)
"""Voxels read at a time: those of a shard of the labels, and even multiples of every step of shrinking."""

ReadBox = Callable[[Box], NDArray[Any]]


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


def take_slices(
    read_image: ReadBox, read_labels: ReadBox, shape: Zyx, *, planes: int = PLANES, most_pixels: int = MOST_PIXELS
) -> list[Slices]:
    """Read evenly spread planes across z, then y, then x, the middle ones among them; every voxel is read once.

    Args:
        read_image: returns the gray values of a box of the source grid, as :meth:`Volume.read` does.
        read_labels: returns the labels of a box of the same grid, unsigned.
        shape: of that grid, voxels.
        planes: at most so many along an axis.
        most_pixels: samples with a longer side are shrunk, by 2, 4, 8 …
    """
    shrink = 1
    while max(shape) > most_pixels * shrink:
        shrink *= 2
    places = [_places(n, planes) for n in shape]
    pieces: list[list[tuple[int, Box, NDArray[Any], NDArray[Any]]]] = [[], [], []]
    for box in ChunkGrid(shape, READ).boxes:
        inside = [[i for i in at if a <= i < b] for at, a, b in zip(places, box.start, box.stop, strict=True)]
        if not any(inside):
            continue
        gray, ids = read_image(box), read_labels(box)
        for axis, found in enumerate(inside):
            for index in found:
                some_gray, some_ids = (values.take(index - box.start[axis], axis) for values in (gray, ids))
                drawn = shrink_gray(some_gray, shrink), shrink_labels(some_ids, shrink)
                pieces[axis].append((places[axis].index(index), box, *drawn))
    return [_joined(axis, shape, places[axis], pieces[axis], shrink) for axis in range(3)]


def _places(length: int, planes: int) -> tuple[int, ...]:
    """Middles of equal parts of an axis.

    >>> _places(100, 5), _places(3, 5)
    ((10, 30, 50, 70, 90), (0, 1, 2))
    """
    count = min(length, planes)
    return tuple((2 * k + 1) * length // (2 * count) for k in range(count))


def _joined(
    axis: int,
    shape: Zyx,
    indices: tuple[int, ...],
    pieces: Sequence[tuple[int, Box, NDArray[Any], NDArray[Any]]],
    shrink: int,
) -> Slices:
    rows, columns = (-(-n // shrink) for n in across(shape, axis))
    gray = np.zeros((len(indices), rows, columns), pieces[0][2].dtype)
    labels = np.zeros(gray.shape, pieces[0][3].dtype)
    for number, box, some_gray, some_labels in pieces:
        top, left = (start // shrink for start in across(box.start, axis))
        height, width = some_gray.shape
        where = number, slice(top, top + height), slice(left, left + width)
        gray[where], labels[where] = some_gray, some_labels
    return Slices(axis, shape, indices, gray, labels)


def across(zyx: Sequence[Any], axis: int) -> list[Any]:
    """Leave out the entry of one axis.

    >>> across((1, 2, 3), 1)
    [1, 3]
    """
    return [value for a, value in enumerate(zyx) if a != axis]


def jpegs(slices: Sequence[Slices]) -> list[list[str]]:
    """Draw all planes, at one scale and in the same shades, as texts for ``<img src>``; a list an axis."""
    longest = max(n for s in slices for n in s.gray.shape[1:])
    scale = max(1, round(PIXELS / longest))
    shades = shades_of(np.concatenate([s.gray[s.middle].ravel() for s in slices]))
    drawn = [[_draw(s, number, scale, shades) for number in range(len(s.indices))] for s in slices]
    encoded: list[list[bytes | bytearray]] = []
    for quality in QUALITIES:
        encoded = [
            [imagecodecs.jpeg8_encode(rgb, level=quality, subsampling="444") for rgb in pictures] for pictures in drawn
        ]
        if sum(len(picture) for pictures in encoded for picture in pictures) <= MOST_BYTES:
            break
    return [[data_uri("jpeg", picture) for picture in pictures] for pictures in encoded]


def _draw(slices: Slices, number: int, scale: int, shades: Shades) -> NDArray[np.uint8]:
    # The page shows an enlarged picture smaller than it is: a single pixel would fade.
    return overlay(slices.gray[number], slices.labels[number], scale, -(-scale // 2), shades)
