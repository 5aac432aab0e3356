"""Fill grains with minerals: one or several grown together, rims, veins, inclusions, pores, cracks; and the rest.

Every voxel becomes a mixture. Its attenuation is linear in the shares, so a few numbers a voxel (one for each basis
material of :class:`~ps3d_training.synth.physics.attenuation.Channels`) say all that a beam of any energy sees of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.noise import smooth_noise
from ps3d_training.synth.physics.packing import Grains
from ps3d_training.synth.physics.spec import PhysicsSpec

_PURE, _GROWN, _SPECKLED, _VEINED, _RIMMED = range(5)


class _Textures(NamedTuple):
    """Fields of the sample's shape: float32, mean 0, standard deviation 1. Tuples, for compiled code takes them."""

    coarse: Array
    fine: Array
    sheets: Array
    """Its zero crossings are cracks and veins."""
    pores: Array


class _Particles(NamedTuple):
    """See :class:`~ps3d_training.synth.physics.packing.Grains`."""

    owner: Array
    labels: Array
    level: Array
    film: Array
    """float32: share of what lies between, on a contact's face."""


class _Filling(NamedTuple):
    """What each grain is made of, by owner; entry 0 is unused."""

    first: Array
    second: Array
    """uint8: materials."""
    style: Array
    """uint8: how the second lies in the first."""
    level: Array
    """float32: of the style's field; decides how much of the second there is."""
    density: Array
    """float32: over the materials' own."""
    crack: Array
    """float32: half the width of a crack, 0 without."""
    pores: Array
    """float32: level of the pores' field, large without."""


def materials_in(spec: PhysicsSpec) -> tuple[str, ...]:
    """Everything that can lie in a voxel, in the order of its number in the phases: air first, the minerals last."""
    names = ("air", spec.embedding, "sugar", spec.wall, *(name for name, _ in spec.minerals))
    return tuple(dict.fromkeys(names))


def compose(
    spec: PhysicsSpec, grains: Grains, spacers: Grains | None, coefficients: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Mix the materials of every voxel.

    Args:
        spec: shape (z, y, x), minerals, textures, embedding.
        grains: the particles.
        spacers: grains of sugar, where particles are not; or none.
        coefficients: (materials, rank) of :func:`materials_in`.
        rng: draws everything.

    Returns:
        (y, x, rank · z) float32 basis materials, all slices of the first, then of the next; and (z, y, x) uint8, the
        material that takes most of a voxel.
    """
    sample, names = spec.grains, materials_in(spec)
    filling = _fill(spec, grains.count, [names.index(name) for name, _ in spec.minerals], rng)
    textures = _textures(spec, rng)
    film = np.float32(sample.seam) * np.exp(-np.square(grains.apart / np.float32(sample.seam_width_voxels)))
    # Crushed grains rest on each other's roughness: a contact is no even film.
    film *= np.clip(0.8 + 0.4 * textures.fine, 0, 1)
    particles = _Particles(grains.owner, grains.labels, grains.level, film)
    shares, phases = _between(spec, spacers, names, rng)
    between = coefficients[[names.index(name) for name in ("air", spec.embedding, "sugar", spec.wall)]]
    depth, height, width = sample.shape
    basis = np.empty((height, width, coefficients.shape[1], depth), np.float32)
    _mix(basis, phases, shares, between.astype(np.float32), particles, textures, filling, coefficients)
    return basis.reshape(height, width, -1), phases


def _textures(spec: PhysicsSpec, rng: np.random.Generator) -> _Textures:
    shape, scale = spec.grains.shape, max(2.0, spec.grains.particle_size_voxels / 5)
    sigmas = (scale, max(1.0, scale / 4), 1.5 * scale, spec.grains.pore_voxels)
    return _Textures(*(smooth_noise(rng, shape, sigma) for sigma in sigmas))


def _fill(spec: PhysicsSpec, count: int, numbers: list[int], rng: np.random.Generator) -> _Filling:
    shares = np.array([share for _, share in spec.minerals])
    shares = shares / shares.sum()
    first = rng.choice(len(numbers), count + 1, p=shares)
    second = rng.choice(len(numbers), count + 1, p=shares)
    style = rng.choice([_GROWN, _SPECKLED, _VEINED, _RIMMED], count + 1, p=[0.45, 0.3, 0.15, 0.1])
    style = np.where((rng.random(count + 1) < spec.liberated) | (first == second), _PURE, style)
    amounts = {
        _PURE: np.zeros(count + 1),
        _GROWN: rng.normal(0.3, 0.7, count + 1),
        _SPECKLED: rng.uniform(0.8, 2.0, count + 1),
        _VEINED: rng.uniform(0.05, 0.4, count + 1),
        _RIMMED: rng.uniform(1.0, max(2.0, spec.grains.particle_size_voxels / 8), count + 1),
    }
    numbered = np.array(numbers, np.uint8)
    cracked, porous = (rng.random(count + 1) < share for share in (spec.grains.cracks, spec.grains.porous))
    return _Filling(
        first=numbered[first],
        second=numbered[second],
        style=style.astype(np.uint8),
        level=np.choose(style, list(amounts.values())).astype(np.float32),
        density=np.clip(rng.normal(0.99, 0.02, count + 1), 0.9, 1.03).astype(np.float32),
        crack=np.where(cracked, rng.uniform(0.3, 0.8, count + 1), 0).astype(np.float32),
        pores=np.where(porous, rng.uniform(0.6, 1.8, count + 1), 9).astype(np.float32),
    )


def _between(
    spec: PhysicsSpec, spacers: Grains | None, names: tuple[str, ...], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Share of air, sugar and wall in what lies between the particles, (3, z, y, x), and the phases of that."""
    sample = spec.grains
    shares = np.zeros((3, *sample.shape), np.float32)
    if spacers is not None:
        shares[1] = np.clip(0.5 - spacers.level, 0, 1)
    _add_bubbles(shares[0], spec, rng)
    if sample.container:
        radius = axis_distance(sample.shape)
        inner = sample.container_radius * sample.shape[1]
        wall = inner * float(rng.uniform(0.03, 0.08)) + 1
        shares[2] = np.clip(radius - inner + 0.5, 0, 1)
        shares[0] = np.maximum(shares[0], np.clip(radius - inner - wall + 0.5, 0, 1))
    phases = np.full(sample.shape, names.index(spec.embedding), np.uint8)
    for share, name in ((shares[1], "sugar"), (shares[2], spec.wall), (shares[0], "air")):
        phases[share > 0.5] = names.index(name)
    return shares, phases


def axis_distance(shape: tuple[int, int, int]) -> Array:
    """Distance of every voxel of a slice from the axis of rotation: (y, x) float32."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    return np.hypot(y - (shape[1] - 1) / 2, x - (shape[2] - 1) / 2).astype(np.float32)


def _add_bubbles(air: Array, spec: PhysicsSpec, rng: np.random.Generator) -> None:
    target = spec.grains.bubbles * air.size
    while target > 0:
        radius = spec.grains.particle_size_voxels * rng.uniform(0.08, 0.6)
        center = rng.uniform(0, air.shape, 3)
        low = np.maximum(np.floor(center - radius - 1), 0).astype(int)
        high = np.minimum(np.ceil(center + radius + 2), air.shape).astype(int)
        z, y, x = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        distance = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
        part = air[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        np.maximum(part, np.clip(radius + 0.5 - distance, 0, 1), out=part)
        target -= 4.19 * radius**3


@numba.njit(cache=True, fastmath=True)
def _share(value: np.float32) -> np.float32:
    return min(max(value + np.float32(0.5), np.float32(0)), np.float32(1))


@numba.njit(cache=True, fastmath=True)
def _mix(
    basis: Array,
    phases: Array,
    shares: Array,
    between: Array,
    particles: _Particles,
    textures: _Textures,
    filling: _Filling,
    coefficients: Array,
) -> None:
    """Write ``basis``, and into ``phases`` the minerals."""
    gas, resin, spacer, tube = between[0], between[1], between[2], between[3]
    depth, height, width = phases.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                air, sugar, wall = shares[0, z, y, x], shares[1, z, y, x], shares[2, z, y, x]
                here = basis[y, x, :, z]
                for k in range(len(here)):
                    matrix = resin[k] + sugar * (spacer[k] - resin[k])
                    matrix += wall * (tube[k] - matrix)
                    here[k] = matrix + air * (gas[k] - matrix)
                grain, level = particles.owner[z, y, x], particles.level[z, y, x]
                solid = _share(-level)
                if grain == 0 or solid == 0:
                    continue
                hole = _share((textures.pores[z, y, x] - filling.pores[grain]) * 2)
                if filling.crack[grain] > 0:
                    hole = max(hole, _share(filling.crack[grain] - abs(textures.sheets[z, y, x]) * 12))
                solid *= (1 - hole) * (1 - particles.film[z, y, x])
                other = _share_of_second(textures, filling, grain, (z, y, x), level)
                one, two = filling.first[grain], filling.second[grain]
                for k in range(len(here)):
                    pure = coefficients[one, k] + other * (coefficients[two, k] - coefficients[one, k])
                    here[k] += solid * (filling.density[grain] * pure - here[k])
                if particles.labels[z, y, x] > 0 and hole < 0.5:
                    phases[z, y, x] = two if other > 0.5 else one


@numba.njit(cache=True, fastmath=True)
def _share_of_second(
    textures: _Textures, filling: _Filling, grain: int, at: tuple[int, int, int], level: np.float32
) -> np.float32:
    style, amount = filling.style[grain], filling.level[grain]
    if style == _GROWN:
        return _share((textures.coarse[at] - amount) * 2)
    if style == _SPECKLED:
        return _share((textures.fine[at] - amount) * np.float32(1.5))
    if style == _VEINED:
        return _share((amount - abs(textures.sheets[at])) * 6)
    if style == _RIMMED:
        return _share(level + amount)
    return np.float32(0)
