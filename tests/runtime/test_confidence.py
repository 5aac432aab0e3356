"""How sure the network is of a particle's core, and of the border to the particles that it touches."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels
from ps3d_rt.core.confidence import ParticleConfidence, to_confidence
from ps3d_rt.core.fragments import CORE
from ps3d_rt.stages.confidence import add_up_scores, score_tasks
from ps3d_rt.stages.storage import BORDER_CORE, CORE_SCORE, FOREGROUND_SCORE, MemoryStore

IDS = [[1, 1, 2, 0], [1, 3, 2, 2]]
CLASSES = [[1, 2, 2, 0], [1, 2, 1, 2]]
FOREGROUND_PERCENT = [[100, 80, 70, 0], [90, 60, 100, 70]]
CORE_PERCENT = [[90, 30, 10, 0], [70, 10, 80, 30]]
# Border less core:  -80   20   50             -50   40  -60   10


def stored(ids, classes, foreground, core):
    """A store of one plane or of a volume, with the ids in it."""
    arrays = [np.array(a, ndmin=3) for a in (ids, classes, foreground, core)]
    store = MemoryStore(arrays[0].shape)
    names = "ids", BORDER_CORE, FOREGROUND_SCORE, CORE_SCORE
    store.arrays |= {
        name: a.astype(np.uint32 if name == "ids" else np.uint8) for name, a in zip(names, arrays, strict=True)
    }
    return store


def sure(store, chunk, names=None):
    """Put the ids into local ones of chunks, give them their final ``names``, and ask how sure the network is."""
    ids = store.arrays["ids"]
    names = np.arange(int(ids.max()) + 1) if names is None else np.array(names)
    grid, parts = ChunkGrid(ids.shape, chunk), []
    store.create("labels", np.uint32)
    for box in grid.boxes:
        here = np.union1d(0, ids[box.slices])
        store.write("labels", box, np.searchsorted(here, ids[box.slices]))
        parts.append(ChunkLabels("labels", box, names[here]))
    found = map(partial(add_up_scores, store), score_tasks(grid, parts))
    confidence, _ = to_confidence(found, int(names.max()))
    return confidence


def values(confidence):
    return [column.tolist() for column in confidence.columns().values()]


def as_bytes(confidence):
    return [column.tobytes() for column in confidence.columns().values()]


@pytest.mark.parametrize("chunk", [(1, 2, 4), (1, 1, 4), (1, 2, 3), (1, 2, 1), (1, 1, 1)])
def test_three_particles_in_the_head(chunk):
    found = sure(stored(IDS, CLASSES, FOREGROUND_PERCENT, CORE_PERCENT), chunk)
    assert found.confidence.tolist() == [270 / 300, 240 / 300, 60 / 100]
    np.testing.assert_array_equal(found.core_confidence, [160 / 200, 80 / 100, np.nan], "the third has no core")
    # Faces: of 1 to 3 two with 20 + 40 and -50 + 40, of 1 to 2 one with 20 + 50, of 2 to 3 one with 40 - 60.
    assert found.contact_margin.tolist() == [(60 - 10 + 70) / 600, (70 - 20) / 400, (60 - 10 - 20) / 600]


def test_what_touches_none_or_only_what_was_dropped_has_no_margin():
    store = stored([[1, 2, 2, 0, 3]], [[1, 1, 1, 0, 1]], [[90, 90, 90, 0, 90]], [[90, 90, 90, 0, 90]])
    assert sure(store, (1, 1, 2)).contact_margin[:2].tolist() == [-0.9, -0.9]
    found = sure(store, (1, 1, 2), names=[0, 1, 0, 2])
    assert values(found)[:2] == [[0.9, 0.9], [0.9, 0.9]]
    assert np.isnan(found.contact_margin).all()


def test_the_margin_goes_from_all_border_to_all_core():
    for core, margin in ((0, 1.0), (50, 0.0), (100, -1.0)):
        found = sure(stored([[1, 2]], [[2, 2]], [[100, 100]], [[core, core]]), (1, 1, 1))
        assert found.contact_margin.tolist() == [margin, margin]


@pytest.mark.parametrize("names", [None, [0, 0, 0, 0]])
def test_no_particles_no_numbers(names):
    ids = np.zeros((2, 4), int) if names is None else IDS
    found = sure(stored(ids, CLASSES, FOREGROUND_PERCENT, CORE_PERCENT), (1, 1, 2), names)
    assert values(found) == [[], [], []]


def plainly(store):
    """What :func:`sure` finds, asked particle by particle."""
    ids, classes, foreground, core = (
        store.arrays[name].astype(int) for name in ("ids", BORDER_CORE, FOREGROUND_SCORE, CORE_SCORE)
    )
    faces = []
    for axis in range(3):
        for a, b in zip(
            *(np.moveaxis(ids, axis, 0)[part].ravel() for part in (slice(-1), slice(1, None))), strict=True
        ):
            faces.append((a, b))
    margins = []
    for axis in range(3):
        margin = np.moveaxis(foreground - 2 * core, axis, 0)
        margins += (margin[:-1] + margin[1:]).ravel().tolist()
    columns = [[], [], []]
    for k in range(1, int(ids.max()) + 1):
        here, cores = ids == k, (ids == k) & (classes == CORE)
        touching = [m for m, (a, b) in zip(margins, faces, strict=True) if a != b and a and b and k in {a, b}]
        means = (foreground[here], 100), (core[cores], 100), (np.array(touching), 200)
        for column, (some, full) in zip(columns, means, strict=True):
            column.append(some.sum() / (full * some.size) if some.size else np.nan)
    return columns


@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    chunk=st.tuples(*[st.integers(1, 8)] * 3),
    seed=st.integers(0, 2**32 - 1),
    background=st.sampled_from([0.0, 0.3, 0.9]),
)
@settings(max_examples=80, deadline=None)
def test_any_chunks_give_the_bytes_of_the_whole(shape, chunk, seed, background):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 5, shape) * (rng.random(shape) >= background)
    _, ids = np.unique(np.append(0, ids), return_inverse=True)
    ids = ids[1:].reshape(shape)
    foreground = rng.integers(34, 101, shape) * (ids > 0)
    core = (foreground * rng.random(shape)).astype(int)
    store = stored(ids, np.where(ids > 0, rng.integers(1, 3, shape), 0), foreground, core)
    whole = sure(store, shape)
    assert as_bytes(sure(store, chunk)) == as_bytes(whole)
    np.testing.assert_array_equal(values(whole), plainly(store))


def test_numbers_follow_their_particles():
    columns = {name: np.array([0.1, 0.2, 0.3]) for name in ("confidence", "core_confidence", "contact_margin")}
    assert values(ParticleConfidence(**columns).take(np.array([3, 1], np.uint64))) == [[0.3, 0.1]] * 3


def test_every_particle_ends_where_its_last_voxel_lies():
    ids = np.zeros((7, 2, 3), int)
    ids[1:3, 0, 0] = 1
    ids[2:6, 1, 1:] = 2
    ids[6, 0, 2] = 3
    classes, percent = (ids > 0).astype(int), 90 * (ids > 0)
    store = MemoryStore(ids.shape)
    for name, values_ in zip(
        ("ids", BORDER_CORE, FOREGROUND_SCORE, CORE_SCORE), (ids, classes, percent, percent), strict=True
    ):
        store.arrays[name] = values_.astype(np.uint32 if name == "ids" else np.uint8)
    for chunk in ((7, 2, 3), (2, 1, 2), (3, 2, 1)):
        grid, parts = ChunkGrid(ids.shape, chunk), []
        parts = [ChunkLabels("ids", box, np.arange(4)) for box in grid.boxes]
        _, stops = to_confidence(map(partial(add_up_scores, store), score_tasks(grid, parts)), 3)
        assert stops.tolist() == [0, 3, 6, 7]


def test_ids_past_32_bits_are_told_apart():
    store = stored([[1, 2, 0]], [[1, 1, 0]], [[100, 80, 0]], [[90, 60, 0]])
    grid = ChunkGrid((1, 1, 3), (1, 1, 3))
    part = ChunkLabels("ids", grid.boxes[0], np.array([0, 2**33, 2**33 + 1], np.uint64))
    (task,) = score_tasks(grid, [part])
    found = add_up_scores(store, task)
    assert (found.ids.dtype, found.ids.tolist()) == (np.int64, [2**33, 2**33 + 1])
    assert found.sums[:, :2].tolist() == [[1, 100], [1, 80]]
