"""The two other ways from a border-core map to particles, on maps one can check by eye, and against ours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ps3d_bench.baselines import plain, published
from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.stages.particles import to_instances

WAYS = pytest.mark.parametrize("way", [published, plain], ids=["published", "plain"])


def row(*values: int) -> np.ndarray:
    return np.array([[values]], np.uint8)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Give the labels the numbers 1, 2, … in raster order of their first voxels."""
    ids, first = np.unique(labels, return_index=True)
    ids = ids[np.argsort(first)]
    table = np.zeros(int(labels.max()) + 1, np.uint32)
    table[ids[ids > 0]] = np.arange(1, np.count_nonzero(ids) + 1)
    return table[labels]


def balls(*spheres: tuple[tuple[int, int, int], float]) -> np.ndarray:
    z, y, x = np.indices((20, 20, 40))
    labels = np.zeros(z.shape, np.uint32)
    for number, (center, radius) in enumerate(spheres, start=1):
        distance = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
        labels[(distance <= radius) & (labels == 0)] = number
    return labels


@WAYS
def test_cores_grow_towards_each_other_and_a_group_without_one_is_a_particle(way):
    labels = way.particles(row(1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 0, 2, 2))
    assert numbered(labels).tolist() == [[[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 3, 3]]]


def test_in_the_published_way_the_first_core_wins_a_tie():
    labels = published.particles(row(1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1))
    assert numbered(labels).tolist() == [[[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]]]


@WAYS
def test_a_thin_core_is_border(way):
    # The core of two voxels between borders is all rim; the one of three has a voxel inside.
    labels = way.particles(row(2, 1, 1, 2, 2, 2, 1, 1, 1, 2))
    assert numbered(labels).max() == 1
    labels = way.particles(row(2, 1, 1, 1, 2, 2, 1, 1, 1, 2))
    assert numbered(labels).tolist() == [[[1, 1, 1, 1, 1, 2, 2, 2, 2, 2]]]


@WAYS
def test_a_thin_core_that_is_deep_somewhere_stays(way):
    border_core = np.full((13, 40, 48), 2, np.uint8)
    border_core[6:8, 2:38, 2:38] = 1  # a plate of two voxels: all of it is rim
    border_core[5:9, 20:24, 42:46] = 1  # a cube, so that one core is there in any case
    assert numbered(way.particles(border_core)).max() == 1
    z, y, x = np.indices(border_core.shape)
    border_core[(z - 6) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 12] = 1  # a ball in it: distance 3 at its centre
    assert numbered(way.particles(border_core)).max() == 2


@WAYS
def test_small_particles_are_removed_and_only_those(way):
    border_core = row(*[1] * 20, 0, 2, 0, 2, 2)  # 20, 1 and 2 voxels; mean 23 / 3
    assert numbered(way.particles(border_core)).max() == 3
    labels = way.particles(border_core, min_relative_volume=0.2)
    assert (labels[0, 0, 20:] > 0).tolist() == [False, False, False, True, True]


@WAYS
def test_two_balls_that_touch_and_one_apart_come_back(way):
    truth = balls(((9, 9, 9), 7.2), ((9, 9, 22), 6.2), ((10, 10, 35), 3.4))
    border_core = to_border_core(truth, 2.0)
    labels = numbered(way.particles(border_core))
    assert labels.max() == 3
    assert ((labels > 0) == (truth > 0)).all()
    assert (labels == to_instances(border_core)).mean() > 0.999
    assert (labels == numbered(truth)).mean() > 0.99


@WAYS
@pytest.mark.parametrize("value", [0, 1, 2])
def test_a_map_of_one_class(way, value):
    labels = way.particles(np.full((3, 4, 5), value, np.uint8))
    assert np.unique(labels > 0).tolist() == [value > 0]


MAPS = st.tuples(*[st.integers(1, 7)] * 3).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 1, 2]))
)


@given(MAPS, st.sampled_from([0.0, 0.005, 0.4]))
def test_the_published_way_gives_our_particles_to_the_voxel(border_core, least):
    labels = published.particles(border_core, min_relative_volume=least)
    assert np.array_equal(numbered(labels), to_instances(border_core, min_relative_volume=least))


@given(MAPS)
def test_the_plain_way_differs_in_ties_only(border_core):
    ours, labels = to_instances(border_core, min_relative_volume=0), plain.particles(border_core, min_relative_volume=0)
    assert ((labels > 0) == (ours > 0)).all()
    assert len(np.unique(labels)) == len(np.unique(ours))
    cores = published.particles(np.where(border_core == 1, 1, 0).astype(np.uint8), min_relative_volume=0)
    for core in np.unique(cores[cores > 0]):
        assert len(np.unique(labels[cores == core])) == len(np.unique(ours[cores == core]))
