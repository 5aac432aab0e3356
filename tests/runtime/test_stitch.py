import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.stitch import face_pairs, merge, relabel
from ps3d_rt.errors import InputError


def test_face_pairs_lists_each_touching_pair_once_and_no_background():
    a = np.array([[1, 1, 0], [1, 2, 2]], np.uint32)
    b = np.array([[7, 7, 7], [0, 7, 8]], np.uint32)
    assert face_pairs(a, b).tolist() == [[1, 7], [2, 7], [2, 8]]


def test_26_connected_faces_also_touch_over_edges_and_corners():
    a = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 2]])
    b = np.array([[0, 0, 0], [0, 3, 0], [0, 0, 0]])
    assert face_pairs(a, b).tolist() == []
    assert face_pairs(a, b, connectivity=26).tolist() == [[1, 3], [2, 3]]


def test_26_connected_faces_do_not_reach_two_voxels_or_around_the_border():
    a = np.array([[1, 0, 0, 0], [0, 0, 0, 0]])
    b = np.array([[0, 0, 5, 6], [0, 0, 5, 6]])
    assert len(face_pairs(a, b, connectivity=26)) == 0


def test_offsets_beyond_32_bits_are_exact():
    pairs = face_pairs(np.array([[1]], np.uint32), np.array([[2]], np.uint32), offsets=(2**53, 2**62 + 1))
    assert pairs.dtype == np.uint64
    assert pairs.tolist() == [[2**53 + 1, 2**62 + 3]]


def test_face_pairs_refuses_planes_that_do_not_fit():
    with pytest.raises(InputError, match=r"\(2, 3\) and \(3, 2\)"):
        face_pairs(np.ones((2, 3), np.uint8), np.ones((3, 2), np.uint8))
    with pytest.raises(InputError, match="6 or 26"):
        face_pairs(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8), connectivity=18)  # type: ignore[arg-type]


def test_merge_follows_chains_and_keeps_the_smallest_id_whatever_the_order():
    pairs = np.array([[9, 7], [2, 9], [7, 4], [5, 6]])
    expected = [0, 1, 2, 3, 2, 5, 5, 2, 8, 2]
    assert merge(pairs, 9).tolist() == expected
    assert merge(pairs[::-1, ::-1], 9).tolist() == expected


def test_merge_without_pairs_changes_nothing():
    assert merge(np.empty((0, 2), np.uint64), 3).tolist() == [0, 1, 2, 3]
    assert merge(np.empty((0, 2), np.uint64), 0).tolist() == [0]


def test_merge_takes_more_ids_than_16_bits_hold():
    table = merge(np.array([[65_535, 65_536], [65_536, 70_000]]), 70_000)
    assert table.dtype == np.uint32
    assert table[[65_535, 65_536, 65_537, 70_000]].tolist() == [65_535, 65_535, 65_537, 65_535]


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
def test_merge_refuses_a_dtype_that_does_not_hold_the_ids(dtype):
    with pytest.raises(InputError, match="70000 ids do not fit"):
        merge(np.empty((0, 2)), 70_000, dtype)


@pytest.mark.parametrize("pair", [[0, 1], [2, 4]])
def test_merge_refuses_ids_outside_the_count(pair):
    with pytest.raises(InputError, match=r"must lie in 1\.\.3"):
        merge(np.array([pair]), 3)


def test_relabel_fills_a_part_of_an_array_in_its_dtype():
    out = np.full((1, 3, 3), 9, np.uint64)
    relabel(np.array([[[0, 2], [1, 0]]], np.uint32), np.array([0, 7, 2**40]), out[:, 1:, :2])
    assert out.tolist() == [[[9, 9, 9], [0, 2**40, 9], [7, 0, 9]]]


@pytest.mark.parametrize("stray", [4, 2**32 - 1])
def test_relabel_refuses_ids_past_the_table(stray):
    table, out = np.arange(4, dtype=np.uint32), np.zeros((1, 1, 2), np.uint32)
    relabel(np.array([[[3, 1]]], np.uint32), table, out)
    assert out.tolist() == [[[3, 1]]]
    with pytest.raises(InputError, match=f"id {stray}, the table ends at 3"):
        relabel(np.array([[[stray, 1]]], np.uint32), table, out)


def chunked_labels(mask, cut, connectivity):
    """Label in chunks of ``cut`` voxels an axis, then stitch."""
    structure = ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3)
    boxes = [
        tuple(slice(a, a + c) for a, c in zip(start, cut, strict=True))
        for start in np.ndindex(mask.shape)
        if all(a % c == 0 for a, c in zip(start, cut, strict=True))
    ]
    ids, offset = np.zeros(mask.shape, np.uint64), 0
    offsets = []
    for box in boxes:
        local, count = ndimage.label(mask[box], structure)
        ids[box] = local
        offsets.append(offset)
        offset += count
    unique = ids.copy()
    for box, start in zip(boxes, offsets, strict=True):
        unique[box] += np.where(ids[box] > 0, np.uint64(start), np.uint64(0))
    pairs = [np.empty((0, 2), np.uint64)]
    for axis, step in enumerate(cut):
        for at in range(step, mask.shape[axis], step):
            a, b = unique.take(at - 1, axis), unique.take(at, axis)
            pairs.append(face_pairs(a, b, connectivity=connectivity))
    table = merge(np.concatenate(pairs), offset)
    out = np.zeros(mask.shape, np.uint32)
    for box in boxes:
        relabel(unique[box], table, out[box])
    return out


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    cut=st.tuples(*[st.integers(1, 5)] * 3),
    connectivity=st.sampled_from([6, 26]),
    density=st.sampled_from([0.15, 0.3, 0.5]),
)
def test_chunks_stitched_are_the_same_particles_as_the_whole(seed, shape, cut, connectivity, density):
    mask = np.random.default_rng(seed).random(shape) < density
    structure = ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3)
    whole, count = ndimage.label(mask, structure)
    stitched = chunked_labels(mask, cut, connectivity)
    assert np.array_equal(stitched > 0, mask)
    matches = np.unique(np.stack([whole[mask], stitched[mask]]), axis=1).shape[1]
    assert matches == count == len(np.unique(stitched[mask]))
