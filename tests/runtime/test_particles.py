import pickle
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.border_core import BORDER, CORE, to_border_core
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, LabelStatistics
from ps3d_rt.core.grid import Box
from ps3d_rt.core.growth import UNCLAIMED
from ps3d_rt.core.numbering import number
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.core.seeds import Survey, to_seeds
from ps3d_rt.errors import InputError
from ps3d_rt.stages.growth import GrowTask
from ps3d_rt.stages.particles import contact_tasks, contacts, survey, to_instances, to_instances_chunked, to_particles
from ps3d_rt.stages.storage import BORDER_CORE, FRAGMENTS, GROWN, INSTANCES, MemoryStore, read_ids


class StrictStore(MemoryStore):
    """Holds garbage where nothing was written, which is not to be read; remembers the largest box that was read."""

    def __init__(self, border_core):
        super().__init__(border_core.shape)
        self.arrays[BORDER_CORE] = border_core
        self.written = {BORDER_CORE: np.ones(border_core.shape, bool)}
        self.largest_read = (0, 0, 0)

    def create(self, name, dtype):
        if name not in self.arrays:
            self.arrays[name] = np.full(self.shape, 0 if name == INSTANCES else 4_000_000_000, dtype)
            self.written[name] = np.zeros(self.shape, bool)

    def read(self, name, box):
        assert min(box.start) >= 0
        assert all(b <= n for b, n in zip(box.stop, self.shape, strict=True))
        assert self.written[name][box.slices].all()
        self.largest_read = tuple(max(a, b) for a, b in zip(self.largest_read, box.shape, strict=True))
        return super().read(name, box).copy()

    def write(self, name, box, values):
        assert values.dtype == self.arrays[name].dtype
        assert values.shape == box.shape
        super().write(name, box, values)
        self.written[name][box.slices] = True


class FileStore:
    """Arrays in files: what one copy of the store writes, another one reads."""

    def __init__(self, folder: Path, border_core):
        self.folder, self.shape = folder, border_core.shape
        self.create(BORDER_CORE, border_core.dtype)
        self.write(BORDER_CORE, Box.of_shape(self.shape), border_core)

    def create(self, name, dtype):
        if not (self.folder / f"{name}.npy").exists():
            np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", dtype, self.shape)

    def read(self, name, box):
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")[box.slices].copy()

    def write(self, name, box, values):
        np.load(self.folder / f"{name}.npy", mmap_mode="r+")[box.slices] = values


def any_order(seed):
    """A pool whose tasks run in random order."""

    def run(task, items):
        results = [None] * len(items)
        for i in np.random.default_rng(seed).permutation(len(items)):
            results[i] = task(items[i])
        return results

    return run


def by_post(task, items):
    """A pool of processes: last task first, and only pickled copies of tasks and results are seen."""

    def copy(thing):
        return pickle.loads(pickle.dumps(thing))

    return [copy(copy(task)(copy(item))) for item in items[::-1]][::-1]


def chunked(border_core, chunk, **options):
    store = StrictStore(border_core)
    number_of = to_instances_chunked(store, border_core.shape, chunk, **options)
    found = store.arrays[INSTANCES]
    assert number_of == found.max(initial=0)
    return found


def whole(store):
    return Box.of_shape(store.shape)


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@st.composite
def maps(draw, side=11):
    """Boxes of one class painted over another, grains, tubes of border and noise: what chunks can cut badly."""
    shape = draw(st.tuples(*[st.integers(1, side)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    volume = np.zeros(shape, np.uint8)
    if draw(st.booleans()):
        volume = grains(rng, shape, count=draw(st.integers(1, 6)), radius=draw(st.integers(2, 6)))
    for _ in range(draw(st.integers(0, 8))):
        start, size = rng.integers(0, shape), rng.integers(1, side, 3)
        at = tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))
        volume[at] = draw(st.sampled_from([0, 1, 1, 2]))
    for _ in range(draw(st.integers(0, 3))):
        walk(rng, volume, draw(st.integers(1, 60)))
    if draw(st.booleans()):
        noise = rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.8]))
        volume[noise] = rng.choice(np.array([0, 1, 1, 2], np.uint8), noise.sum())
    return volume


def grains(rng, shape, count, radius):
    seeds = rng.integers(0, shape, (count, 3))
    squares = sum((np.indices(shape)[i][..., None] - seeds[:, i]) ** 2 for i in range(3))
    instances = np.where(squares.min(axis=-1) < radius**2, squares.argmin(axis=-1) + 1, 0)
    return to_border_core(instances, 1.5)


def walk(rng, volume, length):
    """Draw a random path of border voxels, which may pass over corners."""
    at = rng.integers(0, volume.shape)
    for _ in range(length):
        volume[tuple(at)] = BORDER
        at = np.clip(at + rng.integers(-1, 2, 3), 0, np.array(volume.shape) - 1)


def snake(shape):
    """A path one voxel wide that fills a volume with odd sides, as (n, 3) voxels in order: no shortcuts."""
    depth, height, width = shape
    path = []
    for z in range(0, depth, 2):
        layer = []
        for y in range(0, height, 2):
            row = [(z, y, x) for x in range(width)]
            layer += row if y % 4 == 0 else row[::-1]
            if y + 2 < height:
                layer.append((z, y + 1, layer[-1][2]))
        path += layer if z % 4 == 0 else layer[::-1]
        if z + 2 < depth:
            path.append((z + 1, *path[-1][1:]))
    return np.array(path)


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


# --- rule 2 across chunks


def beside_a_large_core(thin_core):
    """``thin_core``, (z, y, x) true, in a box of border that holds a large core too."""
    border_core = np.full((9, 44, 64), BORDER, np.uint8)
    border_core[1:8, 10:20, 54:62] = CORE
    border_core[:, :, :50][thin_core] = CORE
    return border_core


def sheet(cube):
    core = np.zeros((9, 44, 50), bool)
    core[4, 2:42, 2:42] = True
    core[cube, 14:19, 14:19] = True
    return core


def star(tail):
    core = np.zeros((9, 44, 50), bool)
    core[3:6, 14, 14] = core[4, 13:16, 14] = core[4, 14, 13:16] = True
    core[4, 14, 16 : 16 + tail] = True
    return core


@pytest.mark.parametrize(
    ("core", "counts"),
    [
        (sheet(slice(2, 7)), True),  # a cube of 5 in the sheet: its centre is deep
        (sheet(slice(2, 6)), False),
        (star(tail=12), True),  # 18 of 19 voxels are shallow
        (star(tail=13), False),  # 19 of 20
    ],
)
@pytest.mark.parametrize("chunk", [(4, 15, 15), (5, 16, 16), (3, 17, 17), (9, 44, 15)])
def test_rule_2_drops_the_cores_of_the_whole(core, counts, chunk):
    border_core = beside_a_large_core(core)
    found = chunked(border_core, chunk)
    assert found.max() == 1 + counts
    assert_same(found, to_instances(border_core))


# --- the parts


def test_rule_2_sees_past_the_chunk():
    whole = np.full((9, 60, 60), BORDER, np.uint8)
    whole[4, 2:52, 2:52] = CORE  # a sheet, shallow
    assert to_instances(whole).max() == 1
    whole[2:7, 8:13, 8:13] = CORE  # a cube of 5: its centre is deep
    store = StrictStore(whole)
    store.create(FRAGMENTS, np.uint32)
    centre = survey(store, whole.shape, 1, Box((4, 10, 10), (5, 11, 11)))
    assert (centre.cores, centre.deep[1], centre.shallow[1]) == (1, True, 0)
    beside = survey(store, whole.shape, 1, Box((4, 10, 11), (5, 11, 12)))
    assert (beside.cores, beside.deep[1], beside.shallow[1]) == (1, False, 0)
    edge = survey(store, whole.shape, 1, Box((2, 8, 8), (3, 9, 9)))
    assert (edge.cores, edge.deep[1], edge.shallow[1]) == (1, False, 1)


def test_the_ball_of_distance_3_holds_the_diagonal_of_2():
    z, y, x = np.indices((7, 7, 7)) - 3
    ball = np.where(z * z + y * y + x * x < 9, CORE, BORDER).astype(np.uint8)
    for cut, deep in [(None, True), ((5, 5, 3), False), ((5, 5, 5), True)]:
        volume = ball.copy()
        if cut:
            volume[cut] = BORDER
        store = StrictStore(volume)
        store.create(FRAGMENTS, np.uint32)
        assert survey(store, (7, 7, 7), 1, Box((3, 3, 3), (4, 4, 4))).deep[1] == deep


def test_contacts_reach_over_edges_and_corners_between_chunks():
    for corner in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        border_core = np.zeros((2, 2, 2), np.uint8)
        border_core[corner] = border_core[tuple(1 - n for n in corner)] = BORDER
        store = StrictStore(border_core)
        store.create(FRAGMENTS, np.uint32)
        grid = ChunkGrid((2, 2, 2), (1, 1, 1))
        surveys = [survey(store, grid.shape, 1, box) for box in grid.boxes]
        tasks = contact_tasks(grid, [s.count for s in surveys])
        assert len(tasks) == 1
        found = [contacts(store, task) for task in tasks]
        assert sum(len(faces) for faces, _ in found) == 0
        assert [touching.tolist() for _, touching in found] == [[[1, 2]]]


# --- more than 2^31 voxels, more than 2^32 ids: small stand-ins


def two_cores_and_their_border(volumes, first_index, shallow):
    return Survey(
        statistics=LabelStatistics(np.array([0, *volumes, 9]), np.array([0, *first_index, 0]), np.zeros(4, np.uint8)),
        group_id=np.array([0, 3, 3, 3], np.uint32),
        shallow=np.array([0, *shallow]),
        deep=np.zeros(3, bool),
    )


@pytest.mark.parametrize(
    ("shallow", "deep", "expected"),
    [
        (10 * 2**31 - 1, False, ([0, 2, 1, UNCLAIMED], [0, 2, UNCLAIMED, UNCLAIMED])),
        (10 * 2**31, False, ([0, UNCLAIMED, 1, UNCLAIMED], [0, UNCLAIMED, UNCLAIMED, UNCLAIMED])),
        (10 * 2**31, True, ([0, 2, 1, UNCLAIMED], [0, 2, UNCLAIMED, UNCLAIMED])),
    ],
)
def test_sums_past_2_to_the_31_decide_rule_2_and_the_order(shallow, deep, expected):
    one = two_cores_and_their_border([10 * 2**31, 2**33], [2**35, 2**34], [9 * 2**31, 0])
    two = two_cores_and_their_border([10 * 2**31, 2**32], [2**36, 2**33], [shallow, 2**32])
    two.deep[1] = deep
    faces = np.array([[1, 4]], np.uint64)  # the first cores of both chunks are one, of 20 · 2^31 voxels
    corners = np.array([[1, 4], [3, 6]], np.uint64)
    assert [ids.tolist() for ids in to_seeds([one, two], [(faces, corners)])] == list(expected)


def test_rule_5_past_2_to_the_63():
    box = Box.of_shape((1, 1, 1))
    ids = np.arange(5)
    volumes = np.array([0, 2**62, 2**61, 2**50, 2**62 // 200])  # times 4 they overflow
    labels = [
        (ChunkLabels(GROWN[0], box, ids), LabelStatistics(volumes, np.array([0, 2**40, 2**33, 2**20, 2**50]), ids))
    ]
    assert number(labels, (1, 1, 1), ParticleFilter(largest_dropped=2.0**63)).numbers.tolist() == [0, 2, 1, 0, 3]


def test_numbers_follow_the_first_voxel_of_all_chunks():
    box, ids = Box.of_shape((1, 1, 1)), np.zeros(3)
    volumes = np.array([9, 5, 5])
    first = LabelStatistics(volumes, np.array([0, 2**32 + 5, 2**33]), ids)
    second = LabelStatistics(volumes, np.array([0, 2**31, 2**32]), ids)
    one = ChunkLabels(GROWN[0], box, np.array([0, 3, 1])), first
    two = ChunkLabels(GROWN[1], box, np.array([0, 1, 2])), second
    table = number([one, two], (1, 1, 1), ParticleFilter(min_relative_volume=0)).numbers
    assert (table.dtype, table.tolist()) == (np.uint32, [0, 1, 2, 3])


# --- what is refused


def test_a_halo_of_nothing_is_refused():
    with pytest.raises(InputError, match="the halo is 0"):
        chunked(np.zeros((2, 2, 2), np.uint8), (2, 2, 2), halo=0)


def test_what_is_not_a_border_core_map_is_refused():
    with pytest.raises(InputError, match="got 3; instances need"):
        chunked(np.full((2, 2, 2), 3, np.uint8), (2, 2, 2))
