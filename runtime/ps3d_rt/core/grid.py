"""Boxes and the patch lattice: integer arithmetic only.

All coordinates are voxels in the order z, y, x; boxes are half open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import cast

from ps3d_rt.errors import InputError

Zyx = tuple[int, int, int]


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """The voxels with ``start <= (z, y, x) < stop``.

    >>> Box((0, 2, 4), (1, 4, 8)).shape
    (1, 2, 4)
    """

    start: Zyx
    stop: Zyx

    @classmethod
    def of_shape(cls, shape: Zyx) -> Box:
        """Cover the whole of a volume of ``shape``."""
        return cls((0, 0, 0), shape)

    @property
    def shape(self) -> Zyx:
        """Side lengths, voxels."""
        return cast(Zyx, tuple(b - a for a, b in zip(self.start, self.stop, strict=True)))

    @property
    def size(self) -> int:
        """Number of voxels; Python integers, so it cannot overflow."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index an array that starts at the volume's origin."""
        return cast(
            tuple[slice, slice, slice],
            tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True)),
        )

    def relative_to(self, other: Box) -> Box:
        """Move to coordinates that start at ``other.start``.

        >>> Box((4, 4, 4), (6, 6, 6)).relative_to(Box((3, 4, 0), (9, 9, 9))).start
        (1, 0, 4)
        """
        start = tuple(a - o for a, o in zip(self.start, other.start, strict=True))
        stop = tuple(b - o for b, o in zip(self.stop, other.start, strict=True))
        return Box(cast(Zyx, start), cast(Zyx, stop))

    def intersect(self, other: Box) -> Box:
        """Keep the voxels of both; a box of size 0 where they do not meet.

        >>> Box((0, 0, 0), (4, 4, 4)).intersect(Box((2, 2, 2), (9, 9, 9))).shape
        (2, 2, 2)
        """
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        stop = tuple(max(a, b) for a, b in zip(start, stop, strict=True))
        return Box(cast(Zyx, start), cast(Zyx, stop))

    def grow(self, halo: int, within: Box) -> Box:
        """Widen by ``halo`` voxels on every side, but not past ``within``.

        >>> Box((2, 2, 2), (4, 4, 4)).grow(3, Box.of_shape((6, 6, 6)))
        Box(start=(0, 0, 0), stop=(6, 6, 6))
        """
        start = tuple(a - halo for a in self.start)
        stop = tuple(b + halo for b in self.stop)
        return Box(cast(Zyx, start), cast(Zyx, stop)).intersect(within)


def axis_starts(length: int, patch: int, overlap: float) -> tuple[int, ...]:
    """Patch starts along one axis: first at 0, last at the end, evenly spaced between.

    Args:
        length: voxels along the axis, at least ``patch``.
        patch: voxels of a patch along the axis.
        overlap: least share of a patch that the next one covers again, in [0, 1).

    >>> axis_starts(10, 4, 0.5)
    (0, 2, 4, 6)
    >>> axis_starts(11, 4, 0.5)
    (0, 1, 3, 5, 7)
    >>> axis_starts(4, 4, 0.5)
    (0,)
    """
    if length < patch:
        raise InputError(f"an axis of {length} voxels is shorter than the patch of {patch}; pad it first.")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is {overlap}; it is a share of the patch and must be in [0, 1).")
    stride = max(1, int(patch * (1 - overlap)))
    steps = ceil((length - patch) / stride)
    # i·d//n moves by at most ceil(d/n), which is at most one stride, so the asked overlap is always kept.
    return tuple(i * (length - patch) // max(1, steps) for i in range(steps + 1))


@dataclass(frozen=True, slots=True)
class PatchLattice:
    """All patches of one normalized volume: they belong to the volume, not to a chunk.

    >>> lattice = PatchLattice.plan((8, 4, 3), patch=(4, 4, 4), overlap=0.5)
    >>> lattice.padded, lattice.count
    ((8, 4, 4), 3)
    """

    padded: Zyx
    """Shape of the volume after padding its far ends up to one patch."""
    patch: Zyx
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @classmethod
    def plan(cls, shape: Zyx, patch: Zyx, overlap: float) -> PatchLattice:
        """Lay the lattice over a volume of ``shape`` voxels."""
        padded = tuple(max(n, p) for n, p in zip(shape, patch, strict=True))
        starts = tuple(axis_starts(n, p, overlap) for n, p in zip(padded, patch, strict=True))
        return cls(cast(Zyx, padded), patch, cast(tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], starts))

    @property
    def count(self) -> int:
        """Number of patches."""
        return prod(len(s) for s in self.starts)

    def layer(self, z: int) -> Iterator[Box]:
        """Walk the patches that start at plane ``z``, in raster order."""
        pz, py, px = self.patch
        for y in self.starts[1]:
            for x in self.starts[2]:
                yield Box((z, y, x), (z + pz, y + py, x + px))
