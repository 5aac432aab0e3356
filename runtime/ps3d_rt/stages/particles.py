"""Border-core map → one label per particle, chunk by chunk: the rules of :func:`to_instances` at any size.

1. :func:`survey`, per chunk: split its foreground into fragments and write them. Cores in the chunk (6-connected) are
   the fragments 1..c; the border voxels of each 26-connected foreground group in the chunk are one fragment more.
2. :func:`contacts`, per chunk: list the fragments that touch fragments of its neighbours.
3. :func:`ps3d_rt.core.seeds.to_seeds`, tables only: join fragments into cores and groups of the volume, drop the small
   cores, give cores and coreless groups their ids.
4. :func:`ps3d_rt.stages.growth.grow`, per chunk in rounds: claim the rest of the foreground.
5. :func:`sum_foreground`, per chunk, if there are scores: add up the foreground score of every particle.
6. :func:`ps3d_rt.core.numbering.number`, tables only: drop the unsure and the small particles, count the others in
   raster order of their first voxels.
7. :func:`write_instances`, per chunk, if asked for: put the final ids in place.

Tasks return tables of whole numbers, which are combined in the order of the chunks. So neither the chunk size nor the
order of work can change a label. Memory holds a few chunks and these tables: 40 bytes a fragment, and 80 more while
they are combined, 1.2 GB for 10^7 fragments.

A task may be repeated at any time: it writes the same values to the same voxels. Nothing is read before it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import array_namespace, asnumpy
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, label_statistics
from ps3d_rt.core.dropped import Census
from ps3d_rt.core.fragments import DEEP_REACH, check_border_core, find_fragments
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.growth import CountedLabels
from ps3d_rt.core.numbering import label_dtype, number, sum_by_label
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.core.seeds import Survey, to_seeds
from ps3d_rt.core.stitch import face_pairs
from ps3d_rt.errors import InputError
from ps3d_rt.memory import HALO
from ps3d_rt.stages.growth import grow
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import BORDER_CORE, FOREGROUND_SCORE, FRAGMENTS, INSTANCES, MemoryStore, Store, read_ids
from ps3d_rt.workers import TaskMap

PUBLISHED = ParticleFilter()
"""The published rule, and no other."""


class Particles(NamedTuple):
    """What :func:`to_particles` finds."""

    chunk_labels: list[ChunkLabels]
    """The labels of every chunk, with the final ids 1..N, of :func:`label_dtype`, and 0 for what was dropped.
    :func:`ps3d_rt.stages.storage.read_ids` reads them."""
    largest: int
    """N."""
    census: Census
    """What became of everything that was found, for :func:`ps3d_rt.core.dropped.list_dropped`."""


def find_particles(run: Run) -> Particles:
    """Put the particles of a run together from what the network wrote.

    Raises:
        InputError: if there are more than labels can tell apart.
    """
    prediction, plan = run.prediction, run.prediction.plan
    rules = prediction.model.rules.on_grid(plan.zoom)
    at_once = plan.memory.chunks_at_once(plan.particles)
    with run.chunk_stage("particles", most_tasks(len(plan.chunks.boxes), rules), at_once=at_once) as (store, stage):
        found = to_particles(store, plan.shape, plan.chunks.chunk, rules=rules, halo=HALO, map_tasks=stage.map)
    check_label_count(found.largest)
    return found


def most_tasks(chunks: int, rules: ParticleFilter) -> int:
    """Count the tasks of :func:`to_particles` if growth takes one round: where borders are thinner than the halo.

    >>> most_tasks(10, ParticleFilter())
    29
    """
    surveys, contacts, growths = chunks, chunks - 1, chunks
    return surveys + contacts + growths + (chunks if rules.min_confidence is not None else 0)


def check_label_count(particles: int) -> None:
    """Refuse more particles than labels on the source grid, which are uint32, can tell apart.

    Raises:
        InputError: if there are more than 2³² − 1.

    >>> check_label_count(2**32 - 1)
    """
    most = int(np.iinfo(np.uint32).max)
    if particles > most:
        raise InputError(
            f"{particles:,} particles were found; labels are 32 bit wide and tell {most:,} apart. "
            "Segment the scan in parts."
        )


def to_instances_chunked(
    store: Store,
    shape: Zyx,
    chunk: Zyx,
    *,
    min_relative_volume: float = 0.005,
    halo: int = 16,
    map_tasks: TaskMap = map,
) -> int:
    """Do what :func:`to_particles` does, write the labels to :data:`INSTANCES`, and return the number of particles.

    The array gets the type of the ids; it is 0 where nothing is written if the store makes it so.
    """
    rules = ParticleFilter(min_relative_volume=min_relative_volume)
    chunk_labels, count, _ = to_particles(store, shape, chunk, rules=rules, halo=halo, map_tasks=map_tasks)
    store.create(INSTANCES, label_dtype(count))
    for _ in map_tasks(partial(write_instances, store), [found for found in chunk_labels if found.ids.size > 1]):
        pass  # every result is taken, so that no failure is lost
    return count


def to_particles(
    store: Store,
    shape: Zyx,
    chunk: Zyx,
    *,
    rules: ParticleFilter = PUBLISHED,
    halo: int = 16,
    map_tasks: TaskMap = map,
) -> Particles:
    """Turn the border-core map in ``store`` into particles; the labels are those of ``to_instances``.

    Args:
        store: holds :data:`BORDER_CORE`, uint8, and :data:`FOREGROUND_SCORE` if ``rules`` ask for a confidence. It
            gets working arrays, which the result names.
        shape: the volume, voxels.
        chunk: what a task owns, voxels; a task holds about 8 bytes a voxel of ``chunk`` with its halo, 14 in noise.
        rules: which particles are dropped, in voxels of this volume.
        halo: voxels that a task of growth reads beyond its chunk; wider than most borders are thick, one round does.
        map_tasks: ``map``, or the map of a pool. It gets picklable tasks; the results must keep their order.

    Raises:
        InputError: if the map is not a border-core map, or ``chunk`` or ``halo`` cannot be used.
    """
    if halo < 1:
        raise InputError(f"the halo is {halo} voxels; 1 or more is needed.")
    grid = ChunkGrid(shape, chunk)
    store.create(FRAGMENTS, np.uint32)
    surveys = list(map_tasks(partial(survey, store, shape, halo), grid.boxes))
    touching = list(map_tasks(partial(contacts, store), contact_tasks(grid, [s.count for s in surveys])))
    seeds = to_seeds(surveys, touching)
    labels: list[CountedLabels] = [
        (ChunkLabels(FRAGMENTS, box, ids), s.statistics) for box, ids, s in zip(grid.boxes, seeds, surveys, strict=True)
    ]
    del surveys, touching, seeds
    labels = grow(store, grid, labels, halo, map_tasks)
    chunk_labels = [found for found, _ in labels]
    sums = None if rules.min_confidence is None else list(map_tasks(partial(sum_foreground, store), chunk_labels))
    census = number(labels, shape, rules, sums)
    numbers = census.numbers
    return Particles(
        [ChunkLabels(found.source, found.box, numbers[found.ids]) for found in chunk_labels], int(numbers.max()), census
    )


def survey(store: Store, shape: Zyx, near_voxels: int, chunk: Box) -> Survey:
    """Split the foreground of a chunk into fragments, write them, and count what rule 2 asks for."""
    read = chunk.grow(DEEP_REACH, Box.of_shape(shape))
    classes = store.read(BORDER_CORE, read)
    classes = array_namespace(classes).ascontiguousarray(classes)
    check_border_core(classes)
    found = find_fragments(classes, chunk.relative_to(read))
    del classes
    if found.count:
        store.write(FRAGMENTS, chunk, found.labels)
    counted = label_statistics(found.labels, found.count, chunk, shape, near_voxels)
    return Survey(found.group_id, found.shallow, found.deep, counted)


@dataclass(frozen=True)
class ContactTask:
    """A chunk with fragments, and its neighbours with fragments that come later in raster order."""

    chunk: Box
    offset: int
    """Number of the first fragment of the chunk in the volume, less 1."""
    others: tuple[tuple[Box, int], ...]
    """The same of the neighbours."""


def contact_tasks(grid: ChunkGrid, counts: Sequence[int]) -> list[ContactTask]:
    """List the chunks that have such neighbours, over faces, edges or corners; ``counts`` are fragments a chunk."""
    volume = Box.of_shape(grid.shape)
    offsets = list(accumulate(counts, initial=0))
    tasks = []
    for k, box in enumerate(grid.boxes):
        later = [n for n in grid.touching(box.grow(1, volume)) if n > k and counts[n]]
        if counts[k] and later:
            tasks.append(ContactTask(box, offsets[k], tuple((grid.boxes[n], offsets[n]) for n in later)))
    return tasks


def contacts(store: Store, task: ContactTask) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """List the pairs of fragments, (n, 2), that touch over faces of voxels, and those that touch at all.

    Fragments are numbered through the volume.
    """
    faces, corners = [np.empty((0, 2), np.uint64)], [np.empty((0, 2), np.uint64)]
    for other, offset in task.others:
        offsets = task.offset, offset
        near, far = task.chunk.intersect(_around(other)), other.intersect(_around(task.chunk))
        a, b = (np.atleast_2d(asnumpy(store.read(FRAGMENTS, box)).squeeze()) for box in (near, far))
        corners.append(face_pairs(a, b, connectivity=26, offsets=offsets))
        if sum(m != n for m, n in zip(task.chunk.start, other.start, strict=True)) == 1:
            faces.append(face_pairs(a, b, offsets=offsets))
    return np.concatenate(faces), np.concatenate(corners)


def _around(box: Box) -> Box:
    """Widen by one voxel, past the volume too."""
    (z, y, x), (z1, y1, x1) = box.start, box.stop
    return Box((z - 1, y - 1, x - 1), (z1 + 1, y1 + 1, x1 + 1))


def sum_foreground(store: Store, chunk: ChunkLabels) -> NDArray[np.int64]:
    """Add up :data:`FOREGROUND_SCORE` over the local ids of a chunk; entry 0 means nothing."""
    if chunk.ids.size == 1:
        return np.zeros(1, np.int64)
    labels, percent = (asnumpy(store.read(name, chunk.box)) for name in (chunk.source, FOREGROUND_SCORE))
    return sum_by_label(labels, percent, chunk.ids.size)


def write_instances(store: Store, chunk: ChunkLabels) -> None:
    """Write the ids of a chunk to :data:`INSTANCES`."""
    store.write(INSTANCES, chunk.box, read_ids(store, [chunk], chunk.box, chunk.ids.dtype))


CHUNK = (256, 256, 256)
"""What :func:`to_instances` works on at a time, voxels: small enough that its memory is that of its arrays."""


def to_instances(border_core: NDArray[np.uint8], *, min_relative_volume: float = 0.005) -> NDArray[np.uint32]:
    """Turn a border-core map into one label per particle.

    1. Cores are the 6-connected components of class core, counted in raster order of their first voxels.
    2. A core is dropped, and becomes border, when at least 95 % of its voxels have Euclidean distance ≤ 1 to
       outside the core and none has ≥ 3. Beyond the volume's faces is not outside.
    3. Foreground, core or border, is grouped by 26-connectivity. A group with no core left is one particle.
    4. Every other foreground voxel joins the core it reaches first, step by step through 26-neighbours inside
       the foreground; a tie goes to the core whose first voxel comes first in raster order.
    5. Particles smaller than ``min_relative_volume`` times the mean volume are dropped; the others are numbered
       1..N in raster order of their first voxels.

    Args:
        border_core: (Z, Y, X) uint8, 0 background, 1 core, 2 border.
        min_relative_volume: share of the mean particle volume, 0 or more.

    Returns:
        uint32 of the same shape.

    Raises:
        InputError: if ``border_core`` is not such a map.

    Source: ParticleSeg3D, arXiv 2301.13319; the rules are made exact so that no order of work can change them.
    """
    check_border_core(border_core)
    shape = cast(Zyx, border_core.shape)
    store = MemoryStore(shape)
    store.arrays[BORDER_CORE] = border_core
    to_instances_chunked(store, shape, CHUNK, min_relative_volume=min_relative_volume)
    found: NDArray[np.uint32] = store.arrays[INSTANCES]
    return found
