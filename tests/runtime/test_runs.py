import numpy as np
import pytest

from ps3d_rt.core.runs import as_ids, run_starts, z_slabs
from ps3d_rt.errors import InputError


def test_a_run_never_crosses_a_row():
    assert run_starts(np.full((2, 2, 3), 4)).tolist() == [0, 3, 6, 9]


def test_a_run_ends_where_either_volume_changes():
    assert run_starts(np.array([[[1, 1, 1, 2]]]), np.array([[[5, 6, 6, 6]]])).tolist() == [0, 1, 3]


def test_slabs_tile_the_volume_and_have_at_least_one_plane():
    assert [(s.start[0], s.stop[0]) for s in z_slabs((5, 10, 10), voxels=299)] == [(0, 2), (2, 4), (4, 5)]
    assert [s.shape for s in z_slabs((2, 10, 10), voxels=1)] == [(1, 10, 10)] * 2


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "<i2", ">i4", ">u8", "i8", "f4", ">f8"])
def test_ids_of_any_numeric_dtype_keep_their_values(dtype):
    ids = as_ids(np.array([0, 1, 1], dtype))
    assert ids.dtype.kind == "u"
    assert ids.tolist() == [0, 1, 1]


@pytest.mark.parametrize("value", [-1, 2**62])
def test_large_ids_are_exact_and_negative_ones_refused(value):
    labels = np.array([value], np.int64)
    if value > 0:
        assert as_ids(labels).tolist() == [value]
    else:
        with pytest.raises(InputError, match="labels hold -1"):
            as_ids(labels)


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 2.0**60])
def test_floats_that_are_not_ids_are_refused(value):
    with pytest.raises(InputError, match="whole numbers"):
        as_ids(np.array([1.0, value]))


def test_other_dtypes_are_refused():
    with pytest.raises(InputError, match="complex128"):
        as_ids(np.array([1j]))
