import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, label_statistics
from ps3d_rt.core.grid import Box
from ps3d_rt.core.growth import UNCLAIMED
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_rt.stages.growth import Excerpt, GrowTask, grow, grow_chunk
from ps3d_rt.stages.particles import survey
from ps3d_rt.stages.storage import BORDER_CORE, FRAGMENTS, GROWN, MemoryStore, read_ids

CUBE = ndimage.generate_binary_structure(3, 3)
NOBODY = 2**50  # scipy's filters count in float64


class ShiftedStore:
    """A small array that lies at ``origin`` in a volume too large to make."""

    def __init__(self, origin, **arrays):
        self.origin, self.arrays = origin, arrays

    def local(self, box):
        return box.relative_to(Box(self.origin, self.origin)).slices

    def read(self, name, box):
        return self.arrays[name][self.local(box)]

    def write(self, name, box, values):
        self.arrays[name][self.local(box)] = values


def grown(labels, ids, chunk, steps=1, map_tasks=map):
    """Grow ``labels``, where the largest is unclaimed and the others become ``ids``."""
    store, grid = MemoryStore(labels.shape), ChunkGrid(labels.shape, chunk)
    store.arrays[FRAGMENTS] = labels.astype(np.uint32)
    table = np.array([0, *ids, UNCLAIMED])
    parts = [
        (
            ChunkLabels(FRAGMENTS, box, table),
            label_statistics(store.read(FRAGMENTS, box), table.size - 1, box, labels.shape, steps),
        )
        for box in grid.boxes
    ]
    found = grow(store, grid, parts, steps, map_tasks)
    for part, counted in found:
        assert counted.volumes[1:].tolist() == [
            np.count_nonzero(store.read(part.source, part.box) == k) for k in range(1, part.ids.size)
        ]
    return read_ids(store, [part for part, _ in found], Box.of_shape(labels.shape))


def plainly_grown(labels, ids):
    """Step by step, over the whole volume."""
    free = labels == len(ids) + 1
    out = np.where(free, 0, np.array([0, *ids, 0])[labels])
    while True:
        near = ndimage.minimum_filter(np.where(out == 0, NOBODY, out), footprint=CUBE, mode="constant", cval=NOBODY)
        claimed = free & (out == 0) & (near < NOBODY)
        if not claimed.any():
            return out
        out = np.where(claimed, near, out)


@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    chunk=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 2**32 - 1),
    foreground=st.sampled_from([0.1, 0.2, 0.4, 0.8]),
    seeds=st.integers(1, 6),
    steps=st.sampled_from([1, 2, 5]),
)
@settings(max_examples=100)
def test_chunks_grow_as_the_whole(shape, chunk, seed, foreground, seeds, steps):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(shape) < foreground, 4, 0)
    for k in rng.integers(1, 4, seeds):
        labels[tuple(rng.integers(0, shape))] = k
    ids = rng.permutation([5, 2**33, 2**40])
    expected = plainly_grown(labels, ids)
    labels[(labels != 0) & (expected == 0)] = 0  # what no core reaches
    np.testing.assert_array_equal(grown(labels, ids, chunk, steps), expected)


@pytest.mark.parametrize(("row", "expected"), [([1, 3, 3, 3, 2], [1, 1, 1, 2, 2]), ([2, 3, 3, 3, 1], [2, 2, 1, 1, 1])])
def test_a_tie_goes_to_the_lowest_id(row, expected):
    for chunk in (1, 2, 5):
        assert grown(np.array([[row]]), [1, 2], (1, 1, chunk)).tolist() == [[expected]]
        assert grown(np.array([[row]]), [2**40 + 1, 2**40 + 2], (1, 1, chunk)).ravel().tolist() == [
            2**40 + n for n in expected
        ]


def test_growth_stays_inside_the_foreground():
    labels = np.array([[[1, 3, 3, 3, 3], [0, 0, 0, 0, 0], [0, 0, 3, 3, 2]]])
    for chunk in (1, 2, 5):
        found = grown(labels, [1, 2], (1, chunk, chunk))
        assert found.tolist() == [[[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 2, 2, 2]]]


def test_a_way_inside_a_chunk_takes_one_round_and_one_along_a_face_takes_more():
    labels = np.zeros((1, 5, 60), int)
    labels[0, 1, 1:59] = 2
    labels[0, 1, 1] = 1
    rounds = []

    def run(task, items):
        rounds.append(len(items))
        return [task(item) for item in items]

    assert np.count_nonzero(grown(labels, [1], (1, 3, 60), map_tasks=run)) == 58
    assert rounds == [1]
    rounds.clear()
    assert np.count_nonzero(grown(labels, [1], (1, 2, 60), map_tasks=run)) == 58
    assert len(rounds) == 57


def test_tasks_carry_only_what_lies_near():
    """Of the chunks around, a tenth of their labels; all of their own."""
    side, steps = 30, 1
    border_core = np.zeros((side, side, side), np.uint8)
    border_core[::2, ::2, ::2] = 2
    border_core[9:21, 9:21, 9:21] = 2
    border_core[10:20, 10:20, 10:20] = 1
    store, grid = MemoryStore(border_core.shape), ChunkGrid(border_core.shape, (10, 10, 10))
    store.arrays[BORDER_CORE] = border_core
    store.create(FRAGMENTS, np.uint32)
    surveys = [survey(store, grid.shape, steps, box) for box in grid.boxes]
    ids = [np.append(0, np.full(s.count, UNCLAIMED)) for s in surveys]
    ids[13][1] = 1
    sizes = []

    def run(task, items):
        sizes.extend(
            (labels.local.size, ids[k].size)
            for item in items
            for k, box in enumerate(grid.boxes)
            for labels in item.labels
            if box.intersect(labels.box).size and item.chunk != box
        )
        return [None for _ in items]

    labels = [
        (ChunkLabels(FRAGMENTS, box, n), s.statistics) for box, n, s in zip(grid.boxes, ids, surveys, strict=True)
    ]
    with pytest.raises(Ps3dError, match="no core reaches"):
        grow(store, grid, labels, steps, run)
    sent, held = np.sum(sizes, axis=0)
    assert held > 15_000
    assert sent < held / 5


def test_growth_that_cannot_end_is_an_error():
    with pytest.raises(Ps3dError, match="no core reaches the foreground of 2 chunks"):
        grown(np.array([[[0, 2, 2, 0, 1]]]), [1], (1, 1, 2))


def test_stored_labels_that_no_table_knows_are_an_error():
    store = MemoryStore((1, 1, 2))
    store.arrays[FRAGMENTS] = np.array([[[1, 7]]], np.uint32)
    box = Box.of_shape((1, 1, 2))
    labels = Excerpt(FRAGMENTS, box, np.array([0, 1], np.uint32), np.array([0, UNCLAIMED]))
    with pytest.raises(InputError, match="holds id 7, the table ends at 1"):
        grow_chunk(store, GrowTask(box, box, (labels,), 1, GROWN[0], 1, (1, 1, 2)))


# --- more than 2^31 voxels, more than 2^32 ids: small stand-ins

HUGE = (5000, 4000, 3000)
FAR = (4990, 3980, 2970)


def far_index(z, y, x):
    return ((FAR[0] + z) * 4000 + FAR[1] + y) * 3000 + FAR[2] + x


def test_a_chunk_far_from_the_origin_is_surveyed_and_grown():
    border_core = np.zeros((10, 20, 30), np.uint8)
    border_core[2, 3, 4:10] = 2
    border_core[2, 3, 6] = 1
    store = ShiftedStore(FAR, **{BORDER_CORE: border_core, FRAGMENTS: np.zeros((10, 20, 30), np.uint32)})
    box = Box(tuple(n + 2 for n in FAR), HUGE)
    found = survey(store, HUGE, 2, box)
    assert (found.cores, found.count) == (1, 2)
    assert found.statistics.first_index[1:].tolist() == [far_index(2, 3, 6), far_index(2, 3, 4)]

    store.arrays[GROWN[0]] = np.zeros((10, 20, 30), np.uint32)
    labels = Excerpt(FRAGMENTS, box, np.arange(3, dtype=np.uint32), np.array([0, 2**40, UNCLAIMED]))
    task = pickle.loads(pickle.dumps(GrowTask(box, box, (labels,), 5, GROWN[0], 2, HUGE)))
    part, counted = grow_chunk(store, task)
    assert part.ids.tolist() == [0, 2**40, UNCLAIMED]
    assert counted.volumes[1:].tolist() == [5, 1]
    assert counted.first_index[1:].tolist() == [far_index(2, 3, 4), far_index(2, 3, 9)]
    assert store.arrays[GROWN[0]][2, 3, :11].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 0]
