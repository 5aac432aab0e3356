"""Instances → border-core map (training) and border-core map → instances (inference).

A border-core map is uint8: 0 background, 1 core, 2 border. It works on numpy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.fragments import BACKGROUND, BORDER, CORE
from ps3d_rt.errors import InputError


def to_border_core(instances: NDArray[Any], thickness_voxels: float) -> NDArray[np.uint8]:
    """Cut every instance into a core and the border around it.

    A voxel is core when its Euclidean distance to the nearest voxel of another label, background included, is
    more than ``thickness_voxels``: the instance eroded by a ball. Instances that touch are so parted by border.
    What lies beyond the volume's faces does not count.

    The distance is split: along x to the nearest other label (1), then over rows at (dz, dy) (2). A row's voxel
    of the same label knows its own x distance, one of another label has 0; so the least dz² + dy² + dx² is exact.

    Args:
        instances: (Z, Y, X), any integer dtype, 0 is background.
        thickness_voxels: thickness of the border, 0 or more.

    Returns:
        uint8 of the same shape.
    """
    if instances.ndim != 3 or instances.dtype.kind not in "iu":
        raise InputError(f"instances are {instances.dtype} of shape {instances.shape}; (Z, Y, X) integers are needed.")
    if not 0 <= thickness_voxels < np.inf:
        raise InputError(f"the border thickness is {thickness_voxels} voxels; 0 or more is needed.")
    reach = int(thickness_voxels)
    rows = np.array(
        [
            (dz, dy)
            for dz in range(-reach, reach + 1)
            for dy in range(-reach, reach + 1)
            if dz * dz + dy * dy <= thickness_voxels**2
        ],
        dtype=np.int64,
    )
    rows = rows[np.argsort((rows**2).sum(axis=1), kind="stable")]  # nearest first: border is found early
    instances = np.ascontiguousarray(instances)
    return _cut(instances, _x_distance(instances, reach + 1), rows, float(thickness_voxels) ** 2)


@compiled
def _x_distance(labels: NDArray[Any], limit: int) -> NDArray[np.int32]:
    """Voxels along x to the nearest other label in the row, at most ``limit``."""
    depth, height, width = labels.shape
    out: NDArray[np.int32] = np.empty(labels.shape, np.int32)
    for z in range(depth):
        for y in range(height):
            run = limit
            for x in range(width):
                edge = x > 0 and labels[z, y, x] != labels[z, y, x - 1]
                run = 1 if edge else min(run + 1, limit)
                out[z, y, x] = run
            run = limit
            for x in range(width - 1, -1, -1):
                edge = x < width - 1 and labels[z, y, x] != labels[z, y, x + 1]
                run = 1 if edge else min(run + 1, limit)
                out[z, y, x] = min(out[z, y, x], run)
    return out


@compiled
def _cut(labels: NDArray[Any], near_x: NDArray[Any], rows: NDArray[Any], limit: float) -> NDArray[np.uint8]:
    depth, height, width = labels.shape
    out = np.full(labels.shape, BACKGROUND, np.uint8)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = labels[z, y, x]
                if label == 0:
                    continue
                out[z, y, x] = CORE
                for i in range(rows.shape[0]):
                    dz, dy = rows[i, 0], rows[i, 1]
                    if not (0 <= z + dz < depth and 0 <= y + dy < height):
                        continue
                    dx = 0
                    if labels[z + dz, y + dy, x] == label:
                        dx = near_x[z + dz, y + dy, x]
                    if dz * dz + dy * dy + dx * dx <= limit:
                        out[z, y, x] = BORDER
                        break
    return out
