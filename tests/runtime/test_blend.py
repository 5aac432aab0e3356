import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core import blend
from ps3d_rt.core.blend import BlendRing, add_patch, axis_window, classes_of, gaussian_window
from ps3d_rt.core.grid import Box, PatchLattice
from ps3d_rt.errors import InputError

both = pytest.mark.parametrize("xp", [np, array_api_strict])
lattices = st.builds(
    PatchLattice.plan,
    st.tuples(*[st.integers(1, 11)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.sampled_from([0.0, 0.25, 0.5, 0.8]),
)


def whole_number_window(length):
    """A peaked window whose sums are exact in float32: 1 2 3 2 1."""
    return np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)).astype(np.float32)


def eighths(lattice, seed):
    """Scores per patch, in eighths that add up to 1: every sum of theirs is exact, and ties are common."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, 9, (lattice.count, 2, *lattice.patch)), axis=1)
    edges = np.concatenate([np.zeros_like(cuts[:, :1]), cuts, np.full_like(cuts[:, :1], 8)], axis=1)
    return (np.diff(edges, axis=1) / 8).astype(np.float32)


def softmax(lattice, seed):
    raw = np.exp(np.random.default_rng(seed).normal(size=(lattice.count, 3, *lattice.patch)))
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def plain_sums(lattice, scores):
    """Sum over the whole volume, all three classes, in float64."""
    window = gaussian_window(lattice.patch).astype(np.float64)
    total = np.zeros((3, *lattice.padded))
    patches = (at for z in lattice.starts[0] for at in lattice.layer(z))
    for at, score in zip(patches, scores, strict=True):
        total[(slice(None), *at.slices)] += score * window
    return total


def through_ring(ring, lattice, scores, xp=np):
    """Feed the scores that belong to the ring's planes; stack what comes out."""
    number = {at: i for i, at in enumerate(at for z in lattice.starts[0] for at in lattice.layer(z))}
    planes = []
    for at in ring.patches():
        ring.add(xp.asarray(scores[number[at]]), at)
        z, classes = ring.take()
        assert classes.dtype == xp.uint8
        assert classes.shape[0] == 0 or z == ring.planes[0] + sum(len(p) for p in planes)
        planes.append(np.asarray(classes))
    return np.concatenate(planes)


@both
def test_one_axis_in_the_head(xp):
    window = xp.asarray(np.array([[[1, 2, 1]]], np.float32))
    total = xp.zeros((1, 1, 1, 4), dtype=xp.float32)
    for start, score in ((0, 1), (1, 3)):
        scores = xp.full((1, 1, 1, 3), score, dtype=xp.float32)
        add_patch(total, scores, window, Box((0, 0, start), (1, 1, start + 3)))
    np.testing.assert_array_equal(np.asarray(total)[0, 0, 0], [1, 5, 7, 3])


@both
def test_the_window_is_a_separable_gaussian_with_peak_1(xp):
    window = gaussian_window((9, 16, 8), xp=xp)
    assert window.dtype == xp.float32
    window = np.asarray(window)
    assert window.shape == (9, 16, 8)
    assert window.max() == 1
    np.testing.assert_array_equal(window, window[::-1, ::-1, ::-1])
    # one sigma (2 voxels of an axis of 16) away from the centre (between 7 and 8) weighs exp(-1/2) of the centre
    ratio = np.exp(-0.5 * (2.5 / 2) ** 2) / np.exp(-0.5 * (0.5 / 2) ** 2)
    np.testing.assert_allclose(window[:, 10, :] / window[:, 8, :], ratio, rtol=1e-5)
    assert gaussian_window((128, 128, 128)).min() > 1e-12


@pytest.mark.parametrize(
    ("scores", "at"),
    [
        ((2, 2, 2, 2), Box((0, 0, 0), (2, 2, 2))),
        ((3, 2, 2, 1), Box((0, 0, 0), (2, 2, 1))),
        ((3, 2, 2, 2), Box((0, 0, 3), (2, 2, 5))),
        ((3, 2, 2, 2), Box((-1, 0, 0), (1, 2, 2))),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(scores, at):
    with pytest.raises(InputError, match=r"do not fit|does not lie inside"):
        add_patch(np.zeros((3, 4, 4, 4), np.float32), np.zeros(scores, np.float32), np.ones((2, 2, 2), np.float32), at)


@both
def test_ties_go_to_the_lowest_class(xp):
    #                 all equal, bg=core, bg=border, core=border, and one of each alone
    core = xp.asarray(np.array([1, 2, 0, 2, 0, 3, 0], np.float32))
    border = xp.asarray(np.array([1, 0, 2, 2, 0, 0, 3], np.float32))
    weight = xp.asarray(np.array([3, 4, 4, 4, 1, 3, 3], np.float32))
    np.testing.assert_array_equal(np.asarray(classes_of(core, border, weight)), [0, 0, 0, 1, 0, 1, 2])


@given(lattice=lattices, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_ring_equals_the_plain_sum_bit_for_bit_where_sums_are_exact(lattice, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blend, "axis_window", whole_number_window)
        scores = eighths(lattice, seed)
        expected = plain_sums(lattice, scores).argmax(axis=0)
        np.testing.assert_array_equal(through_ring(BlendRing(lattice), lattice, scores), expected)


@both
def test_the_ring_equals_the_plain_sum_with_the_gaussian(xp):
    lattice = PatchLattice.plan((21, 10, 13), (8, 7, 6), 0.5)
    scores = softmax(lattice, 0)
    total = plain_sums(lattice, scores)
    second, first = np.sort(total, axis=0)[1:]
    clear = first - second > 1e-5 * total.sum(axis=0)
    assert clear.mean() > 0.99
    found = through_ring(BlendRing(lattice, xp=xp), lattice, scores, xp)
    np.testing.assert_array_equal(found[clear], total.argmax(axis=0)[clear])


@given(lattice=lattices, cut=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_any_split_along_z_gives_the_same_bytes(lattice, cut):
    scores = softmax(lattice, 1)
    depth = lattice.padded[0]
    parts = [through_ring(BlendRing(lattice, (z, min(z + cut, depth))), lattice, scores) for z in range(0, depth, cut)]
    np.testing.assert_array_equal(np.concatenate(parts), through_ring(BlendRing(lattice), lattice, scores))


def test_a_skipped_patch_is_background():
    lattice = PatchLattice.plan((9, 4, 8), (4, 4, 4), 0.5)
    scores = softmax(lattice, 2)
    empty = {3, 4, 10}
    sure = np.zeros((3, 4, 4, 4), np.float32)
    sure[0] = 1
    skipping, adding = BlendRing(lattice), BlendRing(lattice)
    for i, at in enumerate(skipping.patches()):
        if i in empty:
            skipping.skip(at)
            adding.add(sure, at)
        else:
            skipping.add(scores[i], at)
            adding.add(scores[i], at)
        np.testing.assert_array_equal(skipping.take()[1], adding.take()[1])


def test_an_empty_volume_is_background_everywhere():
    ring = BlendRing(PatchLattice.plan((5, 5, 5), (4, 4, 4), 0.5))
    out = []
    for at in ring.patches():
        ring.skip(at)
        out.append(ring.take()[1])
    np.testing.assert_array_equal(np.concatenate(out), np.zeros((5, 5, 5)))


def test_planes_come_out_as_soon_as_no_later_patch_touches_them():
    lattice = PatchLattice.plan((10, 4, 6), (4, 4, 4), 0.5)  # layers at 0, 2, 4, 6, two patches each
    ring = BlendRing(lattice)
    came = []
    for at in ring.patches():
        ring.skip(at)
        z, classes = ring.take()
        came.append((z, len(classes)))
    assert came == [(0, 0), (0, 2), (2, 0), (2, 2), (4, 0), (4, 2), (6, 0), (6, 4)]
    assert ring.take()[1].shape == (0, 4, 6)


def test_a_part_expects_only_the_patches_that_touch_it():
    lattice = PatchLattice.plan((10, 4, 4), (4, 4, 4), 0.5)
    assert [at.start[0] for at in BlendRing(lattice, (6, 8)).patches()] == [4, 6]
    assert [at.start[0] for at in BlendRing(lattice, (0, 4)).patches()] == [0, 2]


def test_the_order_of_the_lattice_is_kept():
    ring = BlendRing(PatchLattice.plan((10, 4, 4), (4, 4, 4), 0.5))
    first, second, *_ = ring.patches()
    scores = np.zeros((3, 4, 4, 4), np.float32)
    with pytest.raises(InputError, match="next patch of the lattice"):
        ring.add(scores, second)
    with pytest.raises(InputError, match="scores have shape"):
        ring.add(scores[:2], first)
    ring.add(scores, first)
    with pytest.raises(InputError, match=r"take\(\) them"):
        ring.skip(second)
    ring.take()
    ring.skip(second)


@pytest.mark.parametrize("planes", [(0, 11), (3, 3), (-1, 4)])
def test_planes_outside_the_volume_are_refused(planes):
    with pytest.raises(InputError, match="do not lie inside"):
        BlendRing(PatchLattice.plan((10, 4, 4), (4, 4, 4), 0.5), planes)


def test_an_axis_window_of_one_voxel_weighs_1():
    np.testing.assert_array_equal(axis_window(1), [1])
