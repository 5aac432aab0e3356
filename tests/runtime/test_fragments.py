import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.fragments import BORDER, CORE, foreground_runs, shallow_and_deep
from ps3d_rt.core.grid import Box
from ps3d_rt.core.runs import paint


def painted(runs, values, shape):
    out = np.zeros(shape, np.uint32)
    paint(out.reshape(-1), runs.first_index, runs.lengths, values)
    return out


@given(
    shape=st.tuples(*[st.integers(1, 8)] * 3),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([(0.2, 0.5, 0.3), (0.7, 0.2, 0.1), (0.9, 0.05, 0.05), (0, 0.5, 0.5), (0, 1, 0)]),
    draw=st.data(),
)
@settings(max_examples=150)
def test_cores_and_groups_are_the_components(shape, seed, share, draw):
    classes = np.random.default_rng(seed).choice(np.array([0, 1, 2], np.uint8), shape, p=share)
    start = tuple(draw.draw(st.integers(0, n - 1)) for n in shape)
    box = Box(start, tuple(draw.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))
    own = classes[box.slices]
    cores, core_count = ndimage.label(own == CORE, ndimage.generate_binary_structure(3, 1))
    groups, group_count = ndimage.label(own != 0, ndimage.generate_binary_structure(3, 3))
    runs = foreground_runs(classes, box)
    assert (runs.cores, runs.groups) == (core_count, group_count)
    np.testing.assert_array_equal(painted(runs, runs.core, box.shape), cores)
    np.testing.assert_array_equal(painted(runs, runs.group, box.shape), groups)
    assert np.all(np.diff(runs.first_index) > 0)


def test_more_groups_than_16_bits_can_name():
    classes = np.zeros((81, 81, 81), np.uint8)
    classes[::2, ::2, ::2] = BORDER
    assert foreground_runs(classes, Box.of_shape(classes.shape)).group.tolist() == list(range(1, 41**3 + 1))


@pytest.mark.parametrize(("values", "shallow", "deep"), [([CORE], 0, True), ([CORE, BORDER], 1, False)])
def test_beyond_the_volume_is_not_outside(values, shallow, deep):
    classes = np.array(values, np.uint8).reshape(1, 1, -1)
    box = Box.of_shape(classes.shape)
    found = shallow_and_deep(classes, box, foreground_runs(classes, box))
    assert [column[1:].tolist() for column in found] == [[shallow], [deep]]


def test_a_core_is_thin_at_its_faces_and_deep_3_voxels_in():
    classes = np.full((7, 7, 7), BORDER, np.uint8)
    classes[1:5, 1:5, 1:5] = CORE
    box = Box.of_shape(classes.shape)
    found = shallow_and_deep(classes, box, foreground_runs(classes, box))
    assert [column[1:].tolist() for column in found] == [[4**3 - 2**3], [False]]
    classes[1:6, 1:6, 1:6] = CORE
    assert shallow_and_deep(classes, box, foreground_runs(classes, box))[1][1:].tolist() == [True]
