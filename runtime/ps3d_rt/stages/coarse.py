"""A coarse pass over a scan: how large its particles are, from a few parts of it at a few assumed sizes.

What it costs is bounded by patches, not by the scan, but for reading: the search begins with the whole scan shrunk to
one part, which reads it once; every further size reads an eighth of that or less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import gcd, isnan, nan, prod

import numpy as np

from ps3d_rt.core.grid import Box, PatchLattice, Sweep, Zyx
from ps3d_rt.core.measure import ParticleTable, measure
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, normalized_shape, size_zoom
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.core.particle_size import (
    ENOUGH_TO_REFINE,
    ENOUGH_TO_SEARCH,
    Look,
    SizeEstimate,
    estimate_size,
    mean_diameter_mm,
    sizes_to_try,
)
from ps3d_rt.engines.base import Engine
from ps3d_rt.io.base import SpacingMm, Volume
from ps3d_rt.io.crop import Crop
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.segment import NETWORK_ARRAYS, Segmentation, segment
from ps3d_rt.stages.storage import MemoryStore, read_ids
from ps3d_rt.workers import report_progress

_MOST_PARTS = 8
_LEAST_CONFIDENCE = 0.8
"""At sizes far off, the network is unsure of what it finds, whatever a model allows in a run."""


@dataclass(frozen=True, slots=True)
class _Effort:
    """How much of the scan a look takes in."""

    patches_a_side: int
    """Of a part."""
    whole: int
    """Particles after which no other part is looked at."""
    patches: int
    """Computed, after which no other part is looked at."""


_SEARCH = _Effort(2, ENOUGH_TO_SEARCH, 24)
_REFINE = _Effort(3, ENOUGH_TO_REFINE, 128)


@dataclass(frozen=True, kw_only=True)
class CoarsePass:
    """What every look shares."""

    volume: Volume
    engine: Engine
    scale: GrayScale | EmbeddingScale
    spacing_mm: SpacingMm
    patch: Zyx
    overlap: float
    target_size_voxels: float
    lowpass: bool
    skip_empty: bool
    core_bias: float
    rules: ParticleFilter
    """In voxels of the scan."""


def estimate_particle_size(coarse: CoarsePass) -> SizeEstimate:
    """Estimate the mean particle diameter of a scan; every look is reported as progress.

    Raises:
        InputError: if no particles are found, or the scan cannot be read.
    """

    def taken(effort: _Effort, size_mm: float) -> Look:
        found = look(coarse, size_mm, effort)
        report_progress(found)
        return found

    sides = part_sides(coarse, _SEARCH)
    largest_mm = max(
        n * spacing * coarse.target_size_voxels / side
        for n, spacing, side in zip(coarse.volume.shape, coarse.spacing_mm, sides, strict=True)
    )
    sizes = sizes_to_try(largest_mm, min(coarse.spacing_mm))
    return estimate_size(partial(taken, _SEARCH), partial(taken, _REFINE), sizes)


def part_sides(coarse: CoarsePass, effort: _Effort) -> Zyx:
    """Sides of a part, voxels of the normalized grid: as many patches as the effort says, with the model's overlap."""
    z, y, x = (p + (effort.patches_a_side - 1) * max(1, int(p * (1 - coarse.overlap))) for p in coarse.patch)
    return z, y, x


def look(coarse: CoarsePass, size_mm: float, effort: _Effort) -> Look:
    """Find particles in parts of the scan, spread over it from the middle on, as if they were ``size_mm`` wide."""
    zoom = size_zoom(coarse.spacing_mm, size_mm, coarse.target_size_voxels)
    lengths = tuple(side / f for side, f in zip(part_sides(coarse, effort), zoom, strict=True))
    found: list[tuple[ParticleTable, Zyx]] = []
    mean_mm, whole, patches = nan, 0, 0
    for part in islice(parts(coarse.volume.shape, lengths), _MOST_PARTS):
        table, shape, computed = _particles(coarse, part, zoom)
        found.append((table, shape))
        patches += computed
        mean_mm, whole = mean_diameter_mm(found, normalized_shape(coarse.volume.shape, zoom))
        if whole >= effort.whole or patches >= effort.patches:
            break
    return Look(assumed_mm=size_mm, found_mm=None if isnan(mean_mm) else mean_mm, particles=whole, patches=patches)


def parts(shape: Zyx, lengths: tuple[float, ...]) -> Iterator[Box]:
    """Tile a volume with parts of about these side lengths; the middle one first, neighbours far apart.

    >>> [part.start[2] for part in parts((1, 1, 50), (1, 1, 10))]
    [20, 0, 30, 10, 40]
    """
    counts = [max(1, round(n / length)) for n, length in zip(shape, lengths, strict=True)]
    total = prod(counts)
    step = next(n for n in range(max(1, round(0.618 * total)), total + 1) if gcd(n, total) == 1)
    for k in range(total):
        at = np.unravel_index((total // 2 + k * step) % total, counts)
        z, y, x = ((int(i) * n // m, (int(i) + 1) * n // m) for i, n, m in zip(at, shape, counts, strict=True))
        yield Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def _particles(coarse: CoarsePass, part: Box, zoom: tuple[float, float, float]) -> tuple[ParticleTable, Zyx, int]:
    """Segment a part and measure its particles on the normalized grid; its shape there, and patches computed."""
    shape = normalized_shape(part.shape, zoom)
    whole, store = Box.of_shape(shape), MemoryStore(shape)
    for name in NETWORK_ARRAYS:
        store.create(name, np.uint8)
    stage = Segmentation(
        volume=Crop(coarse.volume, part),
        engine=coarse.engine,
        store=store,
        journal=None,
        lattice=PatchLattice.plan(shape, coarse.patch, coarse.overlap),
        shape=shape,
        zoom=zoom,
        scale=coarse.scale,
        lowpass=coarse.lowpass,
        skip_empty=coarse.skip_empty,
        core_bias=coarse.core_bias,
        slab_planes=shape[0],
    )
    counts = segment(stage, Sweep(whole))
    least_confidence = max(coarse.rules.min_confidence or 0.0, _LEAST_CONFIDENCE)
    found = to_particles(
        store,
        shape,
        shape,
        rules=replace(coarse.rules.on_grid(zoom), min_confidence=least_confidence),
    )
    labels = read_ids(store, found.parts, whole, np.uint32)
    z, y, x = (spacing / f for spacing, f in zip(coarse.spacing_mm, zoom, strict=True))
    return measure(labels, (z, y, x)), shape, counts.computed
