"""What the scanner adds: point spread, noise, rings, cupping, streaks, and 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from ps3d_training.synth.gray import RESIN, smooth_noise
from ps3d_training.synth.spec import SampleSpec

Array = np.ndarray[Any, Any]

_RESIN_COUNTS = 9000
_AIR_COUNTS = 2500


def scan(ideal: Array, spec: SampleSpec, rng: np.random.Generator) -> Array:
    """Turn an ideal image (float32, air 0, resin 1) into a reconstructed uint16 volume."""
    contrast = spec.phases[0] - RESIN
    image = ndimage.gaussian_filter(ideal, spec.blur_voxels, mode="nearest")
    _add_beam_errors(image, spec, contrast, rng)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if spec.noise_correlation_voxels > 0.3:
        # Reconstruction filters correlate neighbours but leave some white noise of the detector.
        correlated = smooth_noise(rng, image.shape, spec.noise_correlation_voxels)
        noise = np.float32(0.5) * noise + np.float32(0.87) * correlated
    image += np.float32(spec.noise * abs(contrast)) * noise
    counts = image * (_RESIN_COUNTS - _AIR_COUNTS) + _AIR_COUNTS
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


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
