"""Connected components of a label volume, slab by slab: what every id is made of.

1. Every slab of whole planes finds the components of its ids on its own (26 neighbours of the same id).
2. Where two slabs meet, components of one id that touch are joined, by a union-find at the end.

So the answer is that of the whole volume, whatever the slabs. In memory are one slab and 16 bytes a component; past
:data:`MOST` components nothing more is kept: those are gray values, no labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.chunks import tally
from ps3d_rt.core.grid import Box
from ps3d_rt.core.particles import label_dtype
from ps3d_rt.core.runs import as_ids
from ps3d_rt.core.stitch import face_pairs, merge

MOST = 2**25
"""Components that are kept: three times the particles that a run is built for."""


@dataclass(frozen=True, eq=False)
class Components:
    """The components of a volume, in raster order of their first voxels."""

    ids: NDArray[np.uint64]
    """(n,) the id of each; an id may have several."""
    voxels: NDArray[np.int64]
    """(n,) their voxels."""
    numbers: NDArray[Any]
    """(m + 1,) component of a slab, counted through all slabs, → its component here, 1..n; entry 0 is 0."""


class ComponentsBySlab:
    """Takes the slabs of a volume in order, and puts their components together."""

    def __init__(self) -> None:
        self._ids: list[NDArray[np.uint64]] = []
        self._voxels: list[NDArray[np.int64]] = []
        self._pairs = [np.empty((0, 2), np.uint64)]
        self._last_plane: NDArray[Any] | None = None
        self._count = 0
        self.background = 0
        """Voxels of id 0 so far."""

    @property
    def too_many(self) -> bool:
        """Whether there were more than :data:`MOST`: what was found then is not the whole volume."""
        return self._count > MOST

    def add(self, labels: NDArray[Any]) -> None:
        """Take the next slab.

        Args:
            labels: (z, y, x) ids; 0 is background.

        Raises:
            InputError: if the labels are not ids.
        """
        wide, found, count = _components(labels)
        box = Box.of_shape((wide.shape[0], wide.shape[1], wide.shape[2]))
        counted = tally(found, count, box, box.shape)
        self._ids.append(wide.reshape(-1)[counted.firsts[1:]].astype(np.uint64))
        self._voxels.append(counted.volumes[1:])
        self.background += wide.size - int(counted.volumes[1:].sum())
        if self._last_plane is not None:
            touching = face_pairs(self._last_plane, found[0], connectivity=26).astype(np.intp)
            same = self._ids[-2][touching[:, 0] - 1] == self._ids[-1][touching[:, 1] - 1]
            offsets = np.array([self._count - self._ids[-2].size, self._count], np.uint64)
            self._pairs.append(touching[same].astype(np.uint64) + offsets)
        self._last_plane = found[-1].copy()
        self._count += count

    def finish(self) -> Components:
        """Put the components of all slabs together."""
        root = merge(np.concatenate(self._pairs), self._count, np.uint64).astype(np.intp)
        voxels = np.zeros(self._count + 1, np.int64)
        np.add.at(voxels, root[1:], np.concatenate([np.zeros(0, np.int64), *self._voxels]))
        ids = np.concatenate([np.zeros(1, np.uint64), *self._ids])
        first = np.flatnonzero(root == np.arange(root.size))[1:]
        numbers = np.zeros(root.size, label_dtype(first.size))
        numbers[first] = np.arange(1, first.size + 1)
        return Components(ids[first], voxels[first], numbers[root])


def number_components(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """Find the components of a slab as :meth:`ComponentsBySlab.add` does."""
    return _components(labels)[1]


def _components(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32], int]:
    """Give the ids as they were looked at, and their components."""
    ids = as_ids(labels)
    wide = np.ascontiguousarray(ids, np.uint64 if ids.dtype.itemsize == 8 else np.uint32)
    found, count = cc3d.connected_components(wide, connectivity=26, return_N=True, out_dtype=np.uint32)
    return wide, found.astype(np.uint32, copy=False), int(count)
