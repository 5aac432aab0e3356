"""Tell patches that cannot hold a particle from those that might."""

from __future__ import annotations

from typing import Any

from ps3d_rt.core.arrays import array_namespace

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
    xp = array_namespace(patch)
    z, y, x = (n // BLOCK for n in patch.shape)
    whole = patch[: z * BLOCK, : y * BLOCK, : x * BLOCK]
    means = xp.mean(xp.reshape(whole, (z, BLOCK, y, BLOCK, x, BLOCK)), axis=(1, 3, 5))
    low, high = float(xp.min(means)), float(xp.max(means))
    return high < 0 and high - low < LEAST_CONTRAST
