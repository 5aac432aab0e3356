"""Put a sample of the source ``physics`` together: grains, minerals, scan, reconstruction, export."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_training.synth.physics.acquire import expose, transmission
from ps3d_training.synth.physics.attenuation import Channels, channels
from ps3d_training.synth.physics.compose import axis_distance, compose, materials_in
from ps3d_training.synth.physics.materials import attenuation_of
from ps3d_training.synth.physics.packing import Grains, pack
from ps3d_training.synth.physics.projector import project, view_angles
from ps3d_training.synth.physics.reconstruct import hardening_curve, reconstruct
from ps3d_training.synth.physics.spec import PhysicsSpec
from ps3d_training.synth.sample import SimulatedSample
from ps3d_training.synth.surfaces import surfaces_of
from ps3d_training.synth.truth import contrast_to_noise, facts_of

_SLAB = 32
"""Slices that are projected at once."""
_LEAST_LEVELS = 12
"""Gray levels of an 8-bit export between embedding and darkest mineral: vendors' windows are chosen to show it."""
_LEVELS_BELOW = 60
"""Gray levels of such an export below the embedding, at most."""


def make_physics_sample(spec: PhysicsSpec) -> SimulatedSample:
    """Make one labelled sample. Equal specs give equal bytes on one machine.

    Raises:
        InputError: if a material is not known.
    """
    place, fill, scan = np.random.default_rng([spec.seed, 16]).spawn(3)
    inside = _inside(spec)
    grains = pack(spec.grains, inside, place)
    image, phases = _scanned(spec, grains, inside, (place, fill, scan))
    voxels = int(inside.sum()) * spec.grains.shape[0]
    materials = materials_in(spec)
    facts = facts_of(grains.labels, inside_voxels=voxels, otherwise_voxels=spec.grains.particle_size_voxels)
    facts["contrast_to_noise"] = contrast_to_noise(image, grains.labels, phases == materials.index(spec.embedding))
    return SimulatedSample(image, grains.labels, spec, facts, phases=phases, materials=materials)


def physics_image_of(labels: Array, spec: PhysicsSpec) -> tuple[Array, Array]:
    """Simulate the scan of grains whatever made their ``labels``; without a container.

    Args:
        labels: (z, y, x) unsigned, 0 between the grains; left as they are.
        spec: its shape is that of ``labels``.

    Returns:
        image and phases, as in :class:`SimulatedSample`.

    Raises:
        InputError: if the shapes differ.
    """
    if labels.shape != spec.grains.shape:
        raise InputError(f"the labels are {labels.shape} voxels, the spec's shape is {spec.grains.shape}.")
    spec = replace(spec, grains=replace(spec.grains, container=False))
    found = surfaces_of(labels)
    grains = Grains(labels, found.owner, found.level, found.apart, found.count)
    generators = np.random.default_rng([spec.seed, 16]).spawn(3)
    return _scanned(spec, grains, _inside(spec), tuple(generators))


def _inside(spec: PhysicsSpec) -> Array:
    """Where in a slice grains may lie."""
    sample = spec.grains
    if not sample.container:
        return np.ones(sample.shape[1:], bool)
    return axis_distance(sample.shape) < sample.container_radius * sample.shape[1] - 1


def _scanned(
    spec: PhysicsSpec, grains: Grains, inside: Array, generators: tuple[np.random.Generator, ...]
) -> tuple[Array, Array]:
    place, fill, scan = generators
    spacers = None
    if spec.grains.spacers:
        compact = replace(spec.grains, roundness=0.5, elongation=0.2, flakes=0.0, needles=0.0)
        sugar = replace(compact, fill=spec.grains.spacers, touching=0.9, size_spread=0.3, coarse=0.0)
        spacers = pack(sugar, inside, place)
    attenuation = np.stack([attenuation_of(name) for name in materials_in(spec)])
    found = channels(spec.scan.beam, attenuation)
    basis, phases = compose(spec, grains, spacers, found.coefficients, fill)
    volume = _reconstructed(spec, basis, found, phases, scan)
    return _export(volume, spec, found), phases


def contrasts(spec: PhysicsSpec, found: Channels) -> Array:
    """Attenuation of every mineral above the embedding, thin and unhardened, 1/cm."""
    names = materials_in(spec)
    mean = found.attenuation @ found.weights
    return np.array([mean[names.index(name)] - mean[names.index(spec.embedding)] for name, _ in spec.minerals])


def _reconstructed(spec: PhysicsSpec, basis: Array, found: Channels, phases: Array, rng: np.random.Generator) -> Array:
    """Scan and reconstruct: (z, y, x) float32, 1/cm."""
    scan, side, pixel_cm = spec.scan, spec.grains.shape[1], spec.spacing_mm / 10
    angles = view_angles(scan.views)
    radius = scan.surround * side / 2 or None
    bins = side + 3 if spec.grains.container else int(np.ceil(side * np.sqrt(2))) + 3
    rank, depth = found.basis.shape[0], spec.grains.shape[0]
    slices = basis.reshape(side, side, rank, depth)
    through = np.concatenate(
        [
            _through(slices[..., first : first + _SLAB], angles, bins, radius, found, pixel_cm)
            for first in range(0, depth, _SLAB)
        ],
        axis=2,
    )
    sigma = scan.noise * float(np.abs(contrasts(spec, found)).min())
    integrals = expose(through, scan, sigma, pixel_cm, rng)
    if scan.hardening_correction:
        _correct(integrals, found, phases, scan.hardening_correction, side * pixel_cm * max(1.0, scan.surround))
    truncated = bool(radius and radius > bins / 2)
    image = reconstruct(integrals, angles, side, kind=scan.filter, axis_shift=scan.axis_error, truncated=truncated)
    image /= np.float32(pixel_cm)
    volume = np.ascontiguousarray(image.transpose(2, 0, 1))
    return ndimage.gaussian_filter(volume, scan.smooth_voxels) if scan.smooth_voxels > 0.15 else volume


def _through(slab: Array, angles: Array, bins: int, radius: float | None, found: Channels, pixel_cm: float) -> Array:
    pixels = np.ascontiguousarray(slab).reshape(*slab.shape[:2], -1)
    return transmission(project(pixels, angles, bins, object_radius=radius), found, pixel_cm)


def _correct(integrals: Array, found: Channels, phases: Array, strength: float, longest_cm: float) -> None:
    """Linearize for the sample's mean material, in place."""
    shares = np.bincount(phases.ravel(), minlength=len(found.coefficients))[: len(found.coefficients)]
    mean = shares @ found.attenuation / shares.sum()
    first, second, third = hardening_curve(found.weights, mean, longest_cm).astype(np.float32)
    corrected = integrals * (first + integrals * (second + integrals * third))
    integrals += np.float32(strength) * (corrected - integrals)


def _export(volume: Array, spec: PhysicsSpec, found: Channels) -> Array:
    """Window the reconstruction to the gray values of a file, as vendors' software does: uint16."""
    scan = spec.scan
    low, high = (float(end) for end in np.quantile(volume[::2, ::2, ::2], [0.0005, 1 - scan.clipped]))
    low -= 0.05 * (high - low)
    levels = 2**scan.bits - 1
    if scan.bits == 8:
        darkest = float(np.abs(contrasts(spec, found)).min())
        embedding = float(found.attenuation[materials_in(spec).index(spec.embedding)] @ found.weights)
        # Streaks reach far below the embedding; a window that begins there would not show the darkest mineral.
        low = max(low, embedding - _LEVELS_BELOW / _LEAST_LEVELS * darkest)
        high = min(high, low + darkest * levels / _LEAST_LEVELS)
    gray = np.clip((volume - low) * (levels / max(high - low, 1e-6)), 0, levels)
    if scan.masked:
        gray[:, axis_distance(spec.grains.shape) > spec.grains.shape[1] / 2] = 0
    rounded: Array = np.rint(gray)
    return rounded.astype(np.uint16)
