"""Border-core map → one label per particle, chunk by chunk: :func:`ps3d_rt.core.border_core.to_instances` at any size.

1. :func:`survey`, per chunk: split its foreground into pieces and write them. Cores in the chunk (6-connected) are
   the pieces 1..c; the border voxels of each 26-connected foreground group in the chunk are one piece more.
2. :func:`contacts`, per chunk: list the pieces that touch pieces of its neighbours.
3. :func:`to_seeds`, tables only: join pieces into cores and groups of the volume, drop the small cores, give cores and
   coreless groups their ids.
4. :func:`ps3d_rt.core.growth.grow`, per chunk in rounds: claim the rest of the foreground.
5. :func:`sum_foreground`, per chunk, if there are scores: add up the foreground score of every particle.
6. :func:`number`, tables only: drop the unsure and the small particles, count the others in raster order of their first
   voxels.
7. :func:`write_instances`, per chunk, if asked for: put the final ids in place.

Tasks pass on whole-number tables, which are put together in the order of the chunks, so neither the chunk size nor
the order of work can change a label. In memory are a few chunks and these tables, of 40 bytes a piece of a chunk, and
80 more while they are put together: 1.2 GB for 10^7 pieces.

A task may run again, on the same data or after others are done: it writes the same voxels to the same array. What no
task has written is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.arrays import array_namespace, asnumpy, compiled
from ps3d_rt.core.chunks import ChunkGrid, Part, Store, Tally, TaskMap, read_ids, tally
from ps3d_rt.core.dropped import Census
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.growth import UNCLAIMED, Labels, grow
from ps3d_rt.core.particle_filter import ParticleFilter, Reason
from ps3d_rt.core.pieces import DEEP_REACH, PieceFacts, check_border_core, find_pieces
from ps3d_rt.core.stitch import face_pairs, merge
from ps3d_rt.errors import InputError

BORDER_CORE, PIECES, INSTANCES = "border-core", "pieces", "instances"
"""Arrays of the store: the map to start from, what :func:`survey` writes, the result."""
FOREGROUND, CORE_SCORE = "foreground", "core-score"
"""Arrays of the store: score of foreground, and of core alone, percent, uint8, 0 in the background; there may be
none."""


PUBLISHED = ParticleFilter()
"""The published rule, and no other."""


class Particles(NamedTuple):
    """What :func:`to_particles` finds."""

    parts: list[Part]
    """The labels of every chunk, with the final ids 1..N, of :func:`label_dtype`, and 0 for what was dropped.
    :func:`ps3d_rt.core.chunks.read_ids` reads them."""
    largest: int
    """N."""
    census: Census
    """What became of everything that was found, for :func:`ps3d_rt.core.dropped.list_dropped`."""


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
    parts, count, _ = to_particles(store, shape, chunk, rules=rules, halo=halo, map_tasks=map_tasks)
    store.create(INSTANCES, label_dtype(count))
    for _ in map_tasks(partial(write_instances, store), [part for part in parts if part.ids.size > 1]):
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
        store: holds :data:`BORDER_CORE`, uint8, and :data:`FOREGROUND` if ``rules`` ask for a confidence; gets working
            arrays, which the result names.
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
    store.create(PIECES, np.uint32)
    surveys = list(map_tasks(partial(survey, store, shape, halo), grid.boxes))
    touching = list(map_tasks(partial(contacts, store), contact_tasks(grid, [s.count for s in surveys])))
    seeds = to_seeds(surveys, touching)
    labels: list[Labels] = [
        (Part(PIECES, box, ids), s.tally) for box, ids, s in zip(grid.boxes, seeds, surveys, strict=True)
    ]
    del surveys, touching, seeds
    labels = grow(store, grid, labels, halo, map_tasks)
    parts = [part for part, _ in labels]
    sums = None if rules.min_confidence is None else list(map_tasks(partial(sum_foreground, store), parts))
    census = number(labels, shape, rules, sums)
    numbers = census.numbers
    return Particles([Part(part.source, part.box, numbers[part.ids]) for part in parts], int(numbers.max()), census)


@dataclass(frozen=True, eq=False)
class Survey(PieceFacts):
    """The pieces of one chunk."""

    tally: Tally


def survey(store: Store, shape: Zyx, near_voxels: int, chunk: Box) -> Survey:
    """Split the foreground of a chunk into pieces, write them to :data:`PIECES`, and count what rule 2 asks for."""
    read = chunk.grow(DEEP_REACH, Box.of_shape(shape))
    classes = store.read(BORDER_CORE, read)
    classes = array_namespace(classes).ascontiguousarray(classes)
    check_border_core(classes)
    found = find_pieces(classes, chunk.relative_to(read))
    del classes
    if found.count:
        store.write(PIECES, chunk, found.labels)
    counted = tally(found.labels, found.count, chunk, shape, near_voxels)
    return Survey(found.home, found.thin, found.deep, counted)


@dataclass(frozen=True)
class ContactTask:
    """A chunk with pieces, and its neighbours with pieces that come later in raster order."""

    chunk: Box
    offset: int
    """Number of the first piece of the chunk in the volume, less 1."""
    others: tuple[tuple[Box, int], ...]
    """The same of the neighbours."""


def contact_tasks(grid: ChunkGrid, counts: Sequence[int]) -> list[ContactTask]:
    """List the chunks that have such neighbours, over faces, edges or corners; ``counts`` are pieces a chunk."""
    volume = Box.of_shape(grid.shape)
    offsets = list(accumulate(counts, initial=0))
    tasks = []
    for k, box in enumerate(grid.boxes):
        later = [n for n in grid.touching(box.grow(1, volume)) if n > k and counts[n]]
        if counts[k] and later:
            tasks.append(ContactTask(box, offsets[k], tuple((grid.boxes[n], offsets[n]) for n in later)))
    return tasks


def contacts(store: Store, task: ContactTask) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """List the pairs of pieces, (n, 2), that touch over faces of voxels, and those that touch at all.

    Pieces are numbered through the volume.
    """
    faces, corners = [np.empty((0, 2), np.uint64)], [np.empty((0, 2), np.uint64)]
    for other, offset in task.others:
        offsets = task.offset, offset
        near, far = task.chunk.intersect(_around(other)), other.intersect(_around(task.chunk))
        a, b = (np.atleast_2d(asnumpy(store.read(PIECES, box)).squeeze()) for box in (near, far))
        corners.append(face_pairs(a, b, connectivity=26, offsets=offsets))
        if sum(m != n for m, n in zip(task.chunk.start, other.start, strict=True)) == 1:
            faces.append(face_pairs(a, b, offsets=offsets))
    return np.concatenate(faces), np.concatenate(corners)


def _around(box: Box) -> Box:
    """Widen by one voxel, past the volume too."""
    (z, y, x), (z1, y1, x1) = box.start, box.stop
    return Box((z - 1, y - 1, x - 1), (z1 + 1, y1 + 1, x1 + 1))


def to_seeds(
    surveys: Sequence[Survey], touching: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]]
) -> list[NDArray[np.int64]]:
    """Apply rules 1 to 3: what grows from where.

    Args:
        surveys: of every chunk; pieces are numbered through them, from 1.
        touching: of the chunks with neighbours, from :func:`contacts`.

    Returns:
        For every chunk (count + 1,), piece → id of the volume: 1..n for the cores that count, in raster order of their
        first voxels; n + 1, … for groups without one; ``UNCLAIMED`` for all other foreground. 0 where a piece has no
        voxels.
    """
    offsets = list(accumulate((s.count for s in surveys), initial=0))
    total = offsets[-1]
    none = np.empty((0, 2), np.uint64)
    is_core = _joined([np.arange(s.count + 1) <= s.cores for s in surveys], np.bool_)

    faces = np.concatenate([none, *(pairs for pairs, _ in touching)])
    core = merge(faces[is_core[faces].all(axis=1)], total, np.uint64)
    del faces
    rank = _ranks(surveys, core, is_core)[core]
    del core

    # A core belongs to the group of its home.
    home = _joined([s.home + np.uint64(offset) for s, offset in zip(surveys, offsets, strict=False)], np.uint64)
    cores = np.flatnonzero(is_core[1:]) + 1
    links = np.stack([cores.astype(np.uint64), home[cores]], axis=1)
    group = merge(np.concatenate([*(pairs for _, pairs in touching), links]), total, np.uint64)
    del home, cores, links
    has_core = np.zeros(total + 1, np.bool_)
    has_core[group[rank > 0]] = True
    alone = ~has_core & (group == np.arange(total + 1))
    alone[0] = False
    coreless = rank.max() + np.cumsum(alone)

    seeds = np.where(rank > 0, rank, np.where(has_core[group], UNCLAIMED, coreless[group]))
    seeds[_joined([s.tally.volumes for s in surveys]) == 0] = 0
    return [np.append(0, seeds[a + 1 : b + 1]) for a, b in pairwise(offsets)]


def _ranks(surveys: Sequence[Survey], core: NDArray[np.uint64], is_core: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the cores that rule 2 keeps the ids 1..n, at the piece that stands for each; all other pieces have 0."""
    owner = np.append(0, core[is_core].astype(np.int64))
    volume, thin, deep = (np.zeros(core.size, np.int64) for _ in range(3))
    first = np.full(core.size, np.iinfo(np.int64).max)
    np.add.at(volume, owner, _joined([s.tally.volumes[: s.cores + 1] for s in surveys]))
    np.add.at(thin, owner, _joined([s.thin for s in surveys]))
    np.add.at(deep, owner, _joined([s.deep for s in surveys]))
    np.minimum.at(first, owner, _joined([s.tally.firsts[: s.cores + 1] for s in surveys]))
    kept = np.flatnonzero(is_core & (core == np.arange(core.size)) & ((20 * thin < 19 * volume) | (deep > 0)))
    ranks = np.zeros(core.size, np.int64)
    ranks[kept[np.argsort(first[kept])]] = np.arange(1, kept.size + 1)
    return ranks


def _joined(columns: Sequence[NDArray[Any]], dtype: DTypeLike = np.int64) -> NDArray[Any]:
    """Put the tables of all chunks one after the other, with a single entry 0."""
    return np.concatenate([np.zeros(1, dtype), *(column[1:] for column in columns)])


def label_dtype(count: int) -> np.dtype[Any]:
    """Choose the type of the final ids: uint32, uint64 past 2^32.

    >>> label_dtype(2**32 - 1), label_dtype(2**32)
    (dtype('uint32'), dtype('uint64'))
    """
    return np.dtype(np.uint32 if count <= np.iinfo(np.uint32).max else np.uint64)


def sum_foreground(store: Store, part: Part) -> NDArray[np.int64]:
    """Add up :data:`FOREGROUND` over the local ids of a chunk; entry 0 means nothing."""
    if part.ids.size == 1:
        return np.zeros(1, np.int64)
    labels, percent = (asnumpy(store.read(name, part.box)) for name in (part.source, FOREGROUND))
    return _sum_by_label(labels, percent, part.ids.size)


@compiled
def _sum_by_label(labels: NDArray[Any], values: NDArray[Any], count: int) -> NDArray[np.int64]:
    sums = np.zeros(count, np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                sums[labels[z, y, x]] += values[z, y, x]
    return sums


def number(
    labels: Sequence[Labels],
    shape: Zyx,
    rules: ParticleFilter,
    foreground: Sequence[NDArray[np.int64]] | None = None,
) -> Census:
    """Give the particles that no rule drops their numbers, of :func:`label_dtype`.

    Args:
        labels: of every chunk, after growth.
        shape: the volume, voxels.
        rules: in voxels of the volume.
        foreground: of every chunk, from :func:`sum_foreground`; None drops no unsure particle.
    """
    volumes = _joined([counted.volumes for _, counted in labels])
    ids, firsts = _joined([part.ids for part, _ in labels]), _joined([counted.firsts for _, counted in labels])
    some = volumes > 0
    ids = ids[some]
    volume = np.zeros(ids.max(initial=0) + 1, np.int64)
    first = np.full(volume.size, np.iinfo(np.int64).max)
    np.add.at(volume, ids, volumes[some])
    np.minimum.at(first, ids, firsts[some])
    score = None
    if foreground is not None:
        score = np.zeros(volume.size, np.int64)
        np.add.at(score, ids, _joined(foreground)[some])
    reasons = rules.reasons(volume, score)
    order = np.flatnonzero((volume > 0) & (reasons == Reason.KEPT))
    numbers = np.zeros(volume.size, label_dtype(order.size))
    numbers[order[np.argsort(first[order])]] = np.arange(1, order.size + 1)
    return Census(shape, volume, first, score, reasons, numbers)


def write_instances(store: Store, part: Part) -> None:
    """Write the ids of a chunk to :data:`INSTANCES`."""
    store.write(INSTANCES, part.box, read_ids(store, [part], part.box, part.ids.dtype))
