"""The gray scale of a volume and the bins of its particles' histograms, from voxels spread over it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ps3d_rt.core.embedding import find_embedding
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, gray_scale, gray_scales
from ps3d_rt.core.outside import Part, leave_out_constant
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume

_BOX, _BOXES = 64, 4
"""Side of a box, voxels, and their number along each axis."""
_SMALL_VOXELS = 2**24
_PLANES = 64
_PLANE_VOXELS = 65_536


def volume_scale(volume: Volume) -> GrayScale:
    """Measure the gray scale of a volume.

    Raises:
        InputError: if the voxels looked at hold NaN or Inf, or have no contrast.
    """
    return gray_scale(_spread(volume))


def volume_scale_and_bins(volume: Volume, ceiling: float | None = None) -> tuple[GrayScale, GrayBins]:
    """Measure the gray scale of a volume, and choose the bins as :func:`volume_bins` does, in one look.

    Args:
        volume: the scan.
        ceiling: as for :func:`ps3d_rt.core.normalize.gray_scale`.

    Raises:
        InputError: as :func:`volume_scale`.
    """
    # What the network is shown ends at the ceiling; what is measured does not.
    plain, scale = gray_scales(_spread(volume), ceiling)
    return scale, GrayBins.of(plain)


def embedding_scale_and_bins(volume: Volume) -> tuple[EmbeddingScale, GrayBins]:
    """Count the gray values of a volume from its embedding, and choose the bins as :func:`volume_bins` does.

    Raises:
        InputError: as :func:`volume_scale`.
    """
    parts, _ = leave_out_constant(_boxes(volume), volume.shape)
    found = find_embedding(parts, volume.shape)
    inside = [part.voxels.ravel() if part.inside is None else part.voxels[part.inside] for part in parts]
    return EmbeddingScale(found.gray, found.contrast), GrayBins.of(gray_scale(np.concatenate(inside)))


def _boxes(volume: Volume) -> list[Part]:
    """Read boxes spread over the volume, its corners among them; a small volume whole."""
    starts = [
        np.unique(np.linspace(0, max(0, n - _BOX), 1 if n <= _BOX else _BOXES).round().astype(int)).tolist()
        for n in volume.shape
    ]
    places = product(*starts) if np.prod(volume.shape) > _SMALL_VOXELS else [(0, 0, 0)]
    side = _BOX if np.prod(volume.shape) > _SMALL_VOXELS else max(volume.shape)
    whole = Box.of_shape(volume.shape)
    boxes = [Box((z, y, x), (z + side, y + side, x + side)).intersect(whole) for z, y, x in places]
    return [Part(box.start, volume.read(box)) for box in boxes]


def volume_bins(volume: Volume) -> GrayBins:
    """Choose the bins of a volume, the ones that a run with the volume's own gray scale takes.

    Any volume has some: NaN and Inf are passed over, and without contrast they reach from the least to the largest
    value.
    """
    sample = _spread(volume)
    sample = sample[np.isfinite(sample)]
    try:
        return GrayBins.of(gray_scale(sample))
    except InputError:
        return GrayBins.between(float(sample.min()), float(sample.max())) if sample.size else GrayBins(0.0, 1.0)


def _spread(volume: Volume) -> np.ndarray[Any, Any]:
    """Read a fixed raster of at most 64 planes. It belongs to the volume: neither chunks nor workers can change it."""
    depth, height, width = volume.shape
    step = max(1, int(np.sqrt(height * width / _PLANE_VOXELS)))
    planes = np.unique(np.linspace(0, depth - 1, min(depth, _PLANES)).round().astype(int))
    return np.stack([volume.read(Box((z, 0, 0), (z + 1, height, width)))[0, ::step, ::step] for z in planes.tolist()])
