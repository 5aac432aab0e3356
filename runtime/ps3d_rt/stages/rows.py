"""Rows of the particle table on their way from sums to a table: in order of completion in, in order of the ids out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.measure import PartialSums, ParticleTable, Spacing, to_table
from ps3d_rt.core.open_sums import NOWHERE, OpenSums, names_of
from ps3d_rt.core.rows import joined, renamed
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.core.sureness import Sureness


class Rows(Protocol):
    """Where finished rows go."""

    def add(self, rows: ParticleTable, firsts: NDArray[np.int64]) -> None:
        """Keep rows; ``firsts`` are the raster indices of their first voxels, (n,)."""

    def finish(self, names: NDArray[Any]) -> SampleTable:
        """Give the particles their final ids, ``names[id]``, and the rows their order."""


def stream_rows(
    parts: Iterable[PartialSums],
    last: NDArray[np.int32],
    shape: Zyx,
    spacing_mm: Spacing,
    sureness: Sureness,
    rows: Rows,
) -> NDArray[Any]:
    """Add up the parts of a volume, and hand on every particle as soon as it is complete.

    Args:
        parts: of the volume, in raster order.
        last: (N + 1,) id → number of the last part that may hold it, −1 if none may.
        shape: of the volume, voxels.
        spacing_mm: voxel size along z, y, x.
        sureness: of the ids 1..N.
        rows: get the rows, with the ids that the parts have.

    Returns:
        (N + 1,) id → final id, in raster order of the first voxels; 0 where there are none.
    """
    sums, firsts = OpenSums(last), np.full(last.size, NOWHERE)
    for part in parts:
        done = sums.add(part)
        firsts[done.label.astype(np.int64)] = done.first
        rows.add(to_table(done, shape, spacing_mm, sureness.of(done.label)), done.first)
    return names_of(firsts)


class RowsInMemory:
    """Rows of a scan that fits into memory with all its particles."""

    table: ParticleTable
    """After :meth:`finish`."""

    def __init__(self) -> None:
        self._rows: list[ParticleTable] = []

    def add(self, rows: ParticleTable, firsts: NDArray[np.int64]) -> None:
        """Keep rows."""
        self._rows.append(rows)

    def finish(self, names: NDArray[Any]) -> ParticleTable:
        """Put the rows together, as :attr:`table`."""
        self.table = renamed(joined(self._rows), names)
        self._rows.clear()
        return self.table
