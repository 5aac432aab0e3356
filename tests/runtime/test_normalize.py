from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from ps3d_rt.core.normalize import (
    EmbeddingScale,
    GrayScale,
    gray_scale,
    network_input,
    normalized_shape,
    size_zoom,
    zscore,
)
from ps3d_rt.errors import InputError

both = pytest.mark.parametrize("xp", [np, array_api_strict])


@both
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_gray_scale_is_that_of_the_sample_clipped_to_its_percentiles(xp, dtype):
    sample = np.random.default_rng(1).normal(3000, 400, (7, 11, 12)).astype(dtype)
    clipped = np.clip(sample.astype(float), *np.percentile(sample, [0.5, 99.5]))
    found = gray_scale(xp.asarray(sample))
    assert found.mean == pytest.approx(clipped.mean(), rel=1e-12)
    assert found.std == pytest.approx(clipped.std(), rel=1e-12)


def test_a_metal_speck_does_not_move_the_scale():
    sample = np.random.default_rng(2).normal(3000, 400, 10_000)
    speck = sample.copy()
    speck[:20] = 65_535
    assert gray_scale(speck).std == pytest.approx(gray_scale(sample).std, rel=0.02)
    assert speck.std() > 5 * sample.std()


def test_the_order_of_the_voxels_does_not_matter_to_the_last_bit():
    sample = np.random.default_rng(3).normal(size=5000).astype(np.float32)
    assert gray_scale(sample) == gray_scale(np.random.default_rng(4).permutation(sample))


@both
@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([], "empty"),
        ([1.0, float("nan"), 2.0], "NaN or Inf"),
        ([1.0, float("inf"), 2.0], "NaN or Inf"),
        ([5.0] * 8, "one gray value"),
        ([5.0] * 1000 + [6.0], "one gray value"),
    ],
)
def test_a_sample_without_a_scale_is_refused(xp, sample, message):
    with pytest.raises(InputError, match=message):
        gray_scale(xp.asarray(sample, dtype=xp.float64))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (0.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_gray_scale_that_cannot_divide_is_refused(mean, std):
    with pytest.raises(InputError, match="std > 0"):
        GrayScale(mean, std)


@both
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_zscore_takes_gray_values_as_they_are(xp, dtype):
    image = xp.asarray(np.array([[[10, 20, 250]]], dtype=dtype))
    out = zscore(image, GrayScale(mean=20.0, std=5.0))
    assert out.dtype == xp.float32
    np.testing.assert_array_equal(np.asarray(out), [[[-2, 0, 46]]])


@both
def test_darker_voxels_are_raised_to_the_floor(xp):
    out = zscore(xp.asarray([0.0, 12.0, 20.0, 90.0]), GrayScale(mean=20.0, std=5.0, floor=-1.5))
    assert out.dtype == xp.float32
    assert [float(out[i]) for i in range(4)] == [-1.5, -1.5, 0.0, 14.0]


@both
def test_one_very_bright_mineral_does_not_set_the_scale(xp):
    voxels = np.concatenate([np.linspace(90, 110, 800), np.linspace(140, 160, 150), np.linspace(900, 1000, 50)])
    plain = gray_scale(xp.asarray(voxels))
    scale = gray_scale(xp.asarray(voxels), ceiling=1.0)
    assert scale.ceiling == pytest.approx(plain.mean + plain.std)
    lowered = gray_scale(np.minimum(voxels, scale.ceiling))
    assert (scale.mean, scale.std) == pytest.approx((lowered.mean, lowered.std))
    assert (150 - scale.mean) / scale.std > 2 * (150 - plain.mean) / plain.std > 0
    assert gray_scale(xp.asarray(voxels), ceiling=99.0).std == pytest.approx(plain.std), "nothing is that bright"


@both
def test_brighter_voxels_are_lowered_to_the_ceiling(xp):
    scale = GrayScale(mean=20.0, std=5.0, floor=-1.5, ceiling=30.0)
    out = zscore(xp.asarray([0.0, 20.0, 29.0, 30.0, 90.0]), scale)
    assert out.dtype == xp.float32
    np.testing.assert_allclose(np.asarray(out), [-1.5, 0.0, 1.8, 2.0, 2.0])
    assert float(zscore(xp.asarray([90.0]), replace(scale, floor=None))[0]) == 2.0


def test_zscore_leaves_the_image_alone():
    image = np.array([1, 2, 3], np.float32)
    zscore(image, GrayScale(2.0, 1.0))
    np.testing.assert_array_equal(image, [1, 2, 3])


def test_zoom_makes_the_mean_particle_as_wide_as_the_model_wants():
    assert size_zoom((0.01, 0.02, 0.03), 0.6, 60) == pytest.approx((1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("spacing", "size", "target", "message"),
    [
        ((0.01, 0.0, 0.01), 0.3, 60, "spacing is 0.0 mm"),
        ((0.01, 0.01, 0.01), -0.3, 60, "particle size is -0.3 mm"),
        ((0.01, 0.01, 0.01), float("nan"), 60, "particle size is nan mm"),
        ((0.01, 0.01, 0.01), 0.3, 0, "target size is 0 voxels"),
    ],
)
def test_a_length_that_is_not_positive_is_refused(spacing, size, target, message):
    with pytest.raises(InputError, match=message):
        size_zoom(spacing, size, target)


def test_the_normalized_grid_is_rounded_and_never_empty():
    assert normalized_shape((100, 333, 4), (0.5, 0.1, 0.01)) == (50, 33, 1)


@both
def test_gray_values_are_counted_from_the_embedding_and_compressed(xp):
    scale = EmbeddingScale(embedding=100.0, contrast=20.0)
    out = network_input(xp.asarray([100, 120, 1700], dtype=xp.int16), scale)
    assert out.dtype == xp.float32
    assert np.allclose(np.asarray(out), [-0.5, 0.9102, 7.6203], atol=1e-3)


@both
def test_dark_particles_are_a_mirrored_scale(xp):
    bright, dark = EmbeddingScale(100.0, 20.0, floor=-1.0), EmbeddingScale(100.0, 20.0, floor=-1.0, dark=True)
    image = xp.asarray([60.0, 100.0, 140.0])
    assert np.array_equal(np.asarray(network_input(image, dark)), np.asarray(network_input(image, bright))[::-1])
    assert float(network_input(image, dark)[2]) == -1.0


def test_a_scale_of_means_gives_the_zscore():
    image, scale = np.arange(5.0), GrayScale(2.0, 1.0, floor=-1.0)
    assert np.array_equal(network_input(image, scale), zscore(image, scale))


@pytest.mark.parametrize(("embedding", "contrast"), [(float("nan"), 1.0), (0.0, 0.0), (0.0, -1.0)])
def test_an_embedding_scale_that_cannot_divide_is_refused(embedding, contrast):
    with pytest.raises(InputError, match="embedding"):
        EmbeddingScale(embedding, contrast)
