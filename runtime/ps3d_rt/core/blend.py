"""Overlapping patches → one class per voxel: Gaussian window, running sum, online argmax.

Every patch adds ``scores · window``; the class with the largest sum wins, the lowest class at a tie. Nothing is
divided: the weight of a voxel is the same for all classes. Softmax scores add up to 1, so the three sums add up to
the weight, which is a product of three 1-D sums: two classes are summed, background is the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.grid import Box, PatchLattice, Zyx
from ps3d_rt.errors import InputError


def axis_window(length: int) -> NDArray[np.float32]:
    """Gaussian along one axis of a patch: symmetric, peak 1, sigma = length / 8.

    >>> [f"{weight:.3f}" for weight in axis_window(5)]
    ['0.006', '0.278', '1.000', '0.278', '0.006']
    """
    offset = np.arange(length) - (length - 1) / 2
    window = np.exp(-0.5 * (offset / (length / 8)) ** 2)
    return cast(NDArray[np.float32], (window / window.max()).astype(np.float32))


def gaussian_window(patch: Zyx, *, xp: ModuleType = np) -> Any:
    """Weight of every voxel of a patch: the product of three :func:`axis_window`.

    Returns:
        (*patch,) float32 array of ``xp``; at most 1, above 1e-12, so float32 sums stay exact enough at the corners.
    """
    return _outer([axis_window(n) for n in patch], xp)


def add_patch(total: Any, scores: Any, window: Any, at: Box) -> None:
    """Add one weighted patch to the running sum, in place.

    Args:
        total: (classes, z, y, x) float32.
        scores: (classes, *at.shape) float32, softmax output of the engine.
        window: (*at.shape,) float32, from :func:`gaussian_window`.
        at: where the patch lies, in voxels relative to ``total``.

    Raises:
        InputError: if the shapes disagree or the patch does not lie inside ``total``.
    """
    classes, *shape = total.shape
    if scores.shape != (classes, *at.shape) or window.shape != at.shape:
        raise InputError(
            f"scores {scores.shape} and window {window.shape} do not fit {classes} classes of a patch {at.shape}."
        )
    if min(at.start) < 0 or any(b > n for b, n in zip(at.stop, shape, strict=True)):
        raise InputError(f"the patch {at} does not lie inside the sum of {tuple(shape)} voxels.")
    for c in range(classes):
        total[(c, *at.slices)] += scores[c, ...] * window


def classes_of(core: Any, border: Any, weight: Any) -> Any:
    """Pick the class with the largest sum; the lowest class at a tie.

    Args:
        core: sum of scores · window of class core.
        border: the same of class border, same shape.
        weight: sum of the windows; background is ``weight − core − border``.

    Returns:
        uint8 of the same shape: 0 background, 1 core, 2 border.
    """
    xp = array_namespace(core)
    background = weight - core - border
    zero, one, two = (xp.asarray(c, dtype=xp.uint8) for c in range(3))
    best = xp.where(core > background, one, zero)
    return xp.where(border > xp.maximum(core, background), two, best)


class BlendRing:
    """Running sums that slide along z: as deep as one patch, whatever the depth of the volume.

    Usage::

        ring = BlendRing(lattice)
        for at in ring.patches():
            ring.skip(at) if empty(at) else ring.add(engine.infer(...)[0], at)
            z, classes = ring.take()        # may be no plane at all

    Every patch must come, in the order of :meth:`patches`: so a forgotten one cannot pass for background, and the
    float sums of a voxel are added in one order whatever the range of planes: same bytes for any split along z.

    Args:
        lattice: the patches of the volume.
        planes: (first, last + 1) planes to emit; patches that touch none of them are not expected. Default all.
        xp: array library of the scores.

    Memory: 2 · 4 bytes · patch_z · Y · X.
    """

    def __init__(self, lattice: PatchLattice, planes: tuple[int, int] | None = None, *, xp: ModuleType = np) -> None:
        self.planes = (0, lattice.padded[0]) if planes is None else planes
        if not 0 <= self.planes[0] < self.planes[1] <= lattice.padded[0]:
            raise InputError(f"planes {self.planes} do not lie inside the volume of {lattice.padded} voxels.")
        self._lattice = lattice
        self._xp = xp
        self._window = gaussian_window(lattice.patch, xp=xp)
        self._sums = xp.zeros((2, lattice.patch[0], *lattice.padded[1:]), dtype=xp.float32)
        weights = [_axis_weight(*axis) for axis in zip(lattice.padded, lattice.patch, lattice.starts, strict=True)]
        self._weight_z = weights[0]
        self._weight_yx = _outer(weights[1:], xp)
        self._coming = self.patches()
        first = next(self._coming)
        self._next: Box | None = first
        self._base = first.start[0]  # first plane in the ring; plane z lies at z % patch_z

    def patches(self) -> Iterator[Box]:
        """Walk the patches that touch the planes to emit, layer by layer, in raster order."""
        first, stop = self.planes
        depth = self._lattice.patch[0]
        layers = (z for z in self._lattice.starts[0] if z < stop and z + depth > first)
        return chain.from_iterable(self._lattice.layer(z) for z in layers)

    def add(self, scores: Any, at: Box) -> None:
        """Add the scores of the next patch.

        Args:
            scores: (3, *patch) float32, softmax over background, core, border.
            at: where the patch lies in the padded volume.

        Raises:
            InputError: if the patch is not the next one, the shape disagrees, or finished planes were not taken.
        """
        if scores.shape != (3, *self._lattice.patch):
            raise InputError(f"scores have shape {scores.shape}; (3, {self._lattice.patch}) is needed.")
        self._expect(at)
        depth = self._lattice.patch[0]
        wrap = depth - at.start[0] % depth  # planes of the patch before the ring's end; the others start at plane 0
        for part, ring_z in ((slice(0, wrap), depth - wrap), (slice(wrap, depth), 0)):
            window = self._window[part, :, :]
            start = (ring_z, *at.start[1:])
            stop = (ring_z + window.shape[0], *at.stop[1:])
            add_patch(self._sums, scores[1:, part, :, :], window, Box(start, stop))

    def skip(self, at: Box) -> None:
        """Count the next patch as background without scores: what is the rest needs no sum.

        Raises:
            InputError: if the patch is not the next one, or finished planes were not taken.
        """
        self._expect(at)

    def take(self) -> tuple[int, Any]:
        """Hand out the planes that no later patch touches, and free their room.

        Returns:
            first plane, and its and the following planes' classes: uint8 (n, Y, X) of the padded volume, n ≥ 0.
        """
        stop = self.planes[1] if self._next is None else self._next.start[0]
        first = max(self._base, self.planes[0])
        classes = [self._plane(z) for z in range(first, stop)]
        for z in range(self._base, stop):
            self._sums[:, z % self._lattice.patch[0], :, :] = 0.0
        self._base = max(self._base, stop)
        if classes:
            return first, self._xp.stack(classes)
        return first, self._xp.zeros((0, *self._lattice.padded[1:]), dtype=self._xp.uint8)

    def _plane(self, z: int) -> Any:
        at = z % self._lattice.patch[0]
        weight = self._weight_yx * float(self._weight_z[z])
        return classes_of(self._sums[0, at, :, :], self._sums[1, at, :, :], weight)

    def _expect(self, at: Box) -> None:
        if at != self._next:
            raise InputError(f"the next patch of the lattice is {self._next}, got {at}; follow BlendRing.patches().")
        if at.start[0] != self._base:
            raise InputError(f"planes {self._base}..{at.start[0]} are finished; take() them before the next layer.")
        self._next = next(self._coming, None)


def _axis_weight(length: int, patch: int, starts: tuple[int, ...]) -> NDArray[np.float32]:
    """Sum of the windows along one axis."""
    weight = np.zeros(length, np.float32)
    for start in starts:
        weight[start : start + patch] += axis_window(patch)
    return weight


def _outer(axes: list[NDArray[np.float32]], xp: ModuleType) -> Any:
    product = xp.asarray(axes[0])
    for axis in axes[1:]:
        product = product[..., None] * xp.asarray(axis)
    return product
