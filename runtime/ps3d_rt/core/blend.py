"""Overlapping patches → one class per voxel: Gaussian window, running sum, online argmax.

Every patch adds ``scores · window``; the class with the largest sum wins, the lowest class at a tie. Nothing is
divided: the weight of a voxel is the same for all classes. Softmax scores add up to 1, so the three sums add up to
the weight, which is a product of three 1-D sums: two classes are summed, background is the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import Array, array_namespace, compiled
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
    """Add one weighted patch to the running sum, in place; what lies outside the sum is left out.

    Args:
        total: (classes, z, y, x) float32.
        scores: (classes, *at.shape) float32, softmax output of the engine.
        window: (*at.shape,) float32, from :func:`gaussian_window`.
        at: where the patch lies, in voxels relative to ``total``.

    Raises:
        InputError: if the shapes disagree.
    """
    classes, *shape = total.shape
    if scores.shape != (classes, *at.shape) or window.shape != at.shape:
        raise InputError(
            f"scores {scores.shape} and window {window.shape} do not fit {classes} classes of a patch {at.shape}."
        )
    inside = at.intersect(Box.of_shape((shape[0], shape[1], shape[2])))
    part = inside.relative_to(at)
    if isinstance(total, np.ndarray):
        _add_weighted(total, scores, window, inside.start, part.start, part.shape)
    elif part.size:  # the standard leaves open what slices past the end are
        for c in range(classes):
            total[(c, *inside.slices)] += scores[(c, *part.slices)] * window[part.slices]


@compiled
def _add_weighted(total: Array, scores: Array, window: Array, to: Zyx, start: Zyx, shape: Zyx) -> None:
    """Do ``total += scores · window`` without temporary arrays, for the ``shape`` voxels that begin at ``start``."""
    depth, height, width = shape
    for c in range(total.shape[0]):
        for z in range(depth):
            for y in range(height):
                row = total[c, to[0] + z, to[1] + y, to[2] : to[2] + width]
                score = scores[c, start[0] + z, start[1] + y, start[2] : start[2] + width]
                weight = window[start[0] + z, start[1] + y, start[2] : start[2] + width]
                for x in range(width):
                    row[x] += score[x] * weight[x]


def classes_of(core: Any, border: Any, weight: Any, core_bias: float = 0.0) -> Any:
    """Pick the class with the largest sum; the lowest class at a tie.

    Args:
        core: sum of scores · window of class core.
        border: the same of class border, same shape.
        weight: sum of the windows; background is ``weight − core − border``.
        core_bias: score that core gets on top against border, and against border only: below 0 cores shrink, so that
            fewer particles merge and more are split; the foreground stays as it is.

    Returns:
        uint8 of the same shape: 0 background, 1 core, 2 border.
    """
    xp = array_namespace(core)
    background = weight - core - border
    zero, one, two = (xp.asarray(c, dtype=xp.uint8) for c in range(3))
    best = xp.where(core > background, one, zero)
    best = xp.where(border > xp.maximum(core, background), two, best)
    if core_bias:
        best = xp.where(best == zero, zero, xp.where(border > core + weight * core_bias, two, one))
    return best


def percent_of(total: Any, weight: Any, classes: Any) -> Any:
    """Say how sure the network is of a class, or of several together, where there is foreground.

    Args:
        total: sum of scores · window of the class, or of the classes.
        weight: sum of the windows, same shape.
        classes: what :func:`classes_of` found.

    Returns:
        uint8 of the same shape: the score, percent; 0 in the background.
    """
    xp = array_namespace(total)
    percent = xp.floor(total / weight * 100.0 + 0.5)
    zero = xp.asarray(0, dtype=xp.uint8)
    return xp.where(classes == zero, zero, xp.astype(xp.clip(percent, 0.0, 100.0), xp.uint8))


class BlendRing:
    """Running sums that slide along z over a write box: as deep as one patch, whatever the depth of the box.

    Usage::

        ring = BlendRing(lattice, write)
        for z, patches in ring.layers():
            for at in patches:
                ring.skip(at) if empty(at) else ring.add(engine.infer(...)[0], at)
            z, (classes,) = ring.take()        # may be no plane at all

    Every patch that touches the write box must come, in the order of :meth:`layers`: so a forgotten one cannot pass
    for background, and the float sums of a voxel are added in one order whatever the write box: same bytes for any
    tiling of the volume.

    Args:
        lattice: the patches of the volume.
        write: voxels to emit. Default all, the padding too.
        core_bias: as for :func:`classes_of`.
        scores: hand out, besides, the scores of foreground (core and border together) and of core, of
            :func:`percent_of`.
        xp: array library of the scores.

    Memory: 2 · 4 bytes · patch_z · Y · X of the write box.

    Raises:
        InputError: if the write box is empty or not inside the volume.
    """

    def __init__(
        self,
        lattice: PatchLattice,
        write: Box | None = None,
        *,
        core_bias: float = 0.0,
        scores: bool = False,
        xp: ModuleType = np,
    ) -> None:
        whole = Box.of_shape(lattice.padded)
        self.write = whole if write is None else write
        if min(self.write.shape) < 1 or self.write.intersect(whole) != self.write:
            raise InputError(f"{self.write} is empty or not inside the volume of {lattice.padded} voxels.")
        self._lattice = lattice
        self._core_bias = float(np.float32(core_bias))
        self._kinds = 3 if scores else 1
        self._xp = xp
        self._window = gaussian_window(lattice.patch, xp=xp)
        _, height, width = self.write.shape
        self._sums = xp.zeros((2, lattice.patch[0], height, width), dtype=xp.float32)
        weights = [_axis_weight(*axis) for axis in zip(lattice.padded, lattice.patch, lattice.starts, strict=True)]
        self._weights = [weight[part] for weight, part in zip(weights, self.write.slices, strict=True)]
        self._coming = chain.from_iterable(patches for _, patches in self.layers())
        self._next: Box | None = next(self._coming)
        self._base = 0  # planes taken; plane z of the write box lies at z % patch_z in the ring

    def layers(self) -> Iterator[tuple[int, list[Box]]]:
        """Walk the patches that must come: first plane of a layer, and its patches in raster order."""
        return self._lattice.touching(self.write)

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
        z, y, x = at.relative_to(self.write).start
        # Once from its place in the ring on, and once, past the ring's end, from plane 0 on.
        for ring_z in (z,) if z <= 0 else (z % depth, z % depth - depth):
            there = Box((ring_z, y, x), (ring_z + depth, y + self._lattice.patch[1], x + self._lattice.patch[2]))
            add_patch(self._sums, scores[1:, ...], self._window, there)

    def skip(self, at: Box) -> None:
        """Count the next patch as background without scores: what is the rest needs no sum.

        Raises:
            InputError: if the patch is not the next one, or finished planes were not taken.
        """
        self._expect(at)

    def take(self) -> tuple[int, Any]:
        """Hand out the planes that no later patch touches, and free their room.

        Returns:
            first plane in the volume, and of it and the following planes the classes and, if asked for, the scores
            of foreground and of core: uint8 (1 or 3, n, Y, X) of the write box, n ≥ 0.
        """
        first = self._base
        self._base = self.write.shape[0] if self._next is None else self._begin(self._next)
        z, (_, height, width) = self.write.start[0] + first, self.write.shape
        weight_z, weight_y, weight_x = self._weights
        weight_z = weight_z[first : self._base]
        taken = self._xp.empty((self._kinds, self._base - first, height, width), dtype=self._xp.uint8)
        if isinstance(self._sums, np.ndarray):
            _take_planes(self._sums, first, weight_z, weight_y, weight_x, np.float32(self._core_bias), taken)
        else:
            for n, weight in enumerate(weight_z):
                self._take_plane(first + n, weight, taken, n)
        return z, taken

    @cached_property
    def _plane_weight(self) -> Any:
        """Weight of a plane, where no kernel multiplies as it goes: (Y, X) of the write box."""
        return _outer(self._weights[1:], self._xp)

    def _take_plane(self, z: int, weight_z: np.float32, taken: Any, n: int) -> None:
        at = z % self._lattice.patch[0]
        weight = self._plane_weight * float(weight_z)
        core, border = self._sums[0, at, :, :], self._sums[1, at, :, :]
        classes = classes_of(core, border, weight, self._core_bias)
        taken[0, n, :, :] = classes
        if self._kinds > 1:
            taken[1, n, :, :] = percent_of(core + border, weight, classes)
            taken[2, n, :, :] = percent_of(core, weight, classes)
        self._sums[:, at, :, :] = 0.0

    def _begin(self, patch: Box) -> int:
        """First plane of the write box that a patch touches."""
        return max(0, patch.start[0] - self.write.start[0])

    def _expect(self, at: Box) -> None:
        if at != self._next:
            raise InputError(f"the next patch of the lattice is {self._next}, got {at}; follow BlendRing.layers().")
        if self._begin(at) != self._base:
            raise InputError(f"planes up to {at.start[0]} are finished; take() them before the next layer.")
        self._next = next(self._coming, None)


@compiled
def _take_planes(
    sums: Array,
    first: int,
    weight_z: Array,
    weight_y: Array,
    weight_x: Array,
    core_bias: np.float32,
    taken: Array,
) -> None:
    """Do :func:`classes_of`, and :func:`percent_of` if there are three kinds, from ``first`` on; leave zeros behind."""
    depth, width = sums.shape[1], sums.shape[3]
    scored = taken.shape[0] > 1
    for z in range(taken.shape[1]):
        for y in range(sums.shape[2]):
            core = sums[0, (first + z) % depth, y]
            border = sums[1, (first + z) % depth, y]
            row, foreground_percent, core_percent = taken[0, z, y], taken[1 if scored else 0, z, y], taken[-1, z, y]
            for x in range(width):
                weight = weight_y[y] * weight_x[x] * weight_z[z]
                background = weight - core[x] - border[x]
                if core[x] <= background and border[x] <= background:
                    foreground_percent[x] = core_percent[x] = row[x] = 0
                    continue
                if scored:
                    percent = np.floor((core[x] + border[x]) / weight * np.float32(100) + np.float32(0.5))
                    foreground_percent[x] = np.uint8(min(max(percent, np.float32(0)), np.float32(100)))
                    percent = np.floor(core[x] / weight * np.float32(100) + np.float32(0.5))
                    core_percent[x] = np.uint8(min(max(percent, np.float32(0)), np.float32(100)))
                row[x] = 2 if border[x] > core[x] + weight * core_bias else 1
            core[:] = 0.0
            border[:] = 0.0


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
