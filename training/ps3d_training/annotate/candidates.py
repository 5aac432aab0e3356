"""Which patches of a scan are worth a person's time: unlike each other, and the more so where the network is unsure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx, axis_starts
from ps3d_rt.errors import InputError

PROBE: Zyx = (24, 128, 128)
"""Voxels that are looked at of a candidate, in its middle."""
LEAST_CONTRAST = 0.25
"""Of the candidate with the most: one with less, such as a corner outside of the sample, is left out."""
DOUBT_WEIGHT = 0.5
"""How much farther from what is chosen the most doubtful candidate counts, as a share."""

Floats = NDArray[np.float64]


def lattice(shape: Zyx, patch: Zyx) -> list[Box]:
    """Cover a scan with patches that overlap as little as they can.

    >>> [box.start for box in lattice((4, 10, 8), (8, 5, 8))]
    [(0, 0, 0), (0, 5, 0)]
    """
    sides = tuple(min(side, most) for side, most in zip(shape, patch, strict=True))
    starts = [axis_starts(side, part, 0.0) for side, part in zip(shape, sides, strict=True)]
    return [Box((z, y, x), (z + sides[0], y + sides[1], x + sides[2])) for z, y, x in product(*starts)]


def probe_of(box: Box) -> Box:
    """Give the middle of a candidate, at most :data:`PROBE`.

    >>> probe_of(Box((0, 0, 0), (64, 64, 256)))
    Box(start=(20, 0, 64), stop=(44, 64, 192))
    """
    sides = [min(side, most) for side, most in zip(box.shape, PROBE, strict=True)]
    z, y, x = (a + (side - part) // 2 for a, side, part in zip(box.start, box.shape, sides, strict=True))
    return Box((z, y, x), (z + sides[0], y + sides[1], x + sides[2]))


def described(image: NDArray[Any]) -> Floats:
    """Describe gray values, texture and size in a probe.

    Returns:
        (6,) three percentiles, the contrast between two of them, the share of it from one voxel to the next, and the
        distance over which gray values become unlike, as the logarithm of voxels.
    """
    values = image.astype(np.float64)
    low, middle, high = np.percentile(values, [5, 50, 95])
    step = np.abs(np.diff(values, axis=2)).mean() / max(values.std(), 1e-9)
    return np.array([low, middle, high, high - low, step, np.log(_range_voxels(values))])


def choose(descriptions: Floats, doubts: Floats, count: int, taken: Sequence[int] = ()) -> list[int]:
    """Choose candidates one by one, each farthest from those before.

    Args:
        descriptions: (n, k); candidates without contrast are left out.
        doubts: (n,) how unsure the network is there; only their order of size matters.
        count: how many.
        taken: candidates that were chosen earlier; they are not chosen again.

    Returns:
        At most ``count`` numbers of rows, in the order they were chosen.

    Raises:
        InputError: if no candidate has any contrast.
    """
    contrast = descriptions[:, 3]
    usable = contrast > LEAST_CONTRAST * contrast.max()
    if not usable.any():
        raise InputError("the scan has the same gray value everywhere; give one with particles.")
    spread = descriptions[usable].std(axis=0)
    scaled = (descriptions - descriptions[usable].mean(axis=0)) / np.where(spread > 1e-9, spread, 1)
    weight = 1 + DOUBT_WEIGHT * (doubts - doubts.min()) / max(float(np.ptp(doubts)), 1e-9)
    free = usable.copy()
    free[list(taken)] = False
    chosen = list(taken)
    while len(chosen) < len(taken) + count and free.any():
        if chosen:
            away = np.linalg.norm(scaled[:, None] - scaled[None, chosen], axis=2).min(axis=1) + 1e-6
        else:  # the most typical one first, or the most doubtful
            away = 1 / (1 + np.linalg.norm(scaled, axis=1))
        best = int(np.argmax(np.where(free, away * weight, -1)))
        chosen.append(best)
        free[best] = False
    return chosen[len(taken) :]


def _range_voxels(values: Floats) -> float:
    """Lag along x at which the autocorrelation has fallen to one half, voxels; at most half the side."""
    centred = values - values.mean()
    power = max(float((centred**2).mean()), 1e-12)
    longest = max(2, values.shape[2] // 2)
    for lag in range(1, longest):
        if float((centred[..., lag:] * centred[..., :-lag]).mean()) < 0.5 * power:
            return float(lag)
    return float(longest)
