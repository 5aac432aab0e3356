"""Boxes and the patch lattice: integer arithmetic only.

All coordinates are voxels in the order z, y, x; boxes are half open.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil, prod
from typing import NamedTuple, cast

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

    def touching(self, box: Box) -> Iterator[tuple[int, list[Box]]]:
        """Walk the patches that share a voxel with ``box``, layer by layer, in raster order.

        Yields:
            first plane of a layer, and its patches.

        >>> lattice = PatchLattice.plan((10, 4, 8), patch=(4, 4, 4), overlap=0.5)
        >>> [(z, len(patches)) for z, patches in lattice.touching(Box((2, 0, 0), (3, 4, 4)))]
        [(0, 2), (2, 2)]
        """
        pz, py, px = self.patch
        zs, ys, xs = self._starts_touching(box)
        for z in zs:
            yield z, [Box((z, y, x), (z + pz, y + py, x + px)) for y in ys for x in xs]

    def count_touching(self, box: Box) -> int:
        """Count the patches of :meth:`touching`.

        >>> PatchLattice.plan((10, 4, 8), patch=(4, 4, 4), overlap=0.5).count_touching(Box((2, 0, 0), (3, 4, 4)))
        4
        """
        return prod(len(s) for s in self._starts_touching(box))

    def read_box(self, box: Box) -> Box:
        """Unite the patches of :meth:`touching`; it can reach past the volume into the padding.

        >>> PatchLattice.plan((10, 4, 8), patch=(4, 4, 4), overlap=0.5).read_box(Box((2, 0, 0), (3, 4, 4)))
        Box(start=(0, 0, 0), stop=(6, 4, 6))
        """
        zs, ys, xs = self._starts_touching(box)
        pz, py, px = self.patch
        return Box((zs[0], ys[0], xs[0]), (zs[-1] + pz, ys[-1] + py, xs[-1] + px))

    def axis_touching(self, axis: int, first: int, stop: int) -> tuple[int, ...]:
        """Find the starts of the patches that share a voxel with ``first <= i < stop`` along one axis.

        >>> PatchLattice.plan((10, 4, 8), patch=(4, 4, 4), overlap=0.5).axis_touching(0, 2, 5)
        (0, 2, 4)
        """
        starts = self.starts[axis]
        return starts[bisect_right(starts, first - self.patch[axis]) : bisect_left(starts, stop)]

    def _starts_touching(self, box: Box) -> list[tuple[int, ...]]:
        return [self.axis_touching(axis, box.start[axis], box.stop[axis]) for axis in range(3)]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A task of one worker: it segments a column of the volume, from the first plane to the last.

    Patches that reach past the column are computed again by the neighbour.
    """

    write: Box
    """Voxels of the normalized volume to segment; the write boxes of a plan tile it."""


def plan_sweeps(
    lattice: PatchLattice, shape: Zyx, align: Zyx, *, workers: int, most_plane_voxels: int
) -> tuple[Sweep, ...]:
    """Cut a normalized volume into sweeps.

    1. Of all ways to cut y and x into parts of about the same length, take the one with the fewest patches whose
       planes are small enough; when none is, the one with the smallest planes.
    2. Cut z until there is a sweep for every worker.

    Args:
        lattice: the patches of the volume.
        shape: of the volume without padding, voxels.
        align: sweeps meet at multiples of it, voxels: the shard that they write.
        workers: least number of sweeps, if the depth allows it.
        most_plane_voxels: largest area of a read box in y and x, if ``align`` allows it.

    Returns:
        sweeps in raster order.

    >>> lattice = PatchLattice.plan((100, 100, 100), patch=(32, 32, 32), overlap=0.5)
    >>> for sweep in plan_sweeps(lattice, (100, 100, 100), (64, 64, 64), workers=2, most_plane_voxels=9000):
    ...     print(sweep.write, lattice.count_touching(sweep.write))
    Box(start=(0, 0, 0), stop=(100, 64, 100)) 180
    Box(start=(0, 64, 0), stop=(100, 100, 100)) 108
    """
    if min(workers, most_plane_voxels, *align) < 1:
        raise InputError(
            f"workers {workers}, most_plane_voxels {most_plane_voxels}, align {align}: all must be above 0."
        )
    if any(not 0 < n <= p for n, p in zip(shape, lattice.padded, strict=True)):
        raise InputError(f"a volume of {shape} voxels does not fit a lattice over {lattice.padded}.")

    shards = [ceil(n / a) for n, a in zip(shape, align, strict=True)]

    def cuts(axis: int) -> list[_Cut]:
        # One count for every length that a longest part can have; counts between them only add seams.
        counts = sorted({ceil(shards[axis] / longest) for longest in range(1, shards[axis] + 1)})
        return [_cut(lattice, shape, align, axis, count) for count in counts]

    def cost(tiles: tuple[_Cut, ...]) -> tuple[int, ...]:
        y, x = tiles
        area = max(y.longest_read * x.longest_read, most_plane_voxels)
        return area, y.patches * x.patches, len(y.parts) * len(x.parts), len(x.parts)

    y, x = min(product(cuts(1), cuts(2)), key=cost)
    z = _cut(lattice, shape, align, 0, min(shards[0], ceil(workers / (len(y.parts) * len(x.parts)))))
    return tuple(
        Sweep(Box((z0, y0, x0), (z1, y1, x1))) for (z0, z1), (y0, y1), (x0, x1) in product(z.parts, y.parts, x.parts)
    )


class _Cut(NamedTuple):
    """One axis cut into parts."""

    parts: tuple[tuple[int, int], ...]
    """(first, last + 1) of each, voxels."""
    longest_read: int
    """Of the patches that touch a part, voxels."""
    patches: int
    """Starts of patches that touch a part, over all parts."""


def _cut(lattice: PatchLattice, shape: Zyx, align: Zyx, axis: int, count: int) -> _Cut:
    """Cut one axis into ``count`` parts of whole shards, as even as shards are."""
    shards = ceil(shape[axis] / align[axis])
    parts = tuple(pairwise(min(i * shards // count * align[axis], shape[axis]) for i in range(count + 1)))
    starts = [lattice.axis_touching(axis, *part) for part in parts]
    longest_read = max(min(s[-1] + lattice.patch[axis], shape[axis]) - s[0] for s in starts)
    return _Cut(parts, longest_read, sum(map(len, starts)))
