"""Labels and scan → minerals of every particle, slab by slab; every plane is read once.

Slabs of whole planes overlap by what the loops of :mod:`ps3d_rt.core.minerals.classify` look at, so any slab gives the
same bytes. Memory: a slab (10 bytes a voxel), and about 2 kB a particle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box
from ps3d_rt.core.label_components import Components, ComponentsBySlab
from ps3d_rt.core.minerals.bins import BINS, AnchoredBins
from ps3d_rt.core.minerals.classify import REACH, Classified, classify
from ps3d_rt.core.minerals.mixture import LEAST_VOXELS, Mixture, fit, starting_limits
from ps3d_rt.core.minerals.phases import AnchoredScale, PhaseList, Unit
from ps3d_rt.core.minerals.propose import REACH as FLAT_REACH
from ps3d_rt.core.minerals.propose import add_flat, propose
from ps3d_rt.core.minerals.sums import MineralSums
from ps3d_rt.core.minerals.table import MineralTable, mineral_table
from ps3d_rt.core.minerals.unmix import sample_weights, unmix
from ps3d_rt.errors import InputError
from ps3d_rt.events import ignore
from ps3d_rt.io.base import SpacingMm, Volume

SLAB_VOXELS = 2**25
_TOP_SHARE = 0.9999
"""Of the particles' voxels; brighter ones do not widen the bins."""

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class MineralSource:
    """What minerals are read from."""

    labels: Volume
    """Ids 0..N, N = ``particles``."""
    scan: Volume
    """Of the same voxels."""
    particles: int
    spacing_mm: SpacingMm
    """Voxel size along z, y, x."""
    scale: AnchoredScale
    """Of the scan, in the unit of the phases."""
    slab_voxels: int = SLAB_VOXELS
    """Of a slab, about; changes memory, never a result."""


class Window(NamedTuple):
    """A slab and the planes around it, as far as the volume goes."""

    ids: NDArray[np.uint32]
    gray: NDArray[Any]
    own: Box
    """The slab, in voxels of the arrays."""


def windows(source: MineralSource, reach: int) -> Iterator[Window]:
    """Cut labels and scan into slabs of whole planes, with ``reach`` planes around each."""
    labels, scan = source.labels, source.scan
    depth, height, width = labels.shape
    planes = max(1, source.slab_voxels // (height * width))
    planes = max(1, planes - planes % labels.planes_per_read) if planes > labels.planes_per_read else planes
    ids, gray = (np.zeros((0, height, width), kind) for kind in (np.uint32, scan.dtype))
    first = 0
    for start in range(0, depth, planes):
        stop = min(start + planes, depth)
        have, need = first + len(ids), min(depth, stop + reach)
        drop = max(0, start - reach) - first
        parts: tuple[list[NDArray[Any]], ...] = ([ids[drop:]], [gray[drop:]])
        if need > have:
            box = Box((have, 0, 0), (need, height, width))
            parts[0].append(labels.read(box).astype(np.uint32, copy=False))
            parts[1].append(scan.read(box))
        ids, gray = (np.concatenate(part) for part in parts)
        first += drop
        yield Window(ids, gray, Box((start - first, 0, 0), (stop - first, height, width)))


def propose_phases(source: MineralSource, most: int, unit: Unit, advance: Advance = ignore) -> PhaseList:
    """Propose phases from what lies inside the particles; a person has to look at them.

    Args:
        source: labels and scan.
        most: phases at most.
        unit: of the scale.
        advance: told the planes that are done.

    Raises:
        InputError: if there is too little to propose from.
    """
    scale = source.scale
    bins = AnchoredBins.for_values(_brightest(source.scan, scale), scale.noise)
    centres, histogram = bins.centres(), np.zeros(BINS, np.int64)
    for window in windows(source, FLAT_REACH):
        add_flat(window.ids, bins.index(window.gray, scale), window.own, centres, scale, histogram)
        advance(window.own.shape[0])
    return propose(histogram, most, bins, scale, unit)


def _brightest(scan: Volume, scale: AnchoredScale) -> float:
    """Brightest value that is no speck, from a few planes spread over the scan."""
    depth = scan.shape[0]
    planes = sorted({depth * k // 32 for k in range(1, 32, 2)})
    found = [scan.read(Box((z, 0, 0), (z + 1, *scan.shape[1:]))) for z in planes]
    values = scale.of(np.concatenate([plane.ravel() for plane in found]))
    top = float(np.quantile(values[np.isfinite(values)], _TOP_SHARE))
    if top <= scale.noise:
        raise InputError(
            "nothing in the scan is brighter than the embedding; give the embedding with --embedding, or the scan that "
            "the labels are of with --image."
        )
    return top


class MineralsFound(NamedTuple):
    """What a scan tells of the minerals of its particles."""

    table: MineralTable
    mixture: Mixture
    void: bool
    """Whether there are pores or cracks of a size to be seen."""


def find_minerals(source: MineralSource, phases: PhaseList, advance: Advance = ignore) -> MineralsFound:
    """Find the minerals of every particle.

    Args:
        source: labels and scan.
        phases: which gray values are which mineral.
        advance: told the planes that are done.

    Raises:
        InputError: if a phase is not to be found, or the labels hold other ids.
    """
    scale, particles = source.scale, source.particles
    bins, limits = bins_of(phases, scale), starting_limits(phases)
    classes = len(phases.phases) + 1
    sums, grains = MineralSums.empty(particles, classes), ComponentsBySlab()
    for window in windows(source, REACH):
        largest = int(window.ids.max(initial=0))
        if largest > particles:
            raise InputError(
                f"the labels hold the id {largest} and the table {particles} particles; run predict again."
            )
        found = classify(window.ids, bins.index(window.gray, scale), bins.centres(), limits, scale.noise)
        sums.add(window.ids, found, window.own)
        grains.add(_grain_ids(window, found, classes))
        advance(window.own.shape[0])
    mixture = fit(sums.pure, phases, scale, bins)
    void = bool(sums.pure[0].sum() >= LEAST_VOXELS)
    start = sample_weights(sums.histogram.sum(axis=0, dtype=np.int64), mixture, void=void)
    unmixed = unmix(sums.histogram, sums.surface, sums.seen, start, mixture)
    counted = _grain_counts(grains.finish(), particles, classes)
    return MineralsFound(mineral_table(sums, unmixed, counted, phases, source.spacing_mm), mixture, void)


def bins_of(phases: PhaseList, scale: AnchoredScale) -> AnchoredBins:
    """Bins that cover some phases."""
    return AnchoredBins.for_values(phases.phases[-1].high, scale.noise)


def _grain_ids(window: Window, found: Classified, classes: int) -> NDArray[np.uint64]:
    """Give every grain's voxels the id particle · classes + class; 0 for void and what is no particle."""
    ids = window.ids[window.own.slices].astype(np.uint64)
    own = found.classes[window.own.slices]
    ids *= np.uint64(classes)
    ids += own
    ids[(own == 0) | (window.ids[window.own.slices] == 0)] = 0
    return ids


def _grain_counts(grains: Components, particles: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the grains, and the voxels of the largest: (particles, phases) each."""
    label, phase = (part.astype(np.int64) for part in np.divmod(grains.ids, np.uint64(classes)))
    count, largest = (np.zeros((particles, classes - 1), np.int64) for _ in range(2))
    np.add.at(count, (label - 1, phase - 1), 1)
    np.maximum.at(largest, (label - 1, phase - 1), grains.voxels)
    return count, largest
