"""Connected components of a label volume, slab by slab: what every id is made of.

1. Every slab of whole planes finds the components of its ids on its own (26 neighbours of the same id): runs of equal
   ids along x are joined with those of neighbouring rows.
2. Where two slabs meet, components of one id that touch are joined, by a union-find at the end.

So the answer is that of the whole volume, whatever the slabs. In memory are one slab and 16 bytes a component; past
:data:`MOST` components nothing more is kept: those are gray values, no labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.core.grid import Box
from ps3d_rt.core.numbering import label_dtype
from ps3d_rt.core.runs import Runs, as_ids, find_runs, paint
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
        slab = _components(labels)
        self._ids.append(slab.ids)
        self._voxels.append(slab.voxels)
        self.background += labels.size - int(slab.voxels.sum())
        if self._last_plane is not None:
            touching = face_pairs(self._last_plane, slab.painted(0, 1)[0], connectivity=26).astype(np.intp)
            same = self._ids[-2][touching[:, 0] - 1] == slab.ids[touching[:, 1] - 1]
            offsets = np.array([self._count - self._ids[-2].size, self._count], np.uint64)
            self._pairs.append(touching[same].astype(np.uint64) + offsets)
        self._last_plane = slab.painted(labels.shape[0] - 1, labels.shape[0])[0]
        self._count += slab.ids.size

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
    """Give every voxel of a slab its component, 1 and up in the order of their first voxels; 0 in the background."""
    return _components(labels).painted(0, labels.shape[0])


@dataclass(frozen=True, eq=False)
class _Slab:
    """Components of one slab."""

    shape: tuple[int, ...]
    runs: Runs
    component: NDArray[np.int64]
    """(n,) of each run, from 0 on."""
    ids: NDArray[np.uint64]
    voxels: NDArray[np.int64]

    def painted(self, start: int, stop: int) -> NDArray[np.uint32]:
        """Give the components, from 1 on, of the planes from ``start`` to before ``stop``."""
        out = np.zeros((stop - start, *self.shape[1:]), np.uint32)
        some = slice(self.runs.rows[start * self.shape[1]], self.runs.rows[stop * self.shape[1]])
        first_index = self.runs.first_index[some] - start * self.shape[1] * self.shape[2]
        paint(out.reshape(-1), first_index, self.runs.lengths[some], self.component[some] + 1)
        return out


def _components(labels: NDArray[Any]) -> _Slab:
    ids = as_ids(labels)
    plain = np.ascontiguousarray(ids, ids.dtype.newbyteorder("="))
    runs = find_runs(plain, Box.of_shape(plain.shape))
    begins = runs.first_index % plain.shape[2]
    root = _join_runs(runs.values, runs.rows, np.stack([begins, begins + runs.lengths], axis=1), plain.shape[1])
    first, voxels = _count(runs.lengths, root)
    return _Slab(plain.shape, runs, root, runs.values[first].astype(np.uint64), voxels)


@compiled
def _join_runs(ids: NDArray[Any], rows: NDArray[np.int64], runs: NDArray[np.int32], height: int) -> NDArray[np.int64]:
    """Join the runs of one id that touch over faces, edges or corners: run → the first run of its component.

    Runs are (n, 2) start and stop along x; ``height`` is that of the slab, in rows.
    """
    root = np.arange(len(runs))
    for row in range(len(rows) - 1):
        z, y = row // height, row % height
        for dz, dy in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
            if z + dz < 0 or y + dy < 0 or y + dy >= height:
                continue
            other = row + dz * height + dy
            first = rows[other]
            for run in range(rows[row], rows[row + 1]):
                label = ids[run]
                while first < rows[other + 1] and runs[first, 1] < runs[run, 0]:
                    first += 1
                near = first
                while near < rows[other + 1] and runs[near, 0] <= runs[run, 1]:
                    if ids[near] == label and root[near] != root[run]:
                        a, b = run, near
                        while root[a] != a:
                            root[a] = root[root[a]]
                            a = root[a]
                        while root[b] != b:
                            root[b] = root[root[b]]
                            b = root[b]
                        root[max(a, b)] = min(a, b)
                    near += 1
    for run in range(len(runs)):  # what a run points to comes before it, and is done
        root[run] = root[root[run]]
    return root


@compiled
def _count(lengths: NDArray[np.int32], root: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put numbers of components, in the order of their first runs, into ``root``; give first run and voxels of each."""
    count = 0
    for run in range(len(root)):
        count += root[run] == run
    first, voxels, found = np.empty(count, np.int64), np.zeros(count, np.int64), 0
    for run in range(len(root)):
        if root[run] == run:
            first[found], root[run] = run, found
            found += 1
        else:
            root[run] = root[root[run]]  # what it points to comes before it, and has its number
        voxels[root[run]] += lengths[run]
    return first, voxels
