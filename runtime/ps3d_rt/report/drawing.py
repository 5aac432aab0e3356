"""Gray values with particles outlined in colour, as RGB pictures, and pictures as text for a page."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ps3d_rt.errors import InputError

Shades = tuple[float, float]
"""Gray values that are shown black and white."""


def overlay(
    gray_slice: NDArray[Any],
    label_slice: NDArray[Any],
    scale: int = 1,
    outline_pixels: int = 1,
    shades: Shades | None = None,
) -> NDArray[np.uint8]:
    """Draw each particle's outline, inside the particle, over the gray values.

    A particle that the edge of the picture cuts is left open there.

    Args:
        gray_slice: (H, W), any real dtype.
        label_slice: (H, W) unsigned ids, 0 is background.
        scale: pixels a voxel, at least 1.
        outline_pixels: width of the outline, at least 1.
        shades: gray values between which the picture is stretched; None takes :func:`shades_of` the slice.

    Returns:
        (H·scale, W·scale, 3) uint8, RGB.

    Raises:
        InputError: if the two do not have one 2-D shape, or a number of pixels is below 1.
    """
    if gray_slice.ndim != 2 or gray_slice.shape != label_slice.shape:
        raise InputError(f"gray slice {gray_slice.shape} and label slice {label_slice.shape} must have one 2-D shape.")
    if scale < 1 or outline_pixels < 1:
        raise InputError(f"scale is {scale} and the outline {outline_pixels} pixels wide; both must be at least 1.")
    stretched = _stretch(gray_slice, shades_of(gray_slice) if shades is None else shades)
    rgb: NDArray[np.uint8] = np.repeat(_enlarge(stretched, scale)[..., None], 3, axis=2)
    labels = _enlarge(label_slice, scale)
    outline = _outline(labels, outline_pixels)
    ids, which = np.unique(labels[outline], return_inverse=True)
    rgb[outline] = label_colours(ids)[which]
    return rgb


def shades_of(gray: NDArray[Any]) -> Shades:
    """Take the 0.5 and the 99.5 percentile: one hot voxel must not darken the rest."""
    dark, bright = np.percentile(np.nan_to_num(np.asarray(gray, np.float64)), (0.5, 99.5)).tolist()
    return dark, bright


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


def png_data_uri(rgb: NDArray[np.uint8]) -> str:
    """Encode an RGB picture as the ``src`` of an ``<img>``, without loss."""
    return data_uri("png", imagecodecs.png_encode(np.ascontiguousarray(rgb), level=9))


def data_uri(kind: str, encoded: bytes | bytearray) -> str:
    """Write an encoded picture as the ``src`` of an ``<img>``."""
    return f"data:image/{kind};base64,{b64encode(encoded).decode('ascii')}"


def _stretch(gray: NDArray[Any], shades: Shades) -> NDArray[np.uint8]:
    dark, bright = shades
    if bright <= dark:  # one gray value only: nothing to stretch, and mid-gray keeps every colour visible
        return np.full(gray.shape, 128, np.uint8)
    values = np.nan_to_num(np.asarray(gray, np.float64))
    shown: NDArray[np.uint8] = np.rint(((values - dark) / (bright - dark)).clip(0, 1) * 255).astype(np.uint8)
    return shown


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
