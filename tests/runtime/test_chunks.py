import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, label_statistics, raster_index
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.stages.storage import MemoryStore, read_ids


@given(shape=st.tuples(*[st.integers(1, 9)] * 3), chunk=st.tuples(*[st.integers(1, 5)] * 3), draw=st.data())
@settings(max_examples=50)
def test_chunks_tile_the_volume_and_touching_finds_all(shape, chunk, draw):
    grid = ChunkGrid(shape, chunk)
    owner = np.full(shape, -1)
    for k, box in enumerate(grid.boxes):
        assert (owner[box.slices] == -1).all()
        owner[box.slices] = k
    assert (owner >= 0).all()
    start = tuple(draw.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(draw.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    assert grid.touching(Box(start, stop)) == np.unique(owner[Box(start, stop).slices]).tolist()


@pytest.mark.parametrize("chunk", [(0, 4, 4), (4, 4), (2048, 2048, 2048)])
def test_chunks_that_cannot_be_used_are_refused(chunk):
    with pytest.raises(InputError, match="three sides of 1 or more"):
        ChunkGrid((9, 9, 9), chunk)


def test_ids_are_read_from_several_arrays_and_are_0_elsewhere():
    one, two = np.array([[[1, 2, 1, 1, 1, 1]]], np.uint32), np.array([[[1, 1, 1, 0, 1, 1]]], np.uint32)
    parts = (
        ChunkLabels("one", Box((0, 0, 0), (1, 1, 2)), np.array([0, 7, 2**40])),
        ChunkLabels("one", Box((0, 0, 9), (1, 1, 10)), np.array([0, 5])),
        ChunkLabels("two", Box((0, 0, 3), (1, 1, 5)), np.array([0, 8])),
    )
    store = MemoryStore((1, 1, 6))
    store.arrays.update(one=one, two=two)
    found = read_ids(store, parts, Box((0, 0, 1), (1, 1, 6)))
    assert found.tolist() == [[[2**40, 0, 0, 8, 0]]]


def test_first_voxels_past_2_to_the_31():
    volume = (5000, 4000, 3000)
    box = Box((4990, 3980, 2970), (4991, 3982, 2972))
    corner = (4990 * 4000 + 3980) * 3000 + 2970
    assert raster_index(np.array([0]), box, volume).tolist() == [corner]
    found = label_statistics(np.array([[[1, 2], [2, 2]]], np.uint32), 2, box, volume)
    assert found.first_index[1:].tolist() == [corner, corner + 1]
    assert found.volumes[1:].tolist() == [1, 3]


def test_an_array_that_is_there_is_not_wiped():
    store = MemoryStore((1, 2, 3))
    store.create("one", np.uint32)
    box = Box((0, 1, 1), (1, 2, 3))
    store.write("one", box, np.array([[[5, 2**32 - 1]]], np.uint32))
    store.create("one", np.uint32)
    assert store.read("one", Box.of_shape((1, 2, 3))).tolist() == [[[0, 0, 0], [0, 5, 2**32 - 1]]]


@given(shape=st.tuples(*[st.integers(1, 6)] * 3), seed=st.integers(0, 2**16), reach=st.integers(0, 3))
@settings(max_examples=40)
def test_a_tally_is_what_a_look_at_every_voxel_says(shape, seed, reach):
    labels = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint32)
    found = label_statistics(labels, 5, Box.of_shape(shape), shape, reach)
    for label in range(1, 6):
        at = np.argwhere(labels == label)
        assert found.volumes[label] == len(at)
        if len(at):
            assert found.first_index[label] == np.flatnonzero(labels == label)[0]
        faces = [f for n, side in zip(at.T, shape, strict=True) for f in ((n < reach).any(), (n >= side - reach).any())]
        assert found.near[label] == sum(bool(near) << bit for bit, near in enumerate(faces))
