"""Planes through a sample along every axis, read in one pass, as JPEG pictures of a bounded size."""

from __future__ import annotations

from collections.abc import Sequence

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.planes import (
    MOST_PIXELS,
    PLANES,
    PlaneChoice,
    Slices,
    cut_planes,
    join_planes,
    shrink_gray,
    shrink_labels,
)
from ps3d_rt.core.resample import ReadBox
from ps3d_rt.report.drawing import Shades, data_uri, overlay, shades_of

PIXELS = 512
"""Longest side of the largest picture of a small sample, about."""
PREVIEW_PIXELS = 256
"""Longest side of a preview, about."""
MOST_BYTES = 3_000_000
"""Of all pictures together; as text in the page they take a third more."""
QUALITIES = (85, 70, 55, 40, 25)
"""Of JPEG: the first that keeps the pictures small enough."""

READ: Zyx = (64, 512, 512)
"""Side of what is read at a time, voxels: a shard of the labels, and a multiple of every step of shrinking."""


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
    choice = PlaneChoice.for_shape(shape, planes, most_pixels)
    boxes = (box for box in ChunkGrid(shape, READ).boxes if any(choice.inside(box)))
    return join_planes(
        choice, (piece for box in boxes for piece in cut_planes(choice, box, read_image(box), read_labels(box)))
    )


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


def preview(slices: Sequence[Slices]) -> bytes:
    """Draw the middle plane across z as one small JPEG, for lists of samples."""
    across_z = slices[0]
    gray = across_z.gray[across_z.middle]
    step = max(1, -(-max(gray.shape) // PREVIEW_PIXELS))
    scale = max(1, PREVIEW_PIXELS // max(gray.shape))
    small = overlay(shrink_gray(gray, step), shrink_labels(across_z.labels[across_z.middle], step), scale)
    return bytes(imagecodecs.jpeg8_encode(small, level=QUALITIES[1]))


def _draw(slices: Slices, number: int, scale: int, shades: Shades) -> NDArray[np.uint8]:
    # The page shows an enlarged picture smaller than it is: a single pixel would fade.
    return overlay(slices.gray[number], slices.labels[number], scale, -(-scale // 2), shades)
