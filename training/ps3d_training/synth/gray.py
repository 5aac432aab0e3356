"""Gray values of a packing: minerals, inclusions, cracks, contacts, spacers, bubbles, container, partial volume."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from ps3d_training.synth.packing import Packing
from ps3d_training.synth.spec import SampleSpec

Array = np.ndarray[Any, Any]

AIR, RESIN = 0.0, 1.0


def container_inside(spec: SampleSpec) -> tuple[Array, Array]:
    """Distance from the axis of the tube (y, x), voxels, and where grains may lie (z, y, x).

    Without a container the inside is everything.
    """
    _, height, width = spec.shape
    y, x = np.ogrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2).astype(np.float32)
    free = radius < _wall_radius(spec) - 1 if spec.container else np.ones_like(radius, bool)
    return radius, np.broadcast_to(free, spec.shape)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Gaussian noise of correlation length ``sigma`` voxels, mean 0, standard deviation 1: float32."""
    # Coarse noise is drawn on a coarse grid and interpolated: a wide filter at full size is what would take the time.
    step = max(1, int(sigma / 1.5))
    coarse = tuple(n // step + 5 for n in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    if sigma > 0:
        noise = ndimage.gaussian_filter(noise, sigma / step, mode="wrap")
    noise /= noise.std()
    if step > 1:
        for axis, n in enumerate(shape):
            at = np.arange(n, dtype=np.float32) / step
            low = at.astype(int)
            weight = (at - low).reshape([-1 if a == axis else 1 for a in range(len(shape))])
            noise = np.take(noise, low, axis) * (1 - weight) + np.take(noise, low + 1, axis) * weight
    return noise[tuple(slice(0, n) for n in shape)]


def render(spec: SampleSpec, packing: Packing, spacers: Packing, rng: np.random.Generator) -> Array:
    """Draw the sample as an ideal scanner would see it: float32, air 0 and resin 1, before blur and noise."""
    image = RESIN * (1 + spec.matrix_texture * smooth_noise(rng, spec.shape, spec.particle_size_voxels / 3))
    _add_bubbles(image, spec, rng)
    spacer_gray = np.full(spacers.count + 1, spec.spacer_gray, np.float32)
    _mix(image, spacers, spacer_gray[spacers.owner])
    _mix(image, packing, _grain_gray(spec, packing, rng))
    if spec.container:
        _add_container(image, spec)
    return image


def _mix(image: Array, packing: Packing, gray: Array) -> None:
    """Lay grains over what is there; a voxel on a surface takes its share of both (partial volume)."""
    coverage = np.clip(0.5 - packing.level, 0, 1)
    image += coverage * (gray - image)


def _grain_gray(spec: SampleSpec, packing: Packing, rng: np.random.Generator) -> Array:
    """Gray value of the owner at every voxel, with what is inside grains."""
    count = packing.count + 1
    phases = np.array(spec.phases, np.float32)
    phase = rng.choice(len(phases), count, p=_phase_shares(len(phases)))
    base = phases[phase] * (1 + spec.phase_jitter * rng.standard_normal(count)).astype(np.float32)
    contrast = base - RESIN
    scale = max(1.5, spec.particle_size_voxels / 8)
    other = np.where(
        rng.random(count) < spec.inclusions, rng.choice(phases, count) * rng.uniform(0.8, 1.3, count) - base, 0
    )
    crack = np.where(rng.random(count) < spec.cracks, rng.uniform(0.3, 0.9, count), 0)

    owner = packing.owner
    gray = base[owner]
    fine = smooth_noise(rng, spec.shape, scale / 2)
    gray += (spec.texture * contrast).astype(np.float32)[owner] * fine
    coarse = smooth_noise(rng, spec.shape, scale)
    gray += other.astype(np.float32)[owner] * np.clip((coarse - 1.1) * 3, 0, 1)
    if spec.cracks:
        sheets = smooth_noise(rng, spec.shape, 2 * scale)
        # Zero crossings of a smooth field are thin curved sheets, as fractures are.
        gray -= (crack * contrast).astype(np.float32)[owner] * np.exp(-((sheets * 2 * scale) ** 2))
    if spec.seam:
        rough = np.clip(0.7 + 0.5 * fine, 0, 1)
        # Across a contact the two levels part by two voxels a voxel.
        meet = np.exp(-np.square((packing.second - packing.level) / spec.seam_width_voxels))
        gray -= spec.seam * contrast.astype(np.float32)[owner] * rough * meet
    return gray


def _phase_shares(count: int) -> Array:
    """Make the first mineral the rock and later ones rarer."""
    shares = 0.45 ** np.arange(count)
    return np.asarray(shares / shares.sum())


def _add_bubbles(image: Array, spec: SampleSpec, rng: np.random.Generator) -> None:
    target = spec.bubbles * image.size
    while target > 0:
        radius = spec.particle_size_voxels * rng.uniform(0.1, 0.6)
        center = rng.uniform(0, image.shape)
        low = np.maximum(np.floor(center - radius - 1), 0).astype(int)
        high = np.minimum(np.ceil(center + radius + 2), image.shape).astype(int)
        z, y, x = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        distance = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
        part = image[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        part += np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32) * (AIR - part)
        target -= 4.19 * radius**3


def _wall_radius(spec: SampleSpec) -> float:
    return 0.46 * min(spec.shape[1:])


def _add_container(image: Array, spec: SampleSpec) -> None:
    """Lay a tube along z: wall of about 2 % of the diameter, between resin and the first phase, then air."""
    radius, _ = container_inside(spec)
    inner = _wall_radius(spec)
    outer = inner * 1.05 + 1
    wall_gray = 0.6 * RESIN + 0.4 * min(spec.phases[0], 1.6)
    in_wall = np.clip(radius - inner + 0.5, 0, 1)
    in_air = np.clip(radius - outer + 0.5, 0, 1)
    image += in_wall * (wall_gray - image)
    image += in_air * (AIR - image)
