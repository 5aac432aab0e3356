"""The tube that a sample stands in: along z, with a wall, and air outside."""

from __future__ import annotations

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.spec import AIR, RESIN, SampleSpec


def container_inside(spec: SampleSpec) -> tuple[Array, Array]:
    """Distance from the axis of the tube (y, x), voxels, and where grains may lie (z, y, x).

    Without a container the inside is everything.
    """
    _, height, width = spec.shape
    y, x = np.ogrid[:height, :width]
    axis_x = (width - 1) / 2 - spec.container_offset * min(height, width)
    radius = np.hypot(y - (height - 1) / 2, x - axis_x).astype(np.float32)
    free = radius < _wall_radius(spec) - 1 if spec.container else np.ones_like(radius, bool)
    return radius, np.broadcast_to(free, spec.shape)


def add_container(image: Array, spec: SampleSpec) -> None:
    """Lay the tube over ``image``: wall of about 2 % of the diameter, between resin and the first phase, then air."""
    radius, _ = container_inside(spec)
    inner = _wall_radius(spec)
    outer = inner * 1.05 + 1
    wall_gray = 0.6 * RESIN + 0.4 * min(spec.phases[0], 1.6)
    in_wall = np.clip(radius - inner + 0.5, 0, 1)
    in_air = np.clip(radius - outer + 0.5, 0, 1)
    image += in_wall * (wall_gray - image)
    image += in_air * (AIR - image)


def _wall_radius(spec: SampleSpec) -> float:
    return spec.container_radius * min(spec.shape[1:])
