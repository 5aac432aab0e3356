from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ps3d_rt.core.arrays import Array
from ps3d_rt.engines.base import EngineSpec
from ps3d_rt.engines.batches import DeviceLimits, largest_batch, score_in_batches, try_once
from ps3d_rt.errors import CapabilityError

PATCH = (2, 3, 4)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_every_call_has_the_same_size_and_every_patch_its_own_scores(count: int) -> None:
    patches = np.random.default_rng(0).standard_normal((count, 1, *PATCH), dtype=np.float32)
    calls: list[Array] = []

    def run(piece: Array, scores: Array) -> None:
        assert (piece.shape, scores.shape) == ((4, 1, *PATCH), (4, 3, *PATCH))
        assert piece.flags.c_contiguous
        assert scores.flags.c_contiguous
        calls.append(piece)
        scores[:] = piece * np.float32([1, 2, 3]).reshape(3, 1, 1, 1)

    scores = score_in_batches(patches[:, :, ::-1], 4, run)
    np.testing.assert_array_equal(scores[:, 1], patches[:, 0, ::-1] * 2)
    assert scores.shape == (count, 3, *PATCH)
    assert scores.dtype == np.float32
    assert len(calls) == -(-count // 4)
    assert not np.concatenate(calls)[count:].any(), "what fills up is zero, not whatever lay in memory"


@pytest.mark.parametrize(("most", "memory", "expected"), [(8, None, 4), (3, None, 2), (8, 250, 2), (8, 100, 1)])
def test_the_batch_is_the_largest_that_is_allowed_and_fits(most: int, memory: int | None, expected: int) -> None:
    assert largest_batch({1: 100, 2: 200, 4: 400}, DeviceLimits(batch=most, memory_bytes=memory)) == expected


def test_a_budget_that_is_too_small_is_told_with_numbers() -> None:
    with pytest.raises(CapabilityError, match=r"needs 3\.00 GiB.*allowed.*1\.00 GiB"):
        largest_batch({1: 3 * 2**30, 2: 6 * 2**30}, DeviceLimits(memory_bytes=2**30))


SPEC = EngineSpec(name="tensorrt", patch=PATCH, device="cuda:0", precision="fp16", batch=2)


def test_an_engine_that_runs_is_let_through() -> None:
    shapes = []
    try_once(np, SPEC, lambda patches: shapes.append(patches.shape) or np.zeros(3), (RuntimeError,))
    assert shapes == [(2, 1, *PATCH)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(CapabilityError, match="tensorrt computes NaN or Inf on cuda:0"):
        try_once(np, SPEC, lambda _: np.float32([0, value]), (RuntimeError,))


def test_a_failure_becomes_a_missing_capability_and_a_bug_stays_a_bug() -> None:
    def fail(error: Exception) -> Any:
        raise error

    with pytest.raises(CapabilityError, match="does not run on cuda:0: no kernel image"):
        try_once(np, SPEC, lambda _: fail(RuntimeError("no kernel image")), (RuntimeError,))
    with pytest.raises(KeyError):
        try_once(np, SPEC, lambda _: fail(KeyError("x")), (RuntimeError,))
