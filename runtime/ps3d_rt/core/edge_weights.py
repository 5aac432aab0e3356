"""How many particles of a sample each one stands for, where the faces of the volume cut others (Miles-Lantuéjoul)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx


def box_weights(start: NDArray[Any], stop: NDArray[Any], shape: Zyx) -> NDArray[np.float64]:
    """Weigh particles by their boxes: 0 if one touches a face, else 1 / P(a particle of its box touches none).

    Args:
        start: (n, 3) first voxel z, y, x.
        stop: (n, 3) one past the last.
        shape: of the volume, voxels z, y, x.

    >>> box_weights(np.array([[1, 1, 2], [0, 3, 3]]), np.array([[3, 4, 6], [1, 4, 4]]), (5, 6, 9)).tolist()
    [16.875, 0.0]
    """
    sides = np.array(shape)
    inside = ~np.any((start == 0) | (stop == sides), axis=1)
    # Of ``length`` starts, 1 .. length − side − 1 leave a voxel free on both sides.
    weights: NDArray[np.float64] = inside * np.prod(sides / np.maximum(sides - 1 - (stop - start), 1), axis=1)
    return weights
