import tracemalloc

import numpy as np
import pytest

from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.measure import partial_sums
from ps3d_rt.core.runs import z_slabs


@pytest.mark.parametrize("step", [1, 2**20 + 1, 2**32, 2**45, 2**52 - 1])
def test_ids_far_apart_share_no_row(step):
    ids = (np.random.default_rng(0).permutation(2**12).astype(np.uint64) + np.uint64(1)) * np.uint64(step)
    sums = partial_sums(np.concatenate([ids, ids[::-1]]).reshape(-1, 64, 4))
    order = np.argsort(ids)
    assert sums.label.tolist() == ids[order].tolist()
    assert sums.first.tolist() == order.tolist()
    assert np.all(sums.voxels == 2)


def test_the_largest_id_of_64_bits_is_an_id():
    assert partial_sums(np.array([[[2**64 - 1, 0, 2**64 - 1]]], np.uint64)).voxels.tolist() == [2]


@pytest.mark.parametrize("ids", ["?", "u1", "<i2", ">i4", ">u8", "f8"])
@pytest.mark.parametrize("gray", ["?", "u1", ">u2", "i4", "u8", "f2", ">f4", "f8"])
def test_every_dtype_and_memory_order_gives_the_same_sums(ids, gray):
    rng = np.random.default_rng(3)
    labels, image = rng.integers(0, 2, (4, 5, 6)), rng.integers(0, 2, (4, 5, 6))
    sums = partial_sums(labels.astype(ids, order="F"), image.astype(gray)[::-1], bins=GrayBins(0, 1))
    ones = int(image[::-1][labels > 0].sum())
    assert sums.voxels.tolist() == [labels.sum()]
    assert (sums.gray_sum.tolist(), sums.gray_square_sum.tolist()) == ([ones], [ones])
    assert (sums.gray_min.tolist(), sums.gray_max.tolist()) == ([0], [1])
    assert sums.gray_histogram[0, :3].tolist() == [labels.sum() - ones, ones, 0]
    assert sums.gray_sum.dtype == (np.int64 if gray in {"?", "u1", ">u2", "i4"} else np.float64)
    assert sums.gray_square_sum.dtype == (np.int64 if gray in {"?", "u1", ">u2"} else np.float64)


@pytest.mark.parametrize("gray", ["u8", "i8", "f8"])
def test_values_that_float32_would_round_are_exact(gray):
    image = np.array([[[2**24 + 1, 2**40 + 1]]], gray)
    assert partial_sums(np.ones((1, 1, 2), np.uint8), image).gray_sum.tolist() == [2**40 + 2**24 + 2]


def test_values_beyond_the_bins_and_no_numbers_fall_into_the_outermost_bins():
    image = np.array([[[-1e300, np.nan, 0.5, 62.5, 63.0, 1e300]]])
    histogram = partial_sums(np.ones(image.shape, np.uint8), image, bins=GrayBins(0, 1)).gray_histogram[0]
    assert {k: n for k, n in enumerate(histogram.tolist()) if n} == {0: 3, 62: 1, 63: 2}


def test_slabs_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    labels, image = rng.integers(0, 9, (9, 5, 5)), rng.integers(-9, 9, (9, 5, 5))
    whole = partial_sums(labels, image)
    monkeypatch.setattr("ps3d_rt.core.measure.z_slabs", lambda shape: z_slabs(shape, 60))
    parts = partial_sums(labels, image)
    for name in ("first", "index_sum", "product_sum", "crossings", "low", "high", "gray_sum", "gray_histogram"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)), name
    assert np.array_equal(parts.contacts.faces, whole.contacts.faces)


def test_memory_does_not_grow_with_the_depth(monkeypatch):
    monkeypatch.setattr("ps3d_rt.core.measure.z_slabs", lambda shape: z_slabs(shape, 2**18))
    labels, image = np.ones((64, 256, 256), np.uint32), np.ones((64, 256, 256), np.uint16)
    partial_sums(labels[:4], image[:4])  # compiled now
    peaks = []
    for depth in (8, 64):
        tracemalloc.start()
        partial_sums(labels[:depth], image[:depth])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
