from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_rt.core.grid import Box, PatchLattice, axis_starts
from ps3d_rt.errors import InputError


@given(st.integers(1, 400), st.integers(1, 80), st.floats(0, 0.9))
def test_starts_cover_the_axis_with_the_asked_overlap(extra: int, patch: int, overlap: float) -> None:
    length = patch + extra - 1
    starts = axis_starts(length, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - patch
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert steps.size == 0 or steps.max() <= max(1, int(patch * (1 - overlap)))
    assert steps.size == 0 or steps.max() - steps.min() <= 1, "evenly spaced"


@given(st.integers(1, 400), st.integers(1, 80), st.floats(0, 0.9))
def test_there_is_no_patch_too_many(extra: int, patch: int, overlap: float) -> None:
    length = patch + extra - 1
    stride = max(1, int(patch * (1 - overlap)))
    assert len(axis_starts(length, patch, overlap)) == 1 + -(-(length - patch) // stride)


@pytest.mark.parametrize(("length", "overlap"), [(3, 0.5), (8, 1.0), (8, -0.1)])
def test_impossible_axes_are_refused(length: int, overlap: float) -> None:
    with pytest.raises(InputError):
        axis_starts(length, 4, overlap)


def test_a_lattice_pads_what_is_smaller_than_a_patch_and_covers_every_voxel() -> None:
    lattice = PatchLattice.plan((5, 9, 20), patch=(8, 8, 8), overlap=0.25)
    assert lattice.padded == (8, 9, 20)
    seen = np.zeros(lattice.padded, int)
    patches = [box for z in lattice.starts[0] for box in lattice.layer(z)]
    for box in patches:
        assert box.shape == (8, 8, 8)
        seen[box.slices] += 1
    assert seen.min() == 1
    assert len(patches) == lattice.count == len(set(patches))
    assert patches == sorted(patches), "raster order"


def test_a_box_counts_voxels_past_2_to_the_31() -> None:
    assert Box.of_shape((3000, 3000, 3000)).size == 27_000_000_000


def test_boxes_that_do_not_meet_share_nothing() -> None:
    far = Box((10, 10, 10), (12, 12, 12))
    assert Box.of_shape((5, 5, 5)).intersect(far).size == 0
    assert Box.of_shape((11, 20, 20)).intersect(far) == Box((10, 10, 10), (11, 12, 12))
