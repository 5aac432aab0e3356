"""What the scanner adds: point spread, edges, noise, rings, cupping, streaks, and an export of so many bits."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.noise import effect_rng, smooth_noise, view_noise
from ps3d_training.synth.spec import SampleSpec

GRAY_OF_RESIN = 9000
GRAY_OF_AIR = 2500


def scan(ideal: Array, spec: SampleSpec, rng: np.random.Generator) -> Array:
    """Turn an ideal image (float32, air 0, resin 1) into a reconstructed uint16 volume."""
    contrast = spec.contrast
    image = ndimage.gaussian_filter(ideal, spec.blur_voxels, mode="nearest")
    _sharpen(image, spec)
    _add_beam_errors(image, spec, contrast, rng)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if spec.noise_correlation_voxels > 0.3:
        # Reconstruction filters correlate neighbours but leave some white noise of the detector.
        correlated = smooth_noise(rng, image.shape, spec.noise_correlation_voxels)
        noise = np.float32(0.5) * noise + np.float32(0.87) * correlated
    if spec.noise_gray and contrast:
        noise *= np.clip(1 + spec.noise_gray / contrast * (image - spec.matrix_gray), 0.2, 3).astype(np.float32)
    image += np.float32(spec.noise * abs(contrast)) * noise
    _add_textures(image, spec)
    counts = image * (GRAY_OF_RESIN - GRAY_OF_AIR) + GRAY_OF_AIR
    if spec.clipped or spec.bits < 16:
        _export(counts, spec)
    clipped: Array = np.clip(np.rint(counts), 0, 65535)
    return clipped.astype(np.uint16)


def _sharpen(image: Array, spec: SampleSpec) -> None:
    """Beam hardening and phase contrast both lift an edge's bright side and lower its dark one: wide, and narrow."""
    if spec.hardening:
        width = max(3, round(spec.particle_size_voxels / 3))
        # Two boxes make a tent as wide as two thirds of a particle, at a tenth of a Gaussian's time.
        around = ndimage.uniform_filter(ndimage.uniform_filter(image, width, mode="nearest"), width, mode="nearest")
        image += np.float32(2 * spec.hardening) * (image - around)
    if spec.fringe:
        image += np.float32(spec.fringe) * (image - ndimage.gaussian_filter(image, 1.2, mode="nearest", truncate=3))


def _add_textures(image: Array, spec: SampleSpec) -> None:
    if spec.mottle:
        blotches = smooth_noise(effect_rng(spec, "mottle"), image.shape, spec.mottle_voxels)
        image += np.float32(spec.mottle * spec.contrast) * blotches
    if spec.view_noise:
        image += np.float32(spec.view_noise * spec.contrast) * view_noise(effect_rng(spec, "view_noise"), image.shape)
    if spec.gradient:
        way = effect_rng(spec, "gradient").normal(size=3)
        z, y, x = np.ogrid[tuple(slice(-0.5, 0.5, n * 1j) for n in image.shape)]
        rise = way[0] * z + way[1] * y + way[2] * x
        image += (spec.gradient * spec.contrast / np.abs(way).sum() * rise).astype(np.float32)


def _export(counts: Array, spec: SampleSpec) -> None:
    """Cut the gray values off at the window and leave as many levels in it as the bits allow, in place."""
    # Quantiles of an eighth of the voxels serve; the ends themselves need all.
    thinned = counts[::2, ::2, ::2] if spec.clipped else counts
    low, high = (float(end) for end in np.quantile(thinned, [spec.clipped, 1 - spec.clipped]))
    np.clip(counts, low, high, out=counts)
    if spec.bits < 16:
        step = np.float32(max(float(high - low), 1.0) / (2**spec.bits - 1))
        counts[...] = np.rint((counts - np.float32(low)) / step) * step + np.float32(low)


def _add_beam_errors(image: Array, spec: SampleSpec, contrast: float, rng: np.random.Generator) -> None:
    depth, height, width = image.shape
    # The axis of rotation is rarely the middle of the crop.
    cy, cx = (n * rng.uniform(0.3, 0.7) for n in (height, width))
    y, x = np.ogrid[:height, :width]
    radius = np.hypot(y - cy, x - cx).astype(np.float32)
    if spec.cupping:
        image += (spec.cupping * contrast * (np.square(radius / radius.max()) - 0.5)).astype(np.float32)
    if spec.rings:
        bins = int(radius.max()) + 2
        profile = rng.standard_normal(bins) * (rng.random(bins) < 0.3)
        rings = np.interp(radius, np.arange(bins), profile)
        along_z = 1 + 0.3 * smooth_noise(rng, (depth, 1, 1), min(8.0, depth / 4))
        image += (spec.rings * contrast * rings[None] * along_z).astype(np.float32)
    if spec.streaks:
        for _ in range(max(1, depth // 6)):
            z = int(rng.integers(depth))
            bright = np.argmax(image[z] + rng.standard_normal((height, width)).astype(np.float32) * contrast)
            by, bx = divmod(int(bright), width)
            angle = rng.uniform(0, np.pi)
            across = np.abs((y - by) * np.cos(angle) - (x - bx) * np.sin(angle))
            streak = np.exp(-np.square(across / rng.uniform(1, 4))) * rng.choice([-1, 1])
            image[z : z + int(rng.integers(1, 5))] += (spec.streaks * contrast * streak).astype(np.float32)
