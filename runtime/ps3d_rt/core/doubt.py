"""Which particles the network is sure enough of.

A true particle is unsure at its surface only: over a ball of diameter d with an unsure layer of thickness t the mean
score of foreground is about ``1 − 6 t/d``, so small particles score lower than large ones. Something that is none, a
spacer say, is unsure all through. So ``(1 − confidence) · d``, six times the layer, tells them apart where the score
alone does not; and because blur and noise make the layer thicker for all, it is compared with that of the particle
that the middle voxel of the foreground belongs to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def is_sure(
    volumes: NDArray[np.int64], scores: NDArray[np.int64], min_confidence: float, max_doubt: float
) -> NDArray[np.bool_]:
    """Say which particles stay.

    Args:
        volumes: (n,) voxels; 0 is no particle.
        scores: (n,) sum over a particle's voxels of the score of foreground, percent.
        min_confidence: mean score that a particle needs, 0 to 1.
        max_doubt: times that its unsure layer may be as thick as the typical one's; 0 asks for nothing.

    >>> grain, fine, spacer = (8000, 7760), (125, 116), (1000, 800)
    >>> volumes, scores = np.array([grain, grain, grain, fine, spacer]).T
    >>> is_sure(volumes, 100 * scores, 0.6, 3.0).tolist()
    [True, True, True, True, False]
    """
    sure = (volumes > 0) & (scores >= 100 * min_confidence * volumes)
    if max_doubt == 0 or not sure.any():
        return sure
    sides = np.cbrt(volumes)
    layers = sides - scores / (100 * np.maximum(sides, 1) ** 2)
    by_layer = np.argsort(layers, kind="stable")
    reached = np.cumsum(volumes[by_layer])
    typical = layers[by_layer[np.searchsorted(reached, reached[-1] / 2)]]
    thin: NDArray[np.bool_] = layers <= max_doubt * typical
    return sure & thin
