"""Sums of the particles that are not finished: a finished one is returned at once, so memory holds a few layers only.

1. The caller says for every id, before the first part, which part is the last that may hold a voxel of it.
2. :meth:`OpenSums.add` takes the parts in their order, adds each to the rows of its ids, and returns the rows of the
   ids that it finished. Their memory is used again.
3. A contact is complete when one of its two particles is, because its faces lie between voxels of both. It is returned
   with each of them, and forgotten when both are finished.
4. Only the first voxel of a finished particle is kept: :func:`ids_in_raster_order` numbers particles by it.

Sums are merged as :func:`ps3d_rt.core.measure.merge_sums` does, so the rows are the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.contacts import Contacts, is_among, merge_contacts, no_contacts
from ps3d_rt.core.measure import MERGED_BY, PartialSums
from ps3d_rt.core.numbering import label_dtype
from ps3d_rt.core.run_sums import Columns
from ps3d_rt.errors import Ps3dError

NOWHERE = int(np.iinfo(np.int64).max)
"""First voxel of a particle that has none."""


class OpenSums:
    """Add up parts in order.

    Args:
        last: (N + 1,) id → number of the last part that may hold it; −1 for ids that no part holds.
    """

    def __init__(self, last: NDArray[np.int32]) -> None:
        self._last = last
        self._by_last = np.argsort(last, kind="stable").astype(np.uint32 if last.size <= 2**32 else np.uint64)
        self._ends = np.cumsum(np.bincount(last + 1))
        """After as many ids of ``_by_last``, those end that part −1, 0, 1 … finishes."""
        self._row = np.full(last.size, -1, np.int32)
        self._done = np.zeros(last.size, np.bool_)
        self._free = np.empty(0, np.int32)
        self._columns: Columns = {}
        self._contacts = no_contacts()
        self._number = -1

    def add(self, part: PartialSums) -> PartialSums:
        """Add the next part, and hand over the rows of the particles that it finished, by ascending id.

        ``contacts`` are all those of these particles.

        Raises:
            Ps3dError: if the part holds a particle that was finished before.
        """
        self._number += 1
        ids = part.label.astype(np.int64)
        if ids.size and int(self._last[ids].min()) < self._number:
            raise Ps3dError(f"part {self._number} holds a particle that ended before it; were stored labels changed?")
        rows = self._row[ids]
        new = rows < 0
        rows[new] = self._take_rows(int(np.count_nonzero(new)), part)
        self._row[ids] = rows
        for name in self._columns:
            more = getattr(part, name)
            if name == "gray_histogram" and self._columns["voxels"][rows].max(initial=0) >= 2**32:
                self._columns[name] = self._columns[name].astype(np.uint64, copy=False)
            column = self._columns[name]
            column[rows[~new]] = MERGED_BY[name](column[rows[~new]], more[~new])
            column[rows[new]] = more[new]
        if len(part.contacts.faces):
            self._contacts = merge_contacts([self._contacts, part.contacts])
        return self._finished(part)

    def _take_rows(self, count: int, like: PartialSums) -> NDArray[np.int32]:
        """Give room for new particles; make half as much again where there is none."""
        if count > self._free.size or not self._columns:
            size = len(next(iter(self._columns.values()), ()))
            room = max(count - self._free.size, size // 2)
            for name in MERGED_BY:
                more = getattr(like, name)
                if more is not None:
                    old = self._columns.get(name, more[:0])
                    self._columns[name] = np.concatenate([old, np.empty((room, *more.shape[1:]), old.dtype)])
            self._free = np.concatenate([self._free, np.arange(size, size + room, dtype=np.int32)])
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def _finished(self, part: PartialSums) -> PartialSums:
        ends = self._ends[[min(self._number + k, self._ends.size - 1) for k in (0, 1)]]
        ids = np.sort(self._by_last[ends[0] : ends[1]])
        ids = ids[self._row[ids] >= 0]
        rows = self._row[ids]
        columns = {name: column[rows] for name, column in self._columns.items()}
        self._row[ids] = -1
        self._free = np.concatenate([self._free, rows])
        self._done[ids] = True
        label, pairs = ids.astype(np.uint64), self._contacts.labels
        here = is_among(pairs, label).any(axis=1)
        contacts = Contacts(pairs[here], self._contacts.faces[here])
        if ids.size:
            left = ~self._done[pairs.astype(np.int64)].all(axis=1)
            self._contacts = Contacts(pairs[left], self._contacts.faces[left])
        return PartialSums(label=label, contacts=contacts, gray_bins=part.gray_bins, **columns)


def ids_in_raster_order(first_index: NDArray[np.int64]) -> NDArray[Any]:
    """Give particles numbers in raster order of their first voxels.

    Args:
        first_index: (N + 1,) id → raster index of its first voxel; :data:`NOWHERE` for ids without a voxel, such as 0.

    Returns:
        (N + 1,) id → 1..M, 0 for ids without a voxel; uint32, uint64 past 2^32.

    >>> ids_in_raster_order(np.array([NOWHERE, 30, NOWHERE, 4]))
    array([0, 2, 0, 1], dtype=uint32)
    """
    count = int(np.count_nonzero(first_index < NOWHERE))
    id_map = np.zeros(first_index.size, label_dtype(count))
    id_map[np.argsort(first_index)[:count]] = np.arange(1, count + 1)
    return id_map
