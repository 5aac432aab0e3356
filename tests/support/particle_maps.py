"""Border-core maps to put particles together from, and stores and task maps that are stricter than a run's."""

import pickle
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from ps3d_rt.core.border_core import BORDER, to_border_core
from ps3d_rt.core.grid import Box
from ps3d_rt.stages.particles import to_instances_chunked
from ps3d_rt.stages.storage import BORDER_CORE, INSTANCES, MemoryStore


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
