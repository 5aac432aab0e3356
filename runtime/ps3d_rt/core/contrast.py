"""Finds patches that hold no particle, because they have no contrast."""

from __future__ import annotations

from typing import Any

import numpy as np

from ps3d_rt.core.arrays import Array, array_namespace, compiled

BLOCK = 4
"""Side of the cubes whose means are compared, voxels: averages 64 voxels of noise, about the smallest particle."""
LEAST_CONTRAST = 0.35
"""Range of the block means, in standard deviations of the volume, below which a patch is empty."""


def is_empty(patch: Any) -> bool:
    """Whether a patch is plain background: no contrast above the noise, and darker than the volume's mean.

    The means of 4×4×4 blocks must lie within 0.35 standard deviations of the volume. A particle a block wide moves
    one of them by most of its contrast, and particles stand about a standard deviation above what they lie in. The
    inside of a particle larger than the patch is even too, but bright.

    Args:
        patch: (z, y, x) float32, z-scored; sides of at least 4 voxels.
    """
    if isinstance(patch, np.ndarray):
        return _is_even_and_dark(patch)
    xp = array_namespace(patch)
    z, y, x = (n // BLOCK for n in patch.shape)
    whole = xp.astype(patch[: z * BLOCK, : y * BLOCK, : x * BLOCK], xp.float64)
    means = xp.mean(xp.reshape(whole, (z, BLOCK, y, BLOCK, x, BLOCK)), axis=(1, 3, 5))
    low, high = float(xp.min(means)), float(xp.max(means))
    return high < 0 and high - low < LEAST_CONTRAST


@compiled
def _is_even_and_dark(patch: Array) -> bool:
    """Do the same, and stop at the first block that settles it.

    64 values of float32 are summed in float64, where hardly a digit is lost: the order of the sum changes nothing.
    """
    blocks_z, blocks_y, blocks_x = patch.shape[0] // BLOCK, patch.shape[1] // BLOCK, patch.shape[2] // BLOCK
    low, high = np.inf, -np.inf
    columns = np.empty(blocks_x * BLOCK, np.float64)
    for block_z in range(blocks_z):
        for block_y in range(blocks_y):
            columns[:] = 0.0
            for z in range(block_z * BLOCK, (block_z + 1) * BLOCK):
                for y in range(block_y * BLOCK, (block_y + 1) * BLOCK):
                    row = patch[z, y, : columns.size]
                    for x in range(columns.size):
                        columns[x] += row[x]
            for block in range(blocks_x):
                mean = columns[block * BLOCK : (block + 1) * BLOCK].sum() / BLOCK**3
                low, high = min(low, mean), max(high, mean)
                if not (mean < 0.0 and high - low < LEAST_CONTRAST):
                    return False
    return True
