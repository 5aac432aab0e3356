"""Patches that show a network everything it will meet: what 8 bits can tell apart is measured on them.

1. Samples are brought to the model's gray scale and particle size, as ``predict`` does;
2. places are drawn with a fixed seed, and each is measured for four things:
       contact      voxels where two particles touch: the thin borders that decide whether they are separated
       interior     voxels inside particles
       background   voxels outside
       noise        how much neighbouring voxels differ
3. in turns, each of the four takes its best place that is not taken yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps3d_export.samples import CalibrationScan
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.normalize import network_input, normalized_shape, size_zoom
from ps3d_rt.core.resample import resample, resample_labels
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import CLASS_NAMES, ModelBundle
from ps3d_rt.stages.gray_scale import scale_and_bins

CORE = CLASS_NAMES.index("core")

STRATA = ("contact", "interior", "background", "noise")
PATCHES = 32
"""Patches to calibrate with, unless told otherwise."""
PLACES_PER_SAMPLE = 24
SEED = 310


class Place(NamedTuple):
    """A patch and how much of each stratum is in it."""

    patch: Array
    """(1, 1, *patch) float32, normalized gray values."""
    measures: tuple[float, ...]
    """One number a stratum, in the order of :data:`STRATA`; higher is more of it."""


def calibration_patches(samples: Iterable[CalibrationScan], bundle: ModelBundle, count: int = PATCHES) -> list[Array]:
    """Choose ``count`` patches, as many of each stratum; equal arguments give equal patches.

    Returns:
        Arrays (1, 1, *patch) float32.

    Raises:
        InputError: if the samples have too few places.
    """
    rng = np.random.default_rng(SEED)
    places = [place for sample in samples for place in _places(sample, bundle, rng)]
    if len(places) < count:
        raise InputError(f"the samples have {len(places)} places for patches, {count} are needed; give more samples.")
    return [place.patch for place in choose(places, count)]


def choose(places: list[Place], count: int) -> list[Place]:
    """Let the strata take their best places in turns.

    >>> at = [Place(np.zeros(0), measures) for measures in ((9, 0, 0, 0), (8, 5, 0, 0), (0, 1, 1, 1), (0, 0, 0, 9))]
    >>> [place.measures for place in choose(at, 3)]
    [(9, 0, 0, 0), (8, 5, 0, 0), (0, 1, 1, 1)]
    """
    left = list(range(len(places)))
    chosen = []
    for turn in range(count):
        best = max(left, key=lambda at: places[at].measures[turn % len(STRATA)])
        left.remove(best)
        chosen.append(places[best])
    return chosen


def _places(sample: CalibrationScan, bundle: ModelBundle, rng: np.random.Generator) -> Iterable[Place]:
    image, labels = normalized(sample, bundle)
    border_core = to_border_core(labels, bundle.border_thickness_voxels)
    touching = _contacts(labels)
    for _ in range(PLACES_PER_SAMPLE):
        start = [rng.integers(0, side - patch + 1) for side, patch in zip(image.shape, bundle.patch, strict=True)]
        at = tuple(slice(s, s + patch) for s, patch in zip(start, bundle.patch, strict=True))
        patch = np.ascontiguousarray(image[at])
        noise = float(np.median(np.abs(np.diff(patch, axis=2))))
        measures = (
            float(touching[at].mean()),
            float((border_core[at] == CORE).mean()),
            float((border_core[at] == 0).mean()),
            noise,
        )
        yield Place(patch[None, None], measures)


def normalized(sample: CalibrationScan, bundle: ModelBundle) -> tuple[Array, Array]:
    """Bring image and labels to the grid and gray scale of the model, filled up to one patch at least."""
    zoom = size_zoom(sample.spacing_mm, sample.particle_size_mm, bundle.target_size_voxels)
    shape = normalized_shape(sample.image.shape, zoom)
    scale, _ = scale_and_bins(ArrayVolume(sample.image, sample.spacing_mm), bundle)
    image = network_input(resample(sample.image, shape, zoom=zoom, lowpass=bundle.lowpass), scale)
    z, y, x = (1 / factor for factor in zoom)
    labels = resample_labels(sample.instances, shape, zoom=(z, y, x))
    missing = [(0, max(0, patch - side)) for patch, side in zip(bundle.patch, shape, strict=True)]
    return np.pad(image, missing, mode="edge"), np.pad(labels, missing, mode="edge")


def _contacts(labels: Array) -> NDArray[np.bool_]:
    """Mark voxels that lie beside another particle along an axis."""
    touching = np.zeros(labels.shape, bool)
    for axis in range(3):
        low, high = (np.moveaxis(labels, axis, 0)[cut] for cut in (slice(None, -1), slice(1, None)))
        beside = (low != high) & (low > 0) & (high > 0)
        marked = np.moveaxis(touching, axis, 0)
        marked[:-1] |= beside
        marked[1:] |= beside
    return touching
