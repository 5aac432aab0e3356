import pickle
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_maps import FileStore, StrictStore, any_order, assert_same, by_post, chunked, grains, maps, snake, whole
from ps3d_rt.core.border_core import BORDER, CORE
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Box
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.stages.growth import GrowTask
from ps3d_rt.stages.particles import to_instances, to_instances_chunked, to_particles
from ps3d_rt.stages.storage import INSTANCES, read_ids

# --- chunked equals whole


@given(
    border_core=maps(),
    chunk=st.one_of(st.sampled_from([3, 5, 7, 11, 99]).map(lambda n: (n,) * 3), st.tuples(*[st.integers(2, 7)] * 3)),
    halo=st.sampled_from([1, 2, 3, 8]),
    share=st.sampled_from([0, 0.005, 0.5, 1]),
    order=st.integers(0, 2**16),
)
@settings(max_examples=60)
def test_any_chunk_halo_and_order_gives_the_labels_of_the_whole(border_core, chunk, halo, share, order):
    found = chunked(border_core, chunk, min_relative_volume=share, halo=halo, map_tasks=any_order(order))
    assert_same(found, to_instances(border_core, min_relative_volume=share))


@given(border_core=maps(side=5))
@settings(max_examples=15)
def test_chunks_of_one_voxel(border_core):
    assert_same(chunked(border_core, (1, 1, 1), halo=1), to_instances(border_core))


@pytest.mark.parametrize("chunk", [(16, 16, 16), (7, 40, 11), (64, 64, 64)])
def test_a_crowd(chunk):
    border_core = grains(np.random.default_rng(0), (40, 40, 40), count=60, radius=7)
    expected = to_instances(border_core)
    assert expected.max() > 40
    assert_same(chunked(border_core, chunk), expected)


def test_tasks_that_meet_in_files_only(tmp_path):
    border_core = grains(np.random.default_rng(1), (20, 20, 20), count=20, radius=5)
    expected = to_instances(border_core)
    store = FileStore(tmp_path, border_core)
    assert to_instances_chunked(store, (20, 20, 20), (7, 8, 9), halo=1, map_tasks=by_post) == expected.max() > 9
    assert_same(store.read(INSTANCES, Box.of_shape((20, 20, 20))), expected)


@pytest.mark.parametrize("fill", [0, CORE, BORDER])
@pytest.mark.parametrize("shape", [(5, 6, 7), (0, 6, 7)])
def test_a_volume_of_one_class(fill, shape):
    border_core = np.full(shape, fill, np.uint8)
    assert_same(chunked(border_core, (2, 3, 4)), to_instances(border_core))


def test_more_particles_than_16_bits_can_name():
    border_core = np.zeros((83, 83, 83), np.uint8)
    border_core[::2, ::2, ::2] = BORDER
    border_core[::4, ::2, ::2] = CORE
    found = chunked(border_core, (40, 33, 83))
    assert found.max() == 42**3 == 74_088
    np.testing.assert_array_equal(found[::2, ::2, ::2].reshape(-1), np.arange(1, 74_089))


def test_parts_hold_the_final_ids():
    border_core = grains(np.random.default_rng(2), (20, 30, 40), count=30, radius=5)
    border_core[0, 0, 0] = BORDER  # a crumb: dropped
    store = StrictStore(border_core)
    parts, count, _ = to_particles(store, store.shape, (9, 30, 11), rules=ParticleFilter(min_relative_volume=0.1))
    expected = to_instances(border_core, min_relative_volume=0.1)
    assert count == expected.max()
    assert [part.box for part in parts] == list(ChunkGrid(border_core.shape, (9, 30, 11)).boxes)
    assert {part.ids.dtype for part in parts} == {np.dtype(np.uint32)}
    assert INSTANCES not in store.arrays
    assert_same(read_ids(store, [part for part in parts if part.ids.size > 1], whole(store), np.uint32), expected)


# --- killed and started again


class KilledError(Exception):
    """Raised in place of what a signal does."""


class Records:
    """What a journal does: finished tasks are loaded, not run again; after ``tasks`` of them the run is killed."""

    def __init__(self, store):
        self.store, self.found, self.tasks = store, {}, 0

    def run(self, tasks):
        calls = count()

        def run(task, items):
            call = next(calls)
            for k, item in enumerate(items):
                if (call, k) not in self.found:
                    if tasks == self.tasks:
                        task(item)  # all is written, but not recorded
                        raise KilledError
                    self.tasks += 1
                    self.found[call, k] = pickle.dumps(task(item))
            return [pickle.loads(self.found[call, k]) for k in range(len(items))]

        return to_instances_chunked(self.store, self.store.shape, (7, 8, 30), halo=2, map_tasks=run)


def test_a_run_killed_after_any_task_goes_on_to_the_same_labels():
    border_core = grains(np.random.default_rng(1), (20, 20, 30), count=20, radius=6)
    border_core[3, 3, :] = border_core[3:, 3, 29] = BORDER  # a tail: several rounds of growth
    expected = to_instances(border_core)
    records = Records(StrictStore(border_core))
    records.run(None)
    total = records.tasks
    assert total > 30
    for tasks in range(0, total, 3):
        records = Records(StrictStore(border_core))
        for stop in (tasks, min(tasks + 2, total - 1)):
            with pytest.raises(KilledError):
                records.run(stop)
        records.run(None)
        assert records.tasks == total
        assert_same(records.store.arrays[INSTANCES], expected)


# --- long ways


@pytest.mark.parametrize("halo", [1, 3, 50])
def test_a_long_tail_belongs_to_its_only_core(halo):
    border_core = np.zeros((5, 9, 60), np.uint8)
    border_core[:, :5, :5] = CORE
    border_core[2, 2, 5:] = BORDER
    border_core[2, 6, 7:] = BORDER  # a tail of its own
    found = chunked(border_core, (4, 4, 4), min_relative_volume=0, halo=halo)
    assert found.max() == 2
    assert_same(found, to_instances(border_core, min_relative_volume=0))


@pytest.mark.parametrize("chunk", [(3, 3, 3), (4, 5, 6)])
@pytest.mark.parametrize("ends", [(), (0,), (-1,), (0, -1)])
def test_a_snake_through_many_chunks(chunk, ends):
    path = snake((5, 7, 9)) + np.array([0, 0, 5])
    border_core = np.zeros((5, 7, 14), np.uint8)
    border_core[tuple(path.T)] = BORDER
    for end in ends:  # both ends of the snake are at x = 5
        z, y, x = path[end]
        border_core[z, y, x - 1] = BORDER
        border_core[:, max(0, y - 2) : y + 3, : x - 1] = CORE
    expected = to_instances(border_core, min_relative_volume=0)
    assert expected.max() == max(1, len(ends))
    assert_same(chunked(border_core, chunk, min_relative_volume=0, halo=2), expected)


def ramp(length, ends):
    """A line of border between cores that are wide enough to count."""
    border_core = np.zeros((4, 4, length + 8), np.uint8)
    border_core[1, 1, 4:-4] = BORDER
    for end in ends:
        border_core[:, :, end] = CORE
    return border_core


@pytest.mark.parametrize("length", range(20, 26))
def test_two_fronts_meet_where_the_whole_volume_says(length):
    border_core = ramp(length, [slice(0, 4), slice(-4, None)])
    expected = to_instances(border_core)
    assert np.bincount(expected.reshape(-1))[1:].tolist() == [64 + (length + 1) // 2, 64 + length // 2]
    for halo in range(1, 15):
        assert_same(chunked(border_core, (4, 4, 3), halo=halo), expected)


def test_reads_are_bounded_however_long_a_way_is():
    border_core = ramp(200, [slice(0, 4)])
    store, read = StrictStore(border_core), []

    def run(task, items):
        read.extend(item.read.shape for item in items if isinstance(item, GrowTask))
        return [task(item) for item in items]

    assert to_instances_chunked(store, border_core.shape, (2, 3, 4), halo=5, map_tasks=run) == 1
    assert store.arrays[INSTANCES][1, 1, :-4].all()
    assert max(read) == (4, 4, 14)
    assert store.largest_read == (4, 4, 8)  # one chunk, and 2 voxels around it in the survey


def test_chunks_far_from_any_change_do_not_run():
    border_core = ramp(120, [slice(0, 4)])
    rounds = []

    def run(task, items):
        results = [task(item) for item in items]
        rounds.extend([len(items)] * (len(items) > 0 and isinstance(items[0], GrowTask)))
        return results

    chunked(border_core, (4, 4, 8), halo=4, map_tasks=run)
    assert len(rounds) > 20
    assert max(rounds[1:]) <= 3
