"""Random fields, and a generator for every effect of its own."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.spec import SampleSpec


def effect_rng(spec: SampleSpec, effect: str) -> np.random.Generator:
    """Give an effect its own generator: turning it on changes nothing that another effect draws."""
    return np.random.default_rng([spec.seed, *effect.encode()])


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


def view_noise(rng: np.random.Generator, shape: tuple[int, int, int], views: int = 24) -> Array:
    """Noise as few projections leave it: every slice the sum of ``views`` sets of straight lines; float32, std 1."""
    depth, height, width = shape
    y, x = np.ogrid[:height, :width]
    noise = np.zeros(shape, np.float32)
    for angle in (np.arange(views) + rng.random()) * (np.pi / views):
        at = np.rint(y * np.sin(angle) + x * np.cos(angle)).astype(np.int64)
        at -= at.min()
        profiles = rng.standard_normal((depth, int(at.max()) + 1), dtype=np.float32)
        # What a reconstruction filter does to the noise of a detector row: no slow part is left.
        profiles -= ndimage.uniform_filter1d(profiles, 7, axis=1, mode="wrap")
        for z in range(depth):
            noise[z] += profiles[z][at]
    noise /= noise.std()
    return noise
