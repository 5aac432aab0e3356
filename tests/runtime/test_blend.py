from itertools import pairwise, product

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core import blend
from ps3d_rt.core.blend import BlendRing, add_patch, axis_window, classes_of, gaussian_window
from ps3d_rt.core.grid import Box, PatchLattice, plan_sweeps
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


def patches_of(lattice, box=None):
    layers = lattice.touching(Box.of_shape(lattice.padded) if box is None else box)
    return [at for _, patches in layers for at in patches]


def plain_sums(lattice, scores):
    """Sum over the whole volume, all three classes, in float64."""
    window = gaussian_window(lattice.patch).astype(np.float64)
    total = np.zeros((3, *lattice.padded))
    for at, score in zip(patches_of(lattice), scores, strict=True):
        total[(slice(None), *at.slices)] += score * window
    return total


def through_ring(ring, lattice, scores, xp=np, skip=()):
    """Feed the scores that belong to the ring's write box; stack what comes out."""
    number = {at: i for i, at in enumerate(patches_of(lattice))}
    planes = []
    for _, patches in ring.layers():
        for at in patches:
            if number[at] in skip:
                ring.skip(at)
            else:
                ring.add(xp.asarray(scores[number[at]]), at)
        z, taken = ring.take()
        assert taken.dtype == xp.uint8
        (classes,) = np.asarray(taken)
        assert classes.shape[1:] == ring.write.shape[1:]
        assert z == ring.write.start[0] + sum(len(p) for p in planes)
        planes.append(classes)
    return np.concatenate(planes)


@st.composite
def tilings(draw):
    """A lattice and boxes, cut anywhere, that tile its volume."""
    lattice = draw(lattices)
    cuts = [sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=3))}) for n in lattice.padded]
    parts = product(*(pairwise(c) for c in cuts))
    return lattice, [Box(*zip(*part, strict=True)) for part in parts]


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
        ((3, 2, 2, 2), Box((0, 0, 3), (2, 2, 4))),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(scores, at):
    with pytest.raises(InputError, match="do not fit"):
        add_patch(np.zeros((3, 4, 4, 4), np.float32), np.zeros(scores, np.float32), np.ones((2, 2, 2), np.float32), at)


@both
def test_what_lies_outside_the_sum_is_left_out(xp):
    rng = np.random.default_rng(3)
    scores, window = rng.random((2, 4, 3, 2), np.float32), rng.random((4, 3, 2), np.float32)
    for start in product((-9, -2, 0, 1, 3, 9), repeat=3):
        total = xp.ones((2, 5, 4, 3), dtype=xp.float32)
        add_patch(total, xp.asarray(scores), xp.asarray(window), Box(start, tuple(np.add(start, (4, 3, 2)))))
        room = np.ones((2, 25, 25, 25), np.float32)  # the sum with 10 voxels around it
        z, y, x = np.add(start, 10)
        room[:, z : z + 4, y : y + 3, x : x + 2] += scores * window
        np.testing.assert_array_equal(np.asarray(total), room[:, 10:15, 10:14, 10:13])


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


@given(tiling=tilings())
@settings(max_examples=80, deadline=None)
def test_any_tiling_gives_the_same_bytes(tiling):
    lattice, boxes = tiling
    scores, skip = softmax(lattice, 1), range(1, lattice.count, 3)
    whole = through_ring(BlendRing(lattice), lattice, scores, skip=skip)
    for write in boxes:
        part = through_ring(BlendRing(lattice, write), lattice, scores, skip=skip)
        np.testing.assert_array_equal(part, whole[write.slices])


@given(
    lattice=lattices,
    align=st.tuples(*[st.integers(1, 6)] * 3),
    workers=st.integers(1, 4),
    most=st.integers(1, 120),
)
@settings(max_examples=40, deadline=None)
def test_any_plan_gives_the_same_bytes(lattice, align, workers, most):
    scores = softmax(lattice, 4)
    whole = through_ring(BlendRing(lattice), lattice, scores)
    sweeps = plan_sweeps(lattice, lattice.padded, align, workers=workers, most_plane_voxels=most)
    parts = [through_ring(BlendRing(lattice, sweep.write), lattice, scores) for sweep in sweeps]
    for sweep, part in zip(sweeps, parts, strict=True):
        np.testing.assert_array_equal(part, whole[sweep.write.slices])


def assert_kernels_equal_the_array_api(lattice, scores, write):
    kernels, plain = (BlendRing(lattice, write, scores=True, xp=xp) for xp in (np, array_api_strict))
    classes_only = BlendRing(lattice, write)
    number = {at: i for i, at in enumerate(patches_of(lattice))}
    for _, patches in kernels.layers():
        for at in patches:
            kernels.add(scores[number[at]], at)
            classes_only.add(scores[number[at]], at)
            plain.add(array_api_strict.asarray(scores[number[at]]), at)
        np.testing.assert_array_equal(kernels._sums.view(np.uint32), np.asarray(plain._sums).view(np.uint32))
        (_, ours), (_, standard), (_, alone) = (ring.take() for ring in (kernels, plain, classes_only))
        np.testing.assert_array_equal(ours, np.asarray(standard))
        np.testing.assert_array_equal(alone, ours[:1])
        assert np.array_equal(ours[1] > 0, ours[0] > 0)
        assert np.all(ours[2] <= ours[1]), "border, which is the rest, is never below 0"


@given(tiling=tilings(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_kernels_equal_the_array_api_bit_for_bit(tiling, seed):
    lattice, boxes = tiling
    for write in boxes[:3]:
        assert_kernels_equal_the_array_api(lattice, softmax(lattice, seed), write)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0), (0, 0.5, 0.5), (0.4, 0.4, 0.2), (0.4, 0.2, 0.4), (0.3, 0.4, 0.3)])
def test_the_kernels_round_as_the_array_api_where_only_rounding_decides(shares):
    lattice = PatchLattice.plan((21, 20, 19), (9, 8, 7), 0.5)
    shares = np.array(shares, np.float32)[:, None, None, None]
    scores = np.broadcast_to(shares, (lattice.count, 3, *lattice.patch)).copy()
    assert_kernels_equal_the_array_api(lattice, scores, Box((2, 3, 4), (20, 20, 16)))


def test_a_skipped_patch_is_background():
    lattice = PatchLattice.plan((9, 4, 8), (4, 4, 4), 0.5)
    scores = softmax(lattice, 2)
    empty = [3, 4, 10]
    skipping = through_ring(BlendRing(lattice), lattice, scores, skip=empty)
    scores[empty] = np.array([1, 0, 0], np.float32)[:, None, None, None]
    np.testing.assert_array_equal(skipping, through_ring(BlendRing(lattice), lattice, scores))


def test_an_empty_volume_is_background_everywhere():
    lattice = PatchLattice.plan((5, 5, 5), (4, 4, 4), 0.5)
    out = through_ring(BlendRing(lattice), lattice, [], skip=range(lattice.count))
    np.testing.assert_array_equal(out, np.zeros((5, 5, 5)))


def test_planes_come_out_as_soon_as_no_later_patch_touches_them():
    lattice = PatchLattice.plan((10, 4, 6), (4, 4, 4), 0.5)  # layers at 0, 2, 4, 6, two patches each
    ring = BlendRing(lattice, Box((3, 0, 0), (9, 4, 5)))
    came = []
    for at in patches_of(lattice, ring.write):
        ring.skip(at)
        z, (classes,) = ring.take()
        came.append((z, classes.shape))
    counts = [(3, 0), (3, 0), (3, 0), (3, 1), (4, 0), (4, 2), (6, 0), (6, 3)]
    assert came == [(z, (n, 4, 5)) for z, n in counts]
    assert ring.take()[1].shape == (1, 0, 4, 5)


def test_a_part_expects_only_the_patches_that_touch_it():
    lattice = PatchLattice.plan((10, 4, 6), (4, 4, 4), 0.5)
    assert [z for z, _ in BlendRing(lattice, Box((6, 0, 0), (8, 4, 6))).layers()] == [4, 6]
    assert [z for z, _ in BlendRing(lattice, Box((0, 0, 0), (4, 4, 6))).layers()] == [0, 2]
    ((_, patches),) = BlendRing(lattice, Box((0, 1, 4), (1, 2, 6))).layers()
    assert patches == [Box((0, 0, 2), (4, 4, 6))]


def test_the_sums_are_a_patch_deep_and_as_wide_as_the_write_box():
    lattice = PatchLattice.plan((100, 20, 30), (8, 8, 8), 0.5)
    assert BlendRing(lattice, Box((0, 3, 5), (100, 10, 20)))._sums.nbytes == 2 * 4 * 8 * 7 * 15


def test_the_order_of_the_lattice_is_kept():
    ring = BlendRing(PatchLattice.plan((10, 4, 4), (4, 4, 4), 0.5))
    (_, (first,)), (_, (second,)), *_ = ring.layers()
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


@pytest.mark.parametrize(
    "write",
    [Box((0, 0, 0), (11, 4, 4)), Box((3, 0, 0), (3, 4, 4)), Box((0, -1, 0), (4, 4, 4)), Box((0, 0, 3), (4, 4, 2))],
)
def test_write_boxes_outside_the_volume_are_refused(write):
    with pytest.raises(InputError, match="not inside"):
        BlendRing(PatchLattice.plan((10, 4, 4), (4, 4, 4), 0.5), write)


def test_an_axis_window_of_one_voxel_weighs_1():
    np.testing.assert_array_equal(axis_window(1), [1])


@pytest.mark.parametrize("xp", [np, array_api_strict])
def test_the_scores_are_the_blended_ones_in_percent(xp) -> None:
    lattice = PatchLattice.plan((4, 4, 6), (4, 4, 4), 0.5)
    ring = BlendRing(lattice, scores=True, xp=xp)
    for _, boxes in ring.layers():
        for number, at in enumerate(boxes):
            scores = np.zeros((3, 4, 4, 4), np.float32)
            scores[:, :2] = np.array([0.1, 0.9 - 0.9 * number, 0.9 * number])[:, None, None, None]
            scores[:, 2] = np.array([0.6, 0.2, 0.2])[:, None, None]
            scores[:, 3] = np.array([0.0, 1.0, 0.0])[:, None, None]
            ring.add(xp.asarray(scores), at)
    classes, foreground, core = np.asarray(ring.take()[1])
    assert np.all(foreground[:2] == 90)
    # In the middle a voxel weighs exp(4) times as much in the nearer patch: 90 / (1 + exp(-4)) = 88.4.
    np.testing.assert_array_equal(core[:2], np.broadcast_to([90, 90, 88, 2, 0, 0], (2, 4, 6)))
    assert not np.any(classes[2] | foreground[2] | core[2]), "background is not scored"
    assert np.all((foreground[3] == 100) & (core[3] == 100))


@pytest.mark.parametrize("bias", [-0.3, -0.05, 0.0, 0.2])
def test_a_core_bias_moves_the_line_between_core_and_border_and_never_the_foreground(bias: float) -> None:
    lattice = PatchLattice.plan((12, 12, 12), (8, 8, 8), 0.5)
    draw = np.random.default_rng(3)
    rings = [BlendRing(lattice, core_bias=b, xp=xp) for b, xp in ((0.0, np), (bias, np), (bias, array_api_strict))]
    planes: list[list[np.ndarray]] = [[], [], []]
    for _, boxes in rings[0].layers():
        for at in boxes:
            scores = draw.dirichlet((1, 1, 1), (8, 8, 8)).transpose(3, 0, 1, 2).astype(np.float32)
            for ring in rings:
                ring.add(ring._xp.asarray(scores), at)
        for ring, taken in zip(rings, planes, strict=True):
            taken.append(np.asarray(ring.take()[1])[0])
    plain, biased, strict = (np.concatenate(taken) for taken in planes)
    assert np.array_equal(biased, strict)
    assert np.array_equal(biased > 0, plain > 0)
    cores = np.count_nonzero(biased == 1) - np.count_nonzero(plain == 1)
    assert np.sign(cores) == np.sign(bias)
