from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
