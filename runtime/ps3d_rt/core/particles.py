"""Border-core map → one label per particle, chunk by chunk: :func:`ps3d_rt.core.border_core.to_instances` at any size.

1. :func:`survey`, per chunk: split its foreground into pieces and write them. Cores in the chunk (6-connected) are
   the pieces 1..c; the border voxels of each 26-connected foreground group in the chunk are one piece more.
2. :func:`contacts`, per face between chunks: list the pieces that touch.
3. :func:`to_seeds`, tables only: join pieces into cores and groups of the volume, drop the small cores, give cores and
   coreless groups their ids.
4. :func:`ps3d_rt.core.growth.grow`, per chunk in rounds: claim the rest of the foreground.
5. :func:`number`, tables only: drop the small particles, count the others in raster order of their first voxels.
6. :func:`write_instances`, per chunk: put the final ids in place.

Tasks pass on whole-number tables, which are put together in the order of the chunks, so neither the chunk size nor
the order of work can change a label. In memory are a few chunks, and tables with one row a piece of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.border_core import BACKGROUND, CORE, check_border_core, components
from ps3d_rt.core.chunks import ChunkGrid, Part, Store, Tally, TaskMap, parts_in, read_ids, tally
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.growth import UNCLAIMED, Labels, grow
from ps3d_rt.core.stitch import face_pairs, merge, relabel
from ps3d_rt.errors import InputError

BORDER_CORE, PIECES, INSTANCES = "border-core", "pieces", "instances"
"""Arrays of the store: the map to start from, what :func:`survey` writes, the result."""

DEEP_REACH = 2
"""Voxels around a voxel that tell whether its distance to outside its core is 3 or more."""


def to_instances_chunked(
    store: Store,
    shape: Zyx,
    chunk: Zyx,
    *,
    min_relative_volume: float = 0.005,
    halo: int = 16,
    map_tasks: TaskMap = map,
) -> int:
    """Turn the border-core map in ``store`` into particles; the labels are those of ``to_instances``.

    Args:
        store: holds :data:`BORDER_CORE`, uint8; gets :data:`INSTANCES`, of :func:`label_dtype`, and working arrays.
        shape: the volume, voxels.
        chunk: what a task owns, voxels; a task holds about 30 bytes a voxel of ``chunk`` with its halo.
        min_relative_volume: share of the mean particle volume below which a particle is dropped.
        halo: voxels that a task of growth reads beyond its chunk; wider than most borders are thick, one round does.
        map_tasks: ``map``, or the map of a pool. It gets picklable tasks; the results must keep their order.

    Returns:
        Number of particles: the ids are 1..N.

    Raises:
        InputError: if the map is not a border-core map, or ``chunk`` or ``halo`` cannot be used.
    """
    if halo < 1:
        raise InputError(f"the halo is {halo} voxels; 1 or more is needed.")
    grid = ChunkGrid(shape, chunk)
    store.create(PIECES, np.uint32)
    surveys = list(map_tasks(partial(survey, store, shape), grid.boxes))
    offsets = list(accumulate((s.count for s in surveys), initial=0))
    pieces = [
        Part(PIECES, box, np.append(0, np.arange(s.count) + offset + 1))
        for box, s, offset in zip(grid.boxes, surveys, offsets, strict=False)
    ]
    touching = list(map_tasks(partial(contacts, store), contact_tasks(grid, pieces)))
    seeds = to_seeds(surveys, touching)
    labels: list[Labels] = [
        (Part(PIECES, box, ids), s.tally) for box, ids, s in zip(grid.boxes, seeds, surveys, strict=True)
    ]
    labels = grow(store, grid, labels, halo, map_tasks)
    numbers = number(labels, min_relative_volume)
    store.create(INSTANCES, numbers.dtype)
    tasks = [Part(part.source, part.box, numbers[part.ids]) for part, _ in labels if part.ids.size > 1]
    for _ in map_tasks(partial(write_instances, store), tasks):
        pass  # every result is taken, so that no failure is lost
    return int(numbers.max())


@dataclass(frozen=True, eq=False)
class Survey:
    """The pieces of one chunk; arrays are indexed by piece, entry 0 means nothing."""

    cores: int
    """Pieces 1..cores are cores, the others border."""
    tally: Tally
    home: NDArray[np.int64]
    """The border piece that stands for the group of a piece; it may be a piece without voxels."""
    thin: NDArray[np.int64]
    """Voxels of a core at distance ≤ 1 to outside the core; not all of them if it is deep."""
    deep: NDArray[np.bool_]
    """Whether a core has a voxel at distance ≥ 3: if so it stays, however many are thin."""

    @property
    def count(self) -> int:
        """Number of pieces."""
        return self.home.size - 1


def survey(store: Store, shape: Zyx, chunk: Box) -> Survey:
    """Split the foreground of a chunk into pieces, write them to :data:`PIECES`, and count what rule 2 asks for.

    Distances need no labels from other chunks: the voxels around a core voxel, up to distance 2.83, are one
    6-connected piece if all are core, and if one is not, it is outside. So the map with a halo of 2 is enough.
    """
    read = chunk.grow(DEEP_REACH, Box.of_shape(shape))
    classes = np.ascontiguousarray(store.read(BORDER_CORE, read))
    check_border_core(classes)
    inside = chunk.relative_to(read)
    own = np.ascontiguousarray(classes[inside.slices])
    cores, core_count = components(own == CORE, connectivity=6)
    groups, group_count = components(own != BACKGROUND, connectivity=26)
    count = core_count + group_count
    thin, deep = _rule_2(classes, cores, np.array(inside.start), count, _ball())
    home = np.arange(count + 1)
    pieces = cores
    _add_border(pieces.reshape(-1), groups.reshape(-1), core_count, home)
    if count:
        store.write(PIECES, chunk, pieces)
    return Survey(core_count, tally(pieces, count, chunk, shape), home, thin, deep)


@compiled
def _add_border(pieces: NDArray[Any], groups: NDArray[Any], core_count: int, home: NDArray[Any]) -> None:
    """Give the border the numbers after the cores, in place, and note the home of every core."""
    for i in range(pieces.size):
        if pieces[i] != 0:
            home[pieces[i]] = core_count + groups[i]
        elif groups[i] != 0:
            pieces[i] = core_count + groups[i]


def _ball() -> NDArray[np.int64]:
    """List the steps to the other voxels nearer than 3, nearest first: those decide most often."""
    side = range(-DEEP_REACH, DEEP_REACH + 1)
    steps = [(z, y, x) for z in side for y in side for x in side if 0 < z * z + y * y + x * x < 9]
    return np.array(sorted(steps, key=lambda step: sum(n * n for n in step)))


@compiled
def _rule_2(
    classes: NDArray[Any], cores: NDArray[Any], start: NDArray[Any], count: int, ball: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Count the thin voxels of every core until it shows a deep one, which alone decides.

    ``cores`` begins at ``start`` in ``classes``. What lies beyond ``classes`` lies beyond the volume. The first 6 of
    ``ball`` are the face neighbours.
    """
    thin = np.zeros(count + 1, np.int64)
    deep = np.zeros(count + 1, np.bool_)
    depth, height, width = classes.shape
    for z in range(cores.shape[0]):
        for y in range(cores.shape[1]):
            for x in range(cores.shape[2]):
                core = cores[z, y, x]
                if core == 0 or deep[core]:
                    continue
                clear = 0
                for i in range(ball.shape[0]):
                    at_z, at_y, at_x = start[0] + z + ball[i, 0], start[1] + y + ball[i, 1], start[2] + x + ball[i, 2]
                    inside = 0 <= at_z < depth and 0 <= at_y < height and 0 <= at_x < width
                    if inside and classes[at_z, at_y, at_x] != CORE:
                        break
                    clear += 1
                thin[core] += clear < 6
                deep[core] = clear == ball.shape[0]
    return thin, deep


@dataclass(frozen=True, eq=False)
class ContactTask:
    """Two planes of voxels that lie against each other, on either side of a face between chunks."""

    axis: int
    lower: Box
    upper: Box
    parts: tuple[Part, ...]
    """The pieces in both planes, numbered through the volume."""


def contact_tasks(grid: ChunkGrid, pieces: Sequence[Part]) -> list[ContactTask]:
    """List the faces; planes reach one voxel further than a face, so edges and corners between chunks are seen."""
    volume = Box.of_shape(grid.shape)
    tasks = []
    for box in grid.boxes:
        for axis in range(3):
            if box.stop[axis] == grid.shape[axis]:
                continue
            wide = box.grow(1, volume)
            lower, upper = (_plane(wide, axis, at) for at in (box.stop[axis] - 1, box.stop[axis]))
            tasks.append(ContactTask(axis, lower, upper, parts_in(grid, pieces, lower, upper)))
    return tasks


def _plane(box: Box, axis: int, at: int) -> Box:
    z, y, x = ((at, at + 1) if i == axis else (box.start[i], box.stop[i]) for i in range(3))
    return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def contacts(store: Store, task: ContactTask) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """List the pairs of pieces, (n, 2), that touch over faces of voxels, and those that touch at all."""
    a, b = (read_ids(store, task.parts, plane).squeeze(task.axis) for plane in (task.lower, task.upper))
    return face_pairs(a, b), face_pairs(a, b, connectivity=26)


def to_seeds(
    surveys: Sequence[Survey], touching: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]]
) -> list[NDArray[np.int64]]:
    """Apply rules 1 to 3: what grows from where.

    Args:
        surveys: of every chunk; pieces are numbered through them, from 1.
        touching: of every face between chunks, from :func:`contacts`.

    Returns:
        For every chunk (count + 1,), piece → id of the volume: 1..n for the cores that count, in raster order of their
        first voxels; n + 1, … for groups without one; ``UNCLAIMED`` for all other foreground. 0 where a piece has no
        voxels.
    """
    offsets = list(accumulate((s.count for s in surveys), initial=0))
    total = offsets[-1]
    none = np.empty((0, 2), np.uint64)
    faces = np.concatenate([none, *(pairs for pairs, _ in touching)])
    corners = np.concatenate([none, *(pairs for _, pairs in touching)])
    is_core = _joined([np.arange(s.count + 1) <= s.cores for s in surveys], np.bool_)
    home = _joined([s.home + offset for s, offset in zip(surveys, offsets, strict=False)])
    volumes = _joined([s.tally.volumes for s in surveys])

    core = merge(faces[is_core[faces].all(axis=1)], total, np.uint64)
    rank = _ranks(surveys, core, is_core, volumes)[core]

    links = np.stack([np.arange(1, total + 1), home[1:]], axis=1).astype(np.uint64)
    group = merge(np.concatenate([corners, links[is_core[1:]]]), total, np.uint64)
    has_core = np.zeros(total + 1, np.bool_)
    has_core[group[rank > 0]] = True
    alone = (group == np.arange(total + 1)) & ~has_core
    alone[0] = False
    coreless = rank.max() + np.cumsum(alone)

    seeds = np.where(rank > 0, rank, np.where(has_core[group], UNCLAIMED, coreless[group]))
    seeds[volumes == 0] = 0
    return [np.append(0, seeds[a + 1 : b + 1]) for a, b in pairwise(offsets)]


def _ranks(
    surveys: Sequence[Survey], core: NDArray[np.uint64], is_core: NDArray[np.bool_], volumes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give the cores that rule 2 keeps the ids 1..n, at the piece that stands for each; all other pieces have 0."""
    volume, thin, deep = (np.zeros(core.size, np.int64) for _ in range(3))
    first = np.full(core.size, np.iinfo(np.int64).max)
    np.add.at(volume, core, volumes)
    np.add.at(thin, core, _joined([s.thin for s in surveys]))
    np.add.at(deep, core, _joined([s.deep for s in surveys], np.bool_))
    np.minimum.at(first, core, _joined([s.tally.firsts for s in surveys]))
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


def number(labels: Sequence[Labels], min_relative_volume: float) -> NDArray[Any]:
    """Apply rule 5.

    Args:
        labels: of every chunk, after growth.
        min_relative_volume: share of the mean particle volume, 0 or more.

    Returns:
        Table, id of the volume → 1..N in raster order of the first voxel, 0 for particles that are dropped; of
        :func:`label_dtype`.
    """
    ids, volumes, firsts = (
        _joined(columns)
        for columns in (
            [part.ids for part, _ in labels],
            [counted.volumes for _, counted in labels],
            [counted.firsts for _, counted in labels],
        )
    )
    ids, volumes, firsts = (column[volumes > 0] for column in (ids, volumes, firsts))
    volume = np.zeros(ids.max(initial=0) + 1, np.int64)
    first = np.full(volume.size, np.iinfo(np.int64).max)
    np.add.at(volume, ids, volumes)
    np.minimum.at(first, ids, firsts)
    # In float64 as in `keep_and_number`, where the same numbers are rounded in the same places; volume times count
    # as integers would overflow at 10^10 voxels.
    kept = (volume > 0) & (volume.astype(np.float64) * np.count_nonzero(volume) >= min_relative_volume * volume.sum())
    order = np.flatnonzero(kept)
    numbers = np.zeros(volume.size, label_dtype(order.size))
    numbers[order[np.argsort(first[order])]] = np.arange(1, order.size + 1)
    return numbers


def write_instances(store: Store, task: Part) -> None:
    """Replace the local ids of a chunk by the final ones in ``task.ids``."""
    store.write(INSTANCES, task.box, relabel(store.read(task.source, task.box), task.ids))
