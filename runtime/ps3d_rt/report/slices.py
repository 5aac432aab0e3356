"""Three planes through the middle of a sample, particles outlined in colour."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError

PIXELS, MOST_PIXELS = 800, 1200
"""Longest side of the largest picture: about the first, never above the second, for a file of a few MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One plane of the sample. The rows and columns are the two axes left, in the order z, y, x."""

    axis: int
    """The axis the plane stands on: 0 (z), 1 (y) or 2 (x)."""
    index: int
    """Where it lies on that axis, voxels."""
    length: int
    """Voxels of the sample along that axis."""
    gray: NDArray[Any]
    """(H, W) gray values, native dtype."""
    labels: NDArray[Any]
    """(H, W) unsigned, one id a particle, 0 elsewhere."""


def take_slices(
    read_image: Callable[[Box], NDArray[Any]], read_labels: Callable[[Box], NDArray[Any]], shape: Zyx
) -> list[Slice]:
    """Read the three middle planes: across z, then y, then x.

    Args:
        read_image: returns the gray values of a box of the source grid, as :meth:`Volume.read` does.
        read_labels: returns the labels of a box of the same grid, unsigned.
        shape: of that grid, voxels.
    """
    slices = []
    for axis, length in enumerate(shape):
        start, stop = [0, 0, 0], list(shape)
        start[axis], stop[axis] = length // 2, length // 2 + 1
        box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        gray, ids = (np.squeeze(read(box), axis) for read in (read_image, read_labels))
        slices.append(Slice(axis, length // 2, length, gray, ids))
    return slices


def overlay(
    gray_slice: NDArray[Any], label_slice: NDArray[Any], scale: int = 1, outline_pixels: int = 1
) -> NDArray[np.uint8]:
    """Draw each particle's outline, inside the particle, over the gray values.

    The gray values are stretched between their 0.5 and 99.5 percentile. A particle that the edge of the
    picture cuts is left open there.

    Args:
        gray_slice: (H, W), any real dtype.
        label_slice: (H, W) unsigned ids, 0 is background.
        scale: pixels a voxel, at least 1.
        outline_pixels: width of the outline, at least 1.

    Returns:
        (H·scale, W·scale, 3) uint8, RGB.

    Raises:
        InputError: if the two do not have one 2-D shape, or a number of pixels is below 1.
    """
    if gray_slice.ndim != 2 or gray_slice.shape != label_slice.shape:
        raise InputError(f"gray slice {gray_slice.shape} and label slice {label_slice.shape} must have one 2-D shape.")
    if scale < 1 or outline_pixels < 1:
        raise InputError(f"scale is {scale} and the outline {outline_pixels} pixels wide; both must be at least 1.")
    rgb: NDArray[np.uint8] = np.repeat(_enlarge(_stretch(gray_slice), scale)[..., None], 3, axis=2)
    labels = _enlarge(label_slice, scale)
    outline = _outline(labels, outline_pixels)
    ids, which = np.unique(labels[outline], return_inverse=True)
    rgb[outline] = label_colours(ids)[which]
    return rgb


def label_colours(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """One vivid colour an id, always the same, and far apart for ids that are close.

    Ids follow the raster, so neighbours often have close ids. The hue turns by the golden ratio an id, the lightness
    steps by the inverse square of the plastic ratio: both are evenly spread over any run of ids. The saturation
    stands out on gray (OKLCH colours; B. Ottosson, 2020).

    Args:
        ids: (n,) unsigned.

    Returns:
        (n, 3) uint8, RGB.
    """
    step = np.asarray(ids, np.float64)
    hue = 2 * np.pi * (step * 0.6180339887498949 % 1)
    lightness = 0.52 + 0.28 * (step * 0.5698402909980532 % 1)
    chroma = 0.24  # beyond sRGB for some hues: cut off there
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: NDArray[np.uint8] = np.rint(255 * srgb).astype(np.uint8)
    return colours


def pictures(slices: Sequence[Slice]) -> list[NDArray[np.uint8]]:
    """Draw all slices at one number of pixels a voxel, small ones enlarged, large ones shrunk."""
    longest = max((n for s in slices for n in s.gray.shape), default=1)
    scale, shrink = max(1, round(PIXELS / longest)), -(-longest // MOST_PIXELS)
    # The page shows them about 400 pixels wide: a single pixel would fade in a large one.
    outline_pixels = 2 if longest * scale // shrink >= PIXELS else 1
    return [overlay(_mean(s.gray, shrink), _every(s.labels, shrink), scale, outline_pixels) for s in slices]


def png_data_uri(rgb: NDArray[np.uint8]) -> str:
    """Encode an RGB picture as the ``src`` of an ``<img>``."""
    png = imagecodecs.png_encode(np.ascontiguousarray(rgb), level=9)
    return "data:image/png;base64," + b64encode(bytes(png)).decode("ascii")


def _stretch(gray: NDArray[Any]) -> NDArray[np.uint8]:
    gray = np.nan_to_num(np.asarray(gray, np.float64))
    dark, bright = np.percentile(gray, (0.5, 99.5))
    span = bright - dark
    if span <= 0:  # one gray value only: nothing to stretch, and mid-gray keeps every colour visible
        return np.full(gray.shape, 128, np.uint8)
    shades: NDArray[np.uint8] = np.rint(((gray - dark) / span).clip(0, 1) * 255).astype(np.uint8)
    return shades


def _outline(labels: NDArray[Any], pixels: int) -> NDArray[np.bool_]:
    """Particle pixels with another id at most ``pixels`` away along an axis; there is nothing beyond the picture."""
    outline: NDArray[np.bool_] = np.zeros(labels.shape, np.bool_)
    for step in range(1, pixels + 1):
        down = labels[step:] != labels[:-step]
        across = labels[:, step:] != labels[:, :-step]
        outline[step:] |= down
        outline[:-step] |= down
        outline[:, step:] |= across
        outline[:, :-step] |= across
    outline &= labels != 0
    return outline


def _enlarge(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    return plane.repeat(scale, axis=0).repeat(scale, axis=1)


def _mean(gray: NDArray[Any], shrink: int) -> NDArray[Any]:
    """Take the means of ``shrink`` × ``shrink`` voxels; a plane thinner than that keeps one row or column."""
    for axis in (0, 1):
        step = min(shrink, gray.shape[axis])
        starts = np.arange(gray.shape[axis] // step) * step
        whole = gray.take(np.arange(len(starts) * step), axis)
        gray = np.add.reduceat(whole, starts, axis, dtype=np.float64) / step
    return gray


def _every(labels: NDArray[Any], shrink: int) -> NDArray[Any]:
    """Take the middle voxel of each of the same squares as :func:`_mean`."""
    for axis in (0, 1):
        step = min(shrink, labels.shape[axis])
        labels = labels.take(np.arange(labels.shape[axis] // step) * step + step // 2, axis)
    return labels
