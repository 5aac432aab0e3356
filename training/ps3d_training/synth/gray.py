"""Gray values of grains: minerals, inclusions, cracks, pores, contacts, and what lies between them.

Knows surfaces only: whether they come from a packing or from a segmentation of a real scan makes no difference.
"""

from __future__ import annotations

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.container import add_container
from ps3d_training.synth.noise import effect_rng, smooth_noise
from ps3d_training.synth.spec import AIR, SampleSpec
from ps3d_training.synth.surfaces import Surfaces

_PORE_LEVEL = 0.84
"""A fifth of a normal variable lies above it."""


def render(spec: SampleSpec, grains: Surfaces, spacers: Surfaces, rng: np.random.Generator) -> Array:
    """Draw the sample as an ideal scanner would see it: float32, air 0 and resin 1, before blur and noise."""
    unevenness = smooth_noise(rng, spec.shape, spec.particle_size_voxels / 3)
    image = spec.matrix_gray * (1 + spec.matrix_texture * unevenness)
    _add_bubbles(image, spec, rng)
    spacer_gray = np.full(spacers.count + 1, spec.spacer_gray, np.float32)
    _mix(image, spacers, spacer_gray[spacers.owner])
    if spec.dust:
        _add_dust(image, spec)
    if spec.debonding:
        _add_debonding(image, spec, grains)
    _mix(image, grains, _grain_gray(spec, grains, rng))
    if spec.container:
        add_container(image, spec)
    return image


def _mix(image: Array, surfaces: Surfaces, gray: Array) -> None:
    """Lay grains over what is there; a voxel on a surface takes its share of both (partial volume)."""
    coverage = np.clip(0.5 - surfaces.level, 0, 1)
    image += coverage * (gray - image)


def _grain_gray(spec: SampleSpec, grains: Surfaces, rng: np.random.Generator) -> Array:
    """Gray value of the owner at every voxel, with what is inside grains."""
    count = grains.count + 1
    phases = np.array(spec.phases, np.float32)
    phase = rng.choice(len(phases), count, p=_phase_shares(len(phases)))
    base = phases[phase] * (1 + spec.phase_jitter * rng.standard_normal(count)).astype(np.float32)
    contrast = base - spec.matrix_gray
    scale = max(1.5, spec.particle_size_voxels / 8)
    other = np.where(
        rng.random(count) < spec.inclusions, rng.choice(phases, count) * rng.uniform(0.8, 1.3, count) - base, 0
    )
    crack = np.where(rng.random(count) < spec.cracks, rng.uniform(0.3, 0.9, count), 0)

    owner = grains.owner
    gray = base[owner]
    fine = smooth_noise(rng, spec.shape, scale / 2)
    gray += (spec.texture * contrast).astype(np.float32)[owner] * fine
    coarse = smooth_noise(rng, spec.shape, scale)
    gray += other.astype(np.float32)[owner] * np.clip((coarse - 1.1) * 3, 0, 1)
    if spec.cracks:
        sheets = smooth_noise(rng, spec.shape, 2 * scale)
        # Zero crossings of a smooth field are thin curved sheets, as fractures are.
        gray -= (crack * contrast).astype(np.float32)[owner] * np.exp(-((sheets * 2 * scale) ** 2))
    if spec.porous:
        _add_pores(gray, spec, base, owner)
    if spec.seam:
        rough = np.clip(0.7 + 0.5 * fine, 0, 1)
        # Across a contact the two levels part by two voxels a voxel.
        meet = np.exp(-np.square(grains.apart / spec.seam_width_voxels))
        gray -= spec.seam * contrast.astype(np.float32)[owner] * rough * meet
    return gray


def _phase_shares(count: int) -> Array:
    """Make the first mineral the rock and later ones rarer."""
    shares = 0.45 ** np.arange(count)
    return np.asarray(shares / shares.sum())


def _add_pores(gray: Array, spec: SampleSpec, base: Array, owner: Array) -> None:
    """Fill blobs inside of porous grains with air, or with what lies between the grains, or something of both."""
    rng = effect_rng(spec, "porous")
    is_porous = rng.random(len(base)) < spec.porous
    filling = rng.uniform(min(AIR, spec.matrix_gray), spec.matrix_gray, len(base))
    depth = np.where(is_porous, base - filling, 0).astype(np.float32)
    field = smooth_noise(rng, spec.shape, spec.pore_voxels)
    # The field rises by about one standard deviation a correlation length: a pore's wall is then a voxel wide.
    gray -= depth[owner] * np.clip((field - _PORE_LEVEL) * spec.pore_voxels + 0.5, 0, 1)


def _add_dust(image: Array, spec: SampleSpec) -> None:
    """Strew clumps of one to eight voxels, in a cube of two, over the matrix; grains are laid over them."""
    rng = effect_rng(spec, "dust")
    mean_voxels = 1 + 7 * 0.3
    count = int(spec.dust * image.size / mean_voxels)
    corner = rng.integers(0, np.array(spec.shape) - 1, (count, 3))
    gray = rng.choice(np.array(spec.phases, np.float32), count)
    for offset in np.ndindex(2, 2, 2):
        there = rng.random(count) < (0.3 if any(offset) else 1.0)
        z, y, x = (corner[there] + offset).T
        image[z, y, x] = gray[there]


def _add_debonding(image: Array, spec: SampleSpec, grains: Surfaces) -> None:
    """Lay a film of air, about a voxel thick, along a half of the surface of some grains; the grains come over it."""
    rng = effect_rng(spec, "debonding")
    loose = rng.random(grains.count + 1) < spec.debonding
    loose[0] = False
    where = np.clip(smooth_noise(rng, spec.shape, spec.particle_size_voxels / 3) * 3, 0, 1)
    film = np.exp(-np.square((grains.level - 0.8) / 0.7)) * where * loose[grains.owner]
    image += film.astype(np.float32) * (AIR - image)


def _add_bubbles(image: Array, spec: SampleSpec, rng: np.random.Generator) -> None:
    target = spec.bubbles * image.size
    while target > 0:
        radius = spec.particle_size_voxels * rng.uniform(0.1, 0.6)
        center = rng.uniform(0, image.shape, 3)
        low = np.maximum(np.floor(center - radius - 1), 0).astype(int)
        high = np.minimum(np.ceil(center + radius + 2), image.shape).astype(int)
        z, y, x = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        distance = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
        part = image[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        part += np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32) * (AIR - part)
        target -= 4.19 * radius**3
