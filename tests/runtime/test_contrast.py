from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.contrast import is_empty


@pytest.fixture(params=["numpy", "array_api_strict"])
def xp(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def test_noise_alone_is_empty_but_a_grain_of_one_block_is_not(xp: Any) -> None:
    patch = np.random.default_rng(0).normal(-1, 0.15, (32, 32, 32)).astype(np.float32)
    assert is_empty(xp.asarray(patch))
    patch[9:13, 9:13, 9:13] += 2  # across eight blocks, the least favourable place
    assert not is_empty(xp.asarray(patch))


def test_the_inside_of_a_large_grain_is_even_but_not_empty(xp: Any) -> None:
    assert not is_empty(xp.full((16, 16, 16), 0.5, dtype=xp.float32))
    assert is_empty(xp.full((16, 16, 16), -0.5, dtype=xp.float32))


def test_a_patch_with_nan_is_not_empty(xp: Any) -> None:
    patch = np.full((8, 8, 8), -0.5, np.float32)
    patch[5, 2, 7] = np.nan
    assert not is_empty(xp.asarray(patch))


@given(
    shape=st.tuples(*[st.integers(4, 21)] * 3),
    seed=st.integers(0, 999),
    noise=st.floats(0.0, 1.2),
    mean=st.sampled_from([-1.0, -0.1, 0.2]),
    part=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_kernel_decides_as_the_array_api(
    shape: tuple[int, int, int], seed: int, noise: float, mean: float, part: bool
) -> None:
    z, y, x = shape
    # A patch is a part of the planes around it; voxels past the last whole block are not looked at.
    planes = np.random.default_rng(seed).normal(mean, noise, (z + 2, y + 3, x + 5)).astype(np.float32)
    patch = planes[1 : z + 1, 2 : y + 2, 4 : x + 4] if part else planes[:z, :y, :x].copy()
    assert is_empty(patch) == is_empty(array_api_strict.asarray(patch))


def test_block_means_at_the_threshold_are_told_apart(xp: Any) -> None:
    below = np.float32(-0.15)  # 0.34999999 above -0.5; the next float32 is 0.35000001 above it
    patch = np.full((4, 4, 8), -0.5, np.float32)
    patch[:, :, 4:] = below
    assert is_empty(xp.asarray(patch))
    patch[:, :, 4:] = np.nextafter(below, np.float32(0))
    assert not is_empty(xp.asarray(patch))
