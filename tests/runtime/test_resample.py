import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.normalize import normalized_shape
from ps3d_rt.core.resample import resample, resample_labels, resample_labels_slab, resample_slab
from ps3d_rt.errors import InputError

both = pytest.mark.parametrize("xp", [np, array_api_strict])
shapes = st.tuples(*[st.integers(1, 9)] * 3)
zooms = st.tuples(*[st.floats(0.2, 3.0)] * 3)


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


@given(source=shapes, shape=shapes, zoom=zooms, cut=st.integers(1, 8))
@settings(max_examples=50)
def test_slabs_of_any_thickness_give_the_bytes_of_the_whole(source, shape, zoom, cut):
    image = np.random.default_rng(3).normal(size=source).astype(np.float32)
    labels = np.random.default_rng(3).integers(0, 1000, source).astype(np.uint32)
    ranges = [(z, min(z + cut, shape[0])) for z in range(0, shape[0], cut)]
    image_slabs = [resample_slab(lambda a, b: image[a:b], r, source, shape, zoom=zoom) for r in ranges]
    label_slabs = [resample_labels_slab(lambda a, b: labels[a:b], r, source, shape, zoom=zoom) for r in ranges]
    np.testing.assert_array_equal(np.concatenate(image_slabs), resample(image, shape, zoom=zoom))
    np.testing.assert_array_equal(np.concatenate(label_slabs), resample_labels(labels, shape, zoom=zoom))


def test_a_slab_reads_only_the_planes_it_needs():
    image = np.zeros((100, 4, 4), np.uint16)
    asked = []

    def read(first, stop):
        asked.append((first, stop))
        return image[first:stop]

    resample_slab(read, (20, 30), image.shape, (200, 4, 4), zoom=(2, 1, 1))
    resample_labels_slab(read, (20, 30), image.shape, (200, 4, 4), zoom=(0.5, 1, 1))
    assert asked == [(9, 16), (10, 15)]


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


@pytest.mark.parametrize("planes", [(0, 5), (2, 2), (-1, 2)])
def test_planes_outside_the_grid_are_refused(planes):
    with pytest.raises(InputError, match=f"planes {planes[0]}..{planes[1]} of 4"):
        resample_slab(lambda a, b: np.zeros((b - a, 4, 4)), planes, (4, 4, 4), (4, 4, 4), zoom=(1, 1, 1))
