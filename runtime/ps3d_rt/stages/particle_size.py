"""Estimates the particle size before a run: the network is tried on a few parts of the scan, at a few assumed sizes.

The number of patches is bounded, whatever the size of the scan. The first trial shrinks the whole scan to one part, so
it reads the scan once. Each further size reads an eighth of that or less. :mod:`ps3d_rt.core.size_trials` says which
sizes are tried and when a result is accepted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import gcd, isnan, nan, prod

import numpy as np

from ps3d_rt.clock import Advance
from ps3d_rt.core.grid import Box, PatchLattice, Sweep, Zyx
from ps3d_rt.core.measure import ParticleTable, measure
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, normalized_shape, size_zoom
from ps3d_rt.core.size_trials import (
    ENOUGH_TO_REFINE,
    ENOUGH_TO_SEARCH,
    MOST_REFINED,
    SizeEstimate,
    SizeTrial,
    find_size,
    mean_diameter_mm,
    sizes_to_try,
)
from ps3d_rt.devices import device_named
from ps3d_rt.engines.base import Engine
from ps3d_rt.events import Listener, SizeEstimated, SizeTried
from ps3d_rt.io.base import Volume
from ps3d_rt.io.crop import Crop
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.segment import NETWORK_ARRAYS, Segmentation, segment
from ps3d_rt.stages.storage import MemoryStore, read_ids
from ps3d_rt.workers import Workers, report_progress

_MOST_PARTS = 8
_LEAST_CONFIDENCE = 0.8
"""At sizes far off, the network is unsure of what it finds, whatever a model allows in a run."""


@dataclass(frozen=True, slots=True)
class _Effort:
    """How much of the scan a trial takes in."""

    patches_a_side: int
    """Of a part."""
    whole: int
    """Particles after which no other part is segmented."""
    patches: int
    """Computed, after which no other part is segmented."""


_SEARCH = _Effort(2, ENOUGH_TO_SEARCH, 24)
_REFINE = _Effort(3, ENOUGH_TO_REFINE, 128)


@dataclass(frozen=True, kw_only=True)
class SizeSearch:
    """What every trial shares."""

    volume: Volume
    model: ModelBundle
    engine: Engine
    config: PredictConfig
    scale: GrayScale | EmbeddingScale

    @property
    def most_trials(self) -> int:
        """How many trials an estimate may take."""
        return len(_sizes(self)) + MOST_REFINED


def estimate_particle_size(search: SizeSearch, on_event: Listener, advance: Advance) -> SizeEstimate:
    """Estimate the mean particle diameter of a scan.

    It depends on the scan, the model and the engine, never on workers or chunks.

    Args:
        search: the scan, and what looks at it.
        on_event: told of every trial.
        advance: called with 1 after each, at most ``search.most_trials`` times.

    Raises:
        InputError: if no particles are found, or the scan cannot be read.
    """

    def heard(value: object) -> None:
        if isinstance(value, SizeTrial):
            on_event(SizeTried(value.assumed_mm, value.found_mm, value.particles))
            advance(1)

    start = time.perf_counter()
    limit = device_named(search.engine.spec.device).limited(search.config.gpu_memory_bytes)
    # In a thread of our own, as all that works on a GPU.
    with limit, Workers(threads=1) as worker:
        (found,) = worker.map(_estimate, [search], heard)
    on_event(SizeEstimated(found.particle_size_mm, found.patches, round(time.perf_counter() - start, 3)))
    return found


def _estimate(search: SizeSearch) -> SizeEstimate:
    """Find the size; every trial is reported as progress."""

    def tried(effort: _Effort, size_mm: float) -> SizeTrial:
        trial = _try_size(search, size_mm, effort)
        report_progress(trial)
        return trial

    return find_size(partial(tried, _SEARCH), partial(tried, _REFINE), _sizes(search))


def _sizes(search: SizeSearch) -> list[float]:
    """List the sizes to assume, mm, from the largest that a part can show."""
    spacing_mm, sides = search.config.spacing_mm, _part_sides(search, _SEARCH)
    largest_mm = max(
        n * spacing * search.model.target_size_voxels / side
        for n, spacing, side in zip(search.volume.shape, spacing_mm, sides, strict=True)
    )
    return sizes_to_try(largest_mm, min(spacing_mm))


def _part_sides(search: SizeSearch, effort: _Effort) -> Zyx:
    """Sides of a part, voxels of the normalized grid: as many patches as the effort says, with the run's overlap."""
    step = 1 - search.config.overlap
    z, y, x = (p + (effort.patches_a_side - 1) * max(1, int(p * step)) for p in search.model.patch)
    return z, y, x


def _try_size(search: SizeSearch, size_mm: float, effort: _Effort) -> SizeTrial:
    """Find particles in parts of the scan, spread over it from the middle on, as if they were ``size_mm`` wide."""
    shape = search.volume.shape
    zoom = size_zoom(search.config.spacing_mm, size_mm, search.model.target_size_voxels)
    lengths = tuple(side / f for side, f in zip(_part_sides(search, effort), zoom, strict=True))
    found: list[tuple[ParticleTable, Zyx]] = []
    mean_mm, whole, patches = nan, 0, 0
    for part in islice(parts(shape, lengths), _MOST_PARTS):
        table, part_shape, computed = _particles(search, part, zoom)
        found.append((table, part_shape))
        patches += computed
        mean_mm, whole = mean_diameter_mm(found, normalized_shape(shape, zoom))
        if whole >= effort.whole or patches >= effort.patches:
            break
    return SizeTrial(assumed_mm=size_mm, found_mm=None if isnan(mean_mm) else mean_mm, particles=whole, patches=patches)


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


def _particles(search: SizeSearch, part: Box, zoom: tuple[float, float, float]) -> tuple[ParticleTable, Zyx, int]:
    """Segment a part and measure its particles on the normalized grid; its shape there, and patches computed."""
    model, config = search.model, search.config
    shape = normalized_shape(part.shape, zoom)
    whole, store = Box.of_shape(shape), MemoryStore(shape)
    for name in NETWORK_ARRAYS:
        store.create(name, np.uint8)
    stage = Segmentation(
        volume=Crop(search.volume, part),
        engine=search.engine,
        store=store,
        journal=None,
        lattice=PatchLattice.plan(shape, model.patch, config.overlap),
        shape=shape,
        zoom=zoom,
        scale=search.scale,
        lowpass=model.lowpass,
        skip_empty=config.skip_empty,
        core_bias=model.core_bias,
        slab_planes=shape[0],
    )
    counts = segment(stage, Sweep(whole))
    least_confidence = max(model.rules.min_confidence or 0.0, _LEAST_CONFIDENCE)
    rules = replace(model.rules.on_grid(zoom), min_confidence=least_confidence)
    labels = read_ids(store, to_particles(store, shape, shape, rules=rules).chunk_labels, whole, np.uint32)
    z, y, x = (spacing / f for spacing, f in zip(config.spacing_mm, zoom, strict=True))
    return measure(labels, (z, y, x)), shape, counts.computed
