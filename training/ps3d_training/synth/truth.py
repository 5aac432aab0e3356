"""What labels are and hold: pieces, sizes, contacts. For any labels, simulated or segmented."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.contacts import find_contacts
from ps3d_rt.core.embedding import cubes_of
from ps3d_rt.core.outside import SampledVoxels


def connected(labels: Array, *, smallest_voxels: int = 8) -> Array:
    """Keep the largest 6-connected piece of every label, if it has ``smallest_voxels``; ids become 1..N in order."""
    kept = np.zeros_like(labels)
    count = 0
    for index, where in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if where is None:
            continue
        pieces, found = ndimage.label(labels[where] == index)
        sizes = np.bincount(pieces.ravel(), minlength=2)
        largest = int(np.argmax(sizes[1:])) + 1
        if found and sizes[largest] >= smallest_voxels:
            count += 1
            kept[where][pieces == largest] = count
    return kept


def touching_share(labels: Array) -> float:
    """Share of the labels that meet another over at least one voxel face."""
    count = len(np.unique(labels[labels > 0]))
    return len(np.unique(find_contacts(np.pad(labels, 1)).labels)) / count if count else 0.0


def mean_diameter(labels: Array) -> float:
    """Mean equivalent diameter, voxels, of the labels that the volume's faces do not cut; 0 without any."""
    sizes = voxels_by_label(labels)
    sizes[np.unique(np.concatenate([np.take(labels, (0, -1), axis).ravel() for axis in range(3)]))] = 0
    sizes[0] = 0
    whole = np.cbrt(6 / np.pi * sizes[sizes > 0])
    return float(whole.mean()) if len(whole) else 0.0


def voxels_by_label(labels: Array) -> Array:
    """Voxels of every label from 0 on: int64. One plane at a time, for counting makes 64 bit of every voxel."""
    count = int(labels.max(initial=0)) + 1
    sizes = np.zeros(count, np.int64)
    for slab in np.array_split(labels, max(1, len(labels) // 16)):
        sizes += np.bincount(slab.ravel(), minlength=count)
    return sizes


def facts_of(labels: Array, *, inside_voxels: int, otherwise_voxels: float) -> dict[str, Any]:
    """Say what came out; ``otherwise_voxels`` is the diameter to state where no particle is whole."""
    return {
        "particles": int(labels.max(initial=0)),
        "mean_diameter_voxels": mean_diameter(labels) or otherwise_voxels,
        "touching": touching_share(labels),
        "fill": float((labels > 0).sum() / inside_voxels),
    }


def contrast_to_noise(image: Array, labels: Array, embedding: Array) -> float:
    """How far the median voxel of the particles stands out, over how much cubes of 2×2×2 voxels of the embedding vary.

    Args:
        image: (z, y, x) gray values.
        labels: same shape, 0 between the particles.
        embedding: same shape, which voxels are embedding.

    Returns:
        0 where there is no particle, or no whole cube of embedding.
    """
    means, _ = cubes_of(SampledVoxels((0, 0, 0), image, embedding))
    cubes = means[np.isfinite(means)]
    if not len(cubes) or not labels.any():
        return 0.0
    low, middle = np.quantile(cubes, (0.1587, 0.5))
    stands_out = float(np.median(image[labels > 0]) - middle)
    return max(0.0, stands_out) / max(float(middle - low), 1e-6)
