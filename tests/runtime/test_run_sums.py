import tracemalloc

import numpy as np
import pytest

from ps3d_rt.core.measure import partial_sums
from ps3d_rt.core.run_sums import sum_runs
from ps3d_rt.core.runs import z_slabs


def rows_of(labels, image=None):
    return sum_runs(labels, image, (0, 0, 0), labels.shape)


def test_rows_are_in_the_order_of_the_first_voxels():
    rows = rows_of(np.array([[[9, 9, 0, 3], [3, 9, 5, 5]]]))
    assert rows.label.tolist() == [9, 3, 5]
    assert rows.first.tolist() == [0, 3, 6]
    assert rows.voxels.tolist() == [3, 2, 2]


@pytest.mark.parametrize("step", [1, 2**20 + 1, 2**32, 2**45, 2**52 - 1])
def test_ids_far_apart_share_no_row_while_the_rows_grow(step):
    # 2^12 ids, one a voxel, then all of them again: every id is found in a hash that grew from 8 rows to 2^13
    ids = (np.random.default_rng(0).permutation(2**12).astype(np.uint64) + np.uint64(1)) * np.uint64(step)
    rows = rows_of(np.concatenate([ids, ids[::-1]]).reshape(-1, 64, 4))
    assert rows.label.tolist() == ids.tolist()
    assert rows.first.tolist() == list(range(2**12))
    assert np.all(rows.voxels == 2)


def test_the_largest_id_of_64_bits_is_an_id():
    assert rows_of(np.array([[[2**64 - 1, 0, 2**64 - 1]]], np.uint64)).voxels.tolist() == [2]


@pytest.mark.parametrize("ids", ["?", "u1", "<i2", ">i4", ">u8", "f8"])
@pytest.mark.parametrize("gray", ["?", "u1", ">u2", "i4", "u8", "f2", ">f4", "f8"])
def test_every_dtype_and_memory_order_gives_the_same_sums(ids, gray):
    rng = np.random.default_rng(3)
    labels, image = rng.integers(0, 2, (4, 5, 6)), rng.integers(0, 2, (4, 5, 6))
    rows = rows_of(labels.astype(ids, order="F"), image.astype(gray)[::-1])
    assert rows.voxels.tolist() == [labels.sum()]
    assert rows.gray_sum.tolist() == [image[::-1][labels > 0].sum()]
    assert rows.gray_sum.dtype == (np.int64 if gray in {"?", "u1", ">u2", "i4"} else np.float64)


@pytest.mark.parametrize("gray", ["u8", "i8", "f8"])
def test_values_that_float32_would_round_are_exact(gray):
    image = np.array([[[2**24 + 1, 2**40 + 1]]], gray)
    assert rows_of(np.ones((1, 1, 2), np.uint8), image).gray_sum.tolist() == [2**40 + 2**24 + 2]


def test_slabs_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    labels, image = rng.integers(0, 9, (9, 5, 5)), rng.integers(-9, 9, (9, 5, 5))
    whole = rows_of(labels, image)
    monkeypatch.setattr("ps3d_rt.core.run_sums.z_slabs", lambda shape: z_slabs(shape, 60))
    for one, other in zip(rows_of(labels, image), whole, strict=True):
        assert np.array_equal(one, other)


def test_no_memory_is_taken_per_voxel():
    labels, image = np.ones((16, 256, 256), np.uint32), np.ones((16, 256, 256), np.uint16)
    partial_sums(labels, image)  # compiled now
    tracemalloc.start()
    partial_sums(labels, image)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < labels.size / 4
