"""Grow a particle that has no label from a click inside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from ps3d_rt.errors import InputError

SMOOTH_VOXELS = 1.0
"""Deviation of the Gaussian that noise is taken off with."""


def grown_from(image: NDArray[Any], free: NDArray[np.bool_], seed: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Find the bright piece around a voxel.

    Args:
        image: (z, y, x) gray values around the click, particles brighter than what they lie in.
        free: the same shape, without a label.
        seed: the voxel that was clicked on.

    Returns:
        The same shape: what hangs together with the seed and is brighter than Otsu's threshold of the free voxels;
        holes are filled, and what hangs on by one voxel is left out.

    Raises:
        InputError: if the voxel has a label already, or is dark.
    """
    if not free[seed]:
        raise InputError("this voxel has a label already; click on a particle that has none.")
    smooth = ndimage.gaussian_filter(image.astype(np.float32), SMOOTH_VOXELS)
    values = smooth[free]
    threshold = threshold_otsu(values) if values.min() < values.max() else values[0]
    bright = (smooth > threshold) & free
    if not bright[seed]:
        raise InputError("this voxel is as dark as what the particles lie in; click in the middle of a particle.")
    piece = ndimage.binary_fill_holes(_piece_at(bright, seed)) & free
    opened = ndimage.binary_opening(piece) | _piece_at(piece, seed) & _near(seed, piece.shape)
    return _piece_at(opened, seed)


def _piece_at(mask: NDArray[np.bool_], seed: tuple[int, int, int]) -> NDArray[np.bool_]:
    pieces, _ = ndimage.label(mask)
    found: NDArray[np.bool_] = pieces == pieces[seed]
    return found


def _near(seed: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the voxel and those that share a corner: opening must not lose what was clicked on."""
    near = np.zeros(shape, np.bool_)
    near[tuple(slice(max(0, k - 1), k + 2) for k in seed)] = True
    return near
