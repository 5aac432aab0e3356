"""From measured line integrals to a volume: filtered back-projection, and what vendors do before and after it."""

from __future__ import annotations

import numpy as np
from scipy import fft

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_training.synth.physics.projector import back_project

FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")


def ramp_response(length: int, kind: str) -> Array:
    """Frequency response of a reconstruction filter for a detector of ``length`` bins, padded: ``rfft`` order.

    The ramp is the transform of its samples in space (Kak and Slaney 1988, eq. 61), which keeps the mean right.

    Raises:
        InputError: if there is no such filter.
    """
    if kind not in FILTERS:
        raise InputError(f"the filter is {kind}; choose one of {', '.join(FILTERS)}.")
    at = np.minimum(np.arange(length), length - np.arange(length))
    odd = at % 2 == 1
    kernel = np.where(odd, -1 / (np.pi * np.maximum(at, 1)) ** 2, 0)
    kernel[0] = 0.25
    frequency = fft.rfftfreq(length)
    windows = {
        "ramp": np.ones_like(frequency),
        "shepp-logan": np.sinc(frequency),
        "cosine": np.cos(np.pi * frequency),
        "hamming": 0.54 + 0.46 * np.cos(2 * np.pi * frequency),
        "hann": 0.5 + 0.5 * np.cos(2 * np.pi * frequency),
    }
    return np.asarray(fft.rfft(kernel).real * windows[kind], np.float32)


def filter_views(views: Array, kind: str, *, truncated: bool = False) -> Array:
    """Filter (views, bins, n) line integrals along the bins.

    Args:
        views: float32.
        kind: one of :data:`FILTERS`.
        truncated: the object reaches past the detector: go on with its last values, fading out, as vendors do.
    """
    bins = views.shape[1]
    length = int(fft.next_fast_len(2 * bins, real=True))
    padded = np.zeros((views.shape[0], length, views.shape[2]), np.float32)
    padded[:, :bins] = views
    if truncated:
        gap = length - bins
        fade = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, gap // 2 + 1) / (gap // 2 + 1))).astype(np.float32)
        padded[:, bins : bins + gap // 2] = views[:, -1:] * fade[:, None]
        padded[:, length - gap // 2 :] = views[:, :1] * fade[::-1, None]
    spectrum = fft.rfft(padded, axis=1)
    spectrum *= ramp_response(length, kind)[:, None]
    return np.ascontiguousarray(fft.irfft(spectrum, length, axis=1)[:, :bins])


def reconstruct(
    views: Array, angles: Array, side: int, *, kind: str = "ramp", axis_shift: float = 0.0, truncated: bool = False
) -> Array:
    """Reconstruct (side, side, n) from (views, bins, n) line integrals: values per pixel."""
    return back_project(filter_views(views, kind, truncated=truncated), angles, side, axis_shift=axis_shift)


def hardening_curve(weights: Array, attenuation: Array, longest_cm: float) -> Array:
    """Fit the polynomial without constant that makes line integrals of one material proportional to their length.

    Args:
        weights: (energies,) of the signal.
        attenuation: (energies,) of the material, 1/cm.
        longest_cm: up to this path.

    Returns:
        (3,) factors of the measured value, its square and its cube.
    """
    path = np.linspace(0, longest_cm, 200)[1:]
    measured = -np.log(np.exp(-path[:, None] * attenuation) @ weights)
    true = path * float(weights @ attenuation)
    powers = measured[:, None] ** np.arange(1, 4)
    # Relative errors: the thin end is where the scale comes from.
    found, *_ = np.linalg.lstsq(powers / true[:, None], np.ones_like(true), rcond=None)
    return np.asarray(found)
