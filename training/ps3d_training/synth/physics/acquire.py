"""From path lengths to what a detector reads, as line integrals again: spectrum, scatter, blur, noise, gain errors."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.physics.attenuation import Channels
from ps3d_training.synth.physics.spec import ScanSettings

_LEAST_PHOTONS = 0.5
"""A reading below this is taken for this much: behind gold nothing arrives."""
_EXPOSURES = (100.0, 1e7)
"""Photons a detector pixel without a sample: no exposure is shorter or longer."""


def transmission(paths: Array, channels: Channels, pixel_cm: float) -> Array:
    """Let the spectrum through.

    Args:
        paths: (views, bins, rank · n) integrals of the basis materials along rays, pixels.
        channels: spectrum and basis.
        pixel_cm: side of a pixel.

    Returns:
        (views, bins, n) float32, the signal over the one without a sample.
    """
    rank = channels.basis.shape[0]
    views, bins, _ = paths.shape
    lengths = paths.reshape(views, bins, rank, -1)
    exponents = (-pixel_cm * channels.basis.T).astype(np.float32)
    weights = channels.weights.astype(np.float32)[None]
    through = np.empty((views, bins, lengths.shape[3]), np.float32)
    for view in range(views):
        spectrum = exponents @ lengths[view]
        through[view] = (weights @ np.exp(spectrum, out=spectrum))[:, 0]
    return through


def expose(through: Array, scan: ScanSettings, sigma_per_cm: float, pixel_cm: float, rng: np.random.Generator) -> Array:
    """Add what the scanner adds, and take the logarithm.

    Args:
        through: (views, bins, n) transmission; overwritten.
        scan: what to add, and how much.
        sigma_per_cm: standard deviation of the noise that a plain ramp would make of it, in the middle.
        pixel_cm: side of a pixel.
        rng: draws noise and gains.

    Returns:
        (views, bins, n) float32 line integrals.
    """
    _smooth(through, scan.source_blur)
    if scan.fringe:
        through *= np.exp(np.float32(scan.fringe) * _curvature(-np.log(np.maximum(through, 1e-6))))
    if scan.scatter:
        through += _scattered(through, scan.scatter)
    photons = _exposure(through, sigma_per_cm, pixel_cm)
    counts = through
    counts *= np.float32(photons)
    shape: tuple[int, ...] = counts.shape
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= np.sqrt(np.maximum(counts, np.float32(1)))
    counts += noise
    _smooth(counts, scan.detector_blur)
    if scan.gain_error:
        counts *= _gains(counts.shape[1:], scan.gain_error, rng)
    counts /= np.float32(photons)
    np.maximum(counts, np.float32(_LEAST_PHOTONS / photons), out=counts)
    np.log(counts, out=counts)
    return np.negative(counts, out=counts)


def _exposure(through: Array, sigma_per_cm: float, pixel_cm: float) -> float:
    """Photons a pixel that leave ``sigma_per_cm`` in the middle of the image.

    With the ramp, a voxel's variance is π² / (12 · views · pixel²) times that of a ray through it. Linear interpolation
    leaves 2/3 + ρ/3 of it on average; neighbours' correlation after the ramp is ρ = -6/π².
    """
    views, bins, _ = through.shape
    middle = through[:, bins // 2 - 1 : bins // 2 + 2]
    per_photon = float((1 / np.maximum(middle, 1e-5)).mean())
    variance = np.pi**2 / (12 * views * pixel_cm**2) * (2 / 3 - 2 / np.pi**2) * per_photon
    return float(np.clip(variance / max(sigma_per_cm, 1e-9) ** 2, *_EXPOSURES))


def _smooth(readings: Array, sigma: float) -> None:
    """Blur along bins and slices, in place."""
    if sigma > 0.15:
        for axis in (1, 2):
            ndimage.gaussian_filter1d(readings, sigma, axis=axis, mode="nearest", truncate=3, output=readings)


def _curvature(integrals: Array) -> Array:
    """Minus the second differences along bins and slices."""
    padded = np.pad(integrals, ((0, 0), (1, 1), (1, 1)), mode="edge")
    middle = padded[:, 1:-1, 1:-1]
    beside = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return np.asarray(beside - 4 * middle, np.float32)


def _scattered(through: Array, ratio: float) -> Array:
    """Single scatter: made along the way in proportion to the thickness, attenuated as the rest, spread widely."""
    made = through * -np.log(np.maximum(through, 1e-6))
    width = max(3, through.shape[1] // 3)
    for axis in (1, 2):
        made = ndimage.uniform_filter1d(made, min(width, made.shape[axis]), axis=axis, mode="nearest")
    return np.asarray(np.float32(ratio) * made)


def _gains(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Array:
    """Gain of every detector pixel: small errors everywhere, larger ones in some columns of pixels."""
    gains = 1 + sigma * rng.standard_normal(shape)
    bad = rng.random(shape[0]) < 0.03
    gains += 3 * sigma * (bad * rng.standard_normal(shape[0]))[:, None]
    return np.asarray(np.maximum(gains, 0.2), np.float32)
