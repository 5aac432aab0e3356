import weakref
from collections import Counter
from unittest.mock import patch

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.grid import Box
from ps3d_rt.core.interpolation import resample_plane
from ps3d_rt.core.measure import measure
from ps3d_rt.core.normalize import normalized_shape
from ps3d_rt.core.resample import SURFACE_PERCENT, PlaneStream, resample, resample_labels, smooth_labels_box
from ps3d_rt.errors import InputError, Ps3dError

both = pytest.mark.parametrize("xp", [np, array_api_strict])
shapes = st.tuples(*[st.integers(1, 9)] * 3)
zooms = st.tuples(*[st.floats(0.2, 3.0)] * 3)


@st.composite
def boxes(draw, shape):
    """Any box of one voxel or more inside ``shape``."""
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return Box(start, tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))


def cut(draw, n):
    """Any numbers of 1 or more that sum up to ``n``."""
    while n:
        k = draw(st.integers(1, n))
        yield k
        n -= k


class Reads:
    """A source that notes what is asked of it."""

    def __init__(self, source, xp=np):
        self.source, self.xp, self.boxes, self.last = source, xp, [], None

    def __call__(self, box):
        assert self.last is None or self.last() is None, "the last read is still in memory"
        self.boxes.append(box)
        values = self.xp.asarray(self.source[box.slices].copy())
        self.last = weakref.ref(values)
        return values


def line(xp, *values):
    """One row along x."""
    return xp.asarray(np.array(values, np.float32).reshape(1, 1, -1))


def plain(image, shape, zoom, lowpass):
    """Say the same with scipy: Gaussian per axis, then linear interpolation at the aligned centres."""
    image = image.astype(np.float64)
    for axis, f in enumerate(zoom):
        if lowpass and 1 / f > 1.5:
            image = ndimage.gaussian_filter1d(image, (1 / f - 1) / 2, axis=axis, mode="nearest", truncate=4)
    at = np.meshgrid(*[(np.arange(n) + 0.5) / f - 0.5 for n, f in zip(shape, zoom, strict=True)], indexing="ij")
    return ndimage.map_coordinates(image, at, order=1, mode="nearest")


@both
def test_voxel_centres_stay_aligned(xp):
    out = resample(line(xp, 0, 10), (1, 1, 4), zoom=(1, 1, 2))
    assert out.dtype == xp.float32
    np.testing.assert_array_equal(np.asarray(out)[0, 0], [0, 2.5, 7.5, 10])


@both
@pytest.mark.parametrize("lowpass", [True, False])
@pytest.mark.parametrize("zoom", [(1.6, 1.6, 1.6), (0.4, 1.3, 0.9), (0.21, 0.66, 0.67)])
def test_equals_scipy(xp, zoom, lowpass):
    image = np.random.default_rng(0).integers(0, 60_000, (12, 17, 19)).astype(np.uint16)
    shape = normalized_shape(image.shape, zoom)
    out = np.asarray(resample(xp.asarray(image), shape, zoom=zoom, lowpass=lowpass))
    np.testing.assert_allclose(out, plain(image, shape, zoom, lowpass), rtol=1e-5, atol=0.05)


@given(source=shapes, shape=shapes, zoom=zooms, lowpass=st.booleans())
def test_equals_scipy_on_any_small_grid(source, shape, zoom, lowpass):
    image = np.random.default_rng(1).normal(size=source).astype(np.float32)
    out = resample(image, shape, zoom=zoom, lowpass=lowpass)
    np.testing.assert_allclose(out, plain(image, shape, zoom, lowpass), atol=1e-5)


def test_strong_shrinking_averages_what_would_alias():
    stripes = np.tile(np.array([0, 100], np.uint8), (1, 1, 32))  # alternates from voxel to voxel
    smooth = resample(stripes, (1, 1, 21), zoom=(1, 1, 1 / 3))
    raw = resample(stripes, (1, 1, 21), zoom=(1, 1, 1 / 3), lowpass=False)
    assert np.ptp(smooth[..., 2:-2]) < 2
    assert np.ptp(raw[..., 2:-2]) == 100


def test_zoom_1_changes_nothing_but_the_dtype():
    image = np.random.default_rng(2).integers(0, 9, (3, 4, 5)).astype(np.uint16)
    np.testing.assert_array_equal(resample(image, (3, 4, 5), zoom=(1, 1, 1)), image)


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "uint16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("zoom", [(0.4, 0.3, 0.5), (1.2, 1.7, 1.3), (1, 1, 1), (0.8, 1, 2.1)])
def test_kernels_and_array_api_give_the_same_bytes(dtype, zoom):
    image = np.random.default_rng(4).normal(100, 30, (9, 11, 13)).clip(0, 255).astype(dtype)
    shape = normalized_shape(image.shape, zoom)
    known = image.astype("float32" if dtype == "float16" else image.dtype.newbyteorder("="))
    want = np.asarray(resample(array_api_strict.asarray(known), shape, zoom=zoom))
    frozen = np.asfortranarray(image)
    frozen.setflags(write=False)
    assert resample(image, shape, zoom=zoom).tobytes() == want.tobytes()
    assert resample(frozen, shape, zoom=zoom).tobytes() == want.tobytes()


@pytest.mark.parametrize("xp", [np, array_api_strict])
@given(
    data=st.data(), source=shapes, shape=shapes, zoom=zooms, lowpass=st.booleans(), planes_per_read=st.integers(1, 5)
)
def test_a_stream_of_any_region_gives_the_bytes_of_the_whole(xp, data, source, shape, zoom, lowpass, planes_per_read):
    image = np.random.default_rng(3).integers(0, 60_000, source).astype(np.uint16)
    region = data.draw(boxes(shape))
    reads = Reads(image, xp)
    with patch("ps3d_rt.core.resample._READ_VOXELS", data.draw(st.integers(1, 400))):
        stream = PlaneStream(
            reads, region, (source, shape), zoom=zoom, lowpass=lowpass, planes_per_read=planes_per_read
        )
        planes = [np.asarray(stream.take(n)) for n in cut(data.draw, region.shape[0])]
    whole = resample(image, shape, zoom=zoom, lowpass=lowpass)[region.slices]
    assert np.concatenate(planes).tobytes() == whole.tobytes()

    starts = [box.start[0] for box in reads.boxes]
    stops = [box.stop[0] for box in reads.boxes]
    assert all(a % planes_per_read == 0 for a in starts), "reads start where chunks of the file start"
    assert all(b <= a for a, b in zip(starts[1:], stops, strict=False)), "no plane is read twice"
    assert len({(box.start[1:], box.stop[1:]) for box in reads.boxes}) == 1


def test_a_stream_reads_only_what_its_region_needs():
    image = np.zeros((100, 40, 40), np.uint16)
    reads = Reads(image)
    region = Box((20, 8, 0), (30, 16, 40))
    stream = PlaneStream(reads, region, (image.shape, (200, 80, 40)), zoom=(2, 2, 1), planes_per_read=4)
    assert reads.boxes == [], "nothing is read before it is needed"
    stream.take(10)
    assert reads.boxes == [Box((8, 3, 0), (16, 9, 40))]


def test_every_source_plane_is_resampled_once_and_nothing_read_is_kept_at_the_end():
    image = np.zeros((30, 4, 4), np.uint16)
    reads = Reads(image)
    stream = PlaneStream(reads, Box.of_shape((12, 2, 2)), (image.shape, (12, 2, 2)), zoom=(0.4,) * 3, planes_per_read=7)
    slots = []

    def note(plane, y, x, out, slot):
        slots.append(slot)
        resample_plane(plane, y, x, out, slot)

    with patch("ps3d_rt.core.resample.resample_plane", note):
        for n in (1, 4, 7):
            stream.take(n)
    assert len(slots) == 30
    assert reads.last() is None


def test_planes_that_nobody_needs_are_not_read():
    image = np.random.default_rng(5).normal(size=(90, 2, 2)).astype(np.float32)
    reads = Reads(image)
    with patch("ps3d_rt.core.resample._READ_VOXELS", 1):
        stream = PlaneStream(
            reads,
            Box.of_shape((3, 2, 2)),
            (image.shape, (3, 2, 2)),
            zoom=(1 / 30, 1, 1),
            lowpass=False,
            planes_per_read=8,
        )
        np.testing.assert_array_equal(stream.take(3), image[14:90:30] / 2 + image[15:90:30] / 2)
    assert [(box.start[0], box.stop[0]) for box in reads.boxes] == [(8, 16), (40, 48), (72, 76)]


@pytest.mark.parametrize(
    ("planes_per_read", "most", "depths"), [(4, 16 * 9, [8, 8, 4]), (4, 1, [4, 4, 4, 4, 4]), (1, 16 * 9, [9, 9, 2])]
)
def test_a_read_brings_whole_chunks_up_to_a_bound(planes_per_read, most, depths):
    image = np.zeros((20, 4, 4), np.uint16)
    reads = Reads(image)
    with patch("ps3d_rt.core.resample._READ_VOXELS", most):
        PlaneStream(
            reads, Box.of_shape((8, 2, 2)), (image.shape, (8, 2, 2)), zoom=(0.4,) * 3, planes_per_read=planes_per_read
        ).take(8)
    assert [box.shape[0] for box in reads.boxes] == depths


@pytest.mark.parametrize("n", [0, 4])
def test_more_planes_than_are_left_are_refused(n):
    image = np.zeros((4, 4, 4), np.uint8)
    stream = PlaneStream(lambda box: image[box.slices], Box.of_shape((4, 4, 4)), ((4, 4, 4), (4, 4, 4)), zoom=(1, 1, 1))
    stream.take(1)
    with pytest.raises(InputError, match=f"{n} planes cannot be taken, 3 are left"):
        stream.take(n)
    assert stream.take(3).shape == (3, 4, 4)


def smooth_plainly(labels, percent, shape, zoom):
    """Say the same voxel by voxel: weights of the eight voxels around, their score, and a vote."""
    out = np.zeros(shape, labels.dtype)
    for at in np.ndindex(shape):
        place = [np.clip((i + 0.5) * f - 0.5, 0, n - 1) for i, f, n in zip(at, zoom, labels.shape, strict=True)]
        votes, score = Counter(), 0.0
        for corner in np.ndindex(2, 2, 2):
            voxel = [min(int(p) + c, n - 1) for p, c, n in zip(place, corner, labels.shape, strict=True)]
            weight = np.prod([p - int(p) if c else 1 - (p - int(p)) for p, c in zip(place, corner, strict=True)])
            label, here = int(labels[tuple(voxel)]), int(percent[tuple(voxel)])
            score += weight * (max(here, SURFACE_PERCENT) if label else here if here < SURFACE_PERCENT else 0)
            votes[label] += weight
        del votes[0]
        if votes and score >= SURFACE_PERCENT - 1e-9:
            out[at] = min(votes, key=lambda label: (-round(votes[label], 9), label))
    return out


smooth_inputs = {"data": st.data(), "source": shapes, "shape": shapes, "zoom": zooms}


def smooth_sample(source):
    """Labels and scores that fit each other as little as they may."""
    draw = np.random.default_rng(4)
    return draw.integers(0, 3, source).astype(np.uint32), draw.integers(0, 101, source).astype(np.uint8)


@given(**smooth_inputs)
def test_smooth_labels_of_any_box_are_those_of_the_whole(data, source, shape, zoom):
    labels, percent = smooth_sample(source)
    box = data.draw(boxes(shape))
    reads, scores = Reads(labels), Reads(percent)
    part = smooth_labels_box(reads, scores, box, source, shape, zoom=zoom)
    assert len(reads.boxes) == 1
    assert scores.boxes in ([], reads.boxes)
    whole = smooth_labels_box(Reads(labels), Reads(percent), Box.of_shape(shape), source, shape, zoom=zoom)
    assert part.dtype == labels.dtype
    np.testing.assert_array_equal(part, whole[box.slices])


@settings(max_examples=30)
@given(source=shapes, shape=shapes, zoom=st.sampled_from([(0.5, 0.25, 0.75), (0.375, 1.0, 2.0), (1.5, 0.4, 0.7)]))
def test_smooth_labels_are_what_the_eight_voxels_around_say(source, shape, zoom):
    labels, percent = smooth_sample(source)
    found = smooth_labels_box(Reads(labels), Reads(percent), Box.of_shape(shape), source, shape, zoom=zoom)
    np.testing.assert_array_equal(found, smooth_plainly(labels, percent, shape, zoom))


def test_a_surface_lies_where_the_score_says_and_unlabelled_scores_do_not_move_it():
    labels = np.array([[[0, 0, 5, 5]]], np.uint32)
    for percent, first in (((0, 0, 90, 100), 20), ((0, 40, 90, 100), 16), ((0, 80, 90, 100), 20)):
        scores = np.array([[percent]], np.uint8)
        out = smooth_labels_box(
            Reads(labels), Reads(scores), Box.of_shape((1, 1, 40)), (1, 1, 4), (1, 1, 40), zoom=(1, 1, 0.1)
        )
        assert np.flatnonzero(out[0, 0])[0] == first
        assert set(out[0, 0, first:]) == {5}


def test_a_ball_comes_back_round():
    z, y, x = np.indices((20, 20, 20)) - 9.5
    distance = np.sqrt(z**2 + y**2 + x**2)
    labels, percent = (distance < 6.3).astype(np.uint32), np.clip(45 + 50 * (6.3 - distance), 0, 100).astype(np.uint8)
    whole = Box.of_shape((60, 60, 60))
    smooth = smooth_labels_box(Reads(labels), Reads(percent), whole, (20, 20, 20), (60, 60, 60), zoom=(1 / 3,) * 3)
    steps = resample_labels(labels, (60, 60, 60), zoom=(1 / 3,) * 3)
    sphere = 4 * np.pi * 18.9**2
    assert measure(smooth, (1.0,) * 3).surface_mm2[0] == pytest.approx(sphere, rel=0.02)
    assert measure(steps, (1.0,) * 3).surface_mm2[0] > 1.1 * sphere
    assert smooth.sum() == pytest.approx(4 / 3 * np.pi * 18.9**3, rel=0.02)


def test_smooth_labels_read_only_what_they_need():
    reads, scores = Reads(np.ones((100, 4, 40), np.uint32)), Reads(np.ones((100, 4, 40), np.uint8))
    box = Box((20, 0, 3), (30, 4, 5))
    smooth_labels_box(reads, scores, box, (100, 4, 40), (200, 4, 20), zoom=(0.5, 1, 2))
    assert reads.boxes == scores.boxes == [Box((9, 0, 6), (16, 4, 10))]
    empty = Reads(np.zeros((100, 4, 40), np.uint32))
    assert not smooth_labels_box(empty, None, box, (100, 4, 40), (200, 4, 20), zoom=(0.5, 1, 2)).any()


def test_a_read_of_another_shape_is_refused():
    whole = Box.of_shape((4, 4, 4))
    with pytest.raises(Ps3dError, match=r"gave \(4, 4, 3\) voxels; it must give \(4, 4, 4\)"):
        PlaneStream(lambda box: np.zeros((4, 4, 3)), whole, ((4, 4, 4), (4, 4, 4)), zoom=(1, 1, 1)).take(1)
    with pytest.raises(Ps3dError, match=r"gave \(4, 4, 3\) voxels; it must give \(4, 4, 4\)"):
        smooth_labels_box(lambda box: np.zeros((4, 4, 3)), None, whole, (4, 4, 4), (4, 4, 4), zoom=(1, 1, 1))


@both
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
def test_labels_go_back_by_the_zoom_that_the_image_came_by(xp, dtype):
    particles = np.array([[[0, 7, 7, 9, 0]]], dtype=dtype)
    enlarged = xp.asarray(np.repeat(particles, 3, axis=2))
    back = resample_labels(enlarged, (1, 1, 5), zoom=(1, 1, 3))
    assert back.dtype == enlarged.dtype
    np.testing.assert_array_equal(np.asarray(back), particles)


def test_labels_enlarge_symmetrically():
    out = resample_labels(np.array([[[1, 2, 3]]]), (1, 1, 7), zoom=(1, 1, 3 / 7))
    np.testing.assert_array_equal(out[0, 0], [1, 1, 2, 2, 2, 3, 3])


@given(source=shapes, zoom=zooms)
def test_labels_land_where_the_nearest_centre_is(source, zoom):
    labels = np.arange(np.prod(source)).reshape(source)
    shape = normalized_shape(source, tuple(1 / f for f in zoom))
    at = [np.clip(np.floor((np.arange(n) + 0.5) * f), 0, m - 1) for n, f, m in zip(shape, zoom, source, strict=True)]
    np.testing.assert_array_equal(
        resample_labels(labels, shape, zoom=zoom), labels[np.ix_(*[a.astype(int) for a in at])]
    )


@pytest.mark.parametrize("call", [resample, resample_labels])
@pytest.mark.parametrize(
    ("source", "shape", "zoom", "message"),
    [
        ((2, 0, 2), (2, 2, 2), (1, 1, 1), "cannot resample"),
        ((2, 2), (2, 2, 2), (1, 1, 1), "cannot resample"),
        ((2, 2, 2), (2, 0, 2), (1, 1, 1), "cannot resample"),
        ((2, 2, 2), (2, 2, 2), (1, 0, 1), "zoom is"),
        ((2, 2, 2), (2, 2, 2), (1, float("nan"), 1), "zoom is"),
    ],
)
def test_grids_that_cannot_be_resampled_are_refused(call, source, shape, zoom, message):
    with pytest.raises(InputError, match=message):
        call(np.zeros(source, np.uint8), shape, zoom=zoom)


@pytest.mark.parametrize(("start", "stop"), [((0, 0, 0), (4, 5, 4)), ((2, 0, 0), (2, 4, 4)), ((0, 0, -1), (4, 4, 4))])
def test_boxes_outside_the_grid_are_refused(start, stop):
    def read(box):
        return np.zeros(box.shape)

    with pytest.raises(InputError, match="inside it"):
        PlaneStream(read, Box(start, stop), ((4, 4, 4), (4, 4, 4)), zoom=(1, 1, 1))
    with pytest.raises(InputError, match="inside it"):
        smooth_labels_box(read, read, Box(start, stop), (4, 4, 4), (4, 4, 4), zoom=(1, 1, 1))
