"""Patches in calls of one size, for engines on a GPU.

Every call has the same number of patches, the last one filled up: kernels are chosen by shape, so a patch gets the
same scores whatever number of others comes along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.grid import Zyx
from ps3d_rt.engines.base import CLASSES, EngineSpec
from ps3d_rt.errors import CapabilityError

ALIGNMENT_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """What an engine may take of the device that it runs on."""

    threads: int | None = None
    """Of the CPU; None: all physical cores."""

    batch: int = 8
    """Most patches a call, on a GPU."""
    memory_bytes: int | None = None
    """Most memory of a GPU for network, scratch and one call; None: no limit but the GPU's."""
    cuda_graph: bool = False
    """Whether the kernels of a call are launched as one graph; TensorRT only. It costs a copy of patches and scores."""


def call_bytes(batch: int, patch: Zyx) -> int:
    """Bytes of patches and scores of one call, float32.

    >>> call_bytes(2, (64, 64, 64)) / 2**20
    8.0
    """
    return batch * (1 + CLASSES) * prod(patch) * 4


def largest_batch(needs: Mapping[int, int], limits: DeviceLimits) -> int:
    """Choose the batch: the largest that is allowed and fits.

    Args:
        needs: batch → bytes of device memory.
        limits: what is allowed.

    Raises:
        CapabilityError: if none is.

    >>> largest_batch({1: 100, 2: 200, 4: 400}, DeviceLimits(batch=8, memory_bytes=300))
    2
    """
    fitting = [
        batch
        for batch, need in needs.items()
        if batch <= limits.batch and (limits.memory_bytes is None or need <= limits.memory_bytes)
    ]
    if not fitting:
        raise CapabilityError(
            f"the network needs {min(needs.values()) / 2**30:.2f} GiB of device memory for {min(needs)} patch(es) a "
            f"call; allowed are {limits.batch} patch(es) and "
            f"{'any memory' if limits.memory_bytes is None else f'{limits.memory_bytes / 2**30:.2f} GiB'}. Allow more."
        )
    return max(fitting)


def score_in_batches(patches: Any, batch: int, run: Callable[[Any, Any], None]) -> Any:
    """Score patches in calls of ``batch``, the last one filled up with zeros.

    Args:
        patches: (n, 1, z, y, x) float32, of any strides.
        batch: patches a call.
        run: scores its first argument, (batch, 1, z, y, x), into its second, (batch, 3, z, y, x); both contiguous.

    Returns:
        (n, 3, z, y, x) float32.
    """
    xp: Any = array_namespace(patches)
    count, _, *patch = patches.shape
    scores = xp.empty((-(-count // batch) * batch, CLASSES, *patch), dtype=xp.float32)
    for first in range(0, count, batch):
        piece = patches[first : first + batch]
        if len(piece) < batch:
            whole = xp.zeros((batch, 1, *patch), dtype=xp.float32)
            whole[: len(piece)] = piece
            piece = whole
        run(xp.ascontiguousarray(piece), scores[first : first + batch])
    return scores[:count]


def try_once(xp: Any, spec: EngineSpec, score: Callable[[Any], Any], failures: tuple[type[Exception], ...]) -> None:
    """Score one call of empty patches, so that an engine that cannot run fails before the first volume is read.

    Raises:
        CapabilityError: if it fails with one of ``failures``, or the scores are not numbers.
    """
    try:
        scores = score(xp.zeros((spec.batch, 1, *spec.patch), dtype=xp.float32))
        finite = bool(xp.all(xp.isfinite(scores)))
    except failures as error:
        raise CapabilityError(f"{spec.name} does not run on {spec.device}: {error}") from error
    if not finite:
        raise CapabilityError(f"{spec.name} computes NaN or Inf on {spec.device}; use another engine or precision.")
