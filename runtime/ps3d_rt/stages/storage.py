"""Stores of a run, on disk or in memory: arrays by name, labels on the source grid, rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.measure import Look, ParticleTable, with_scores
from ps3d_rt.core.rows import joined, relabelled
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.core.stitch import relabel
from ps3d_rt.devices import Device
from ps3d_rt.journal import Journal
from ps3d_rt.plan import WORK_SHARD

BORDER_CORE, FRAGMENTS, INSTANCES = "border-core", "fragments", "instances"
"""Arrays of the store: what the network gives, the fragments of every chunk, and labels with final ids if asked for."""
FOREGROUND_SCORE, CORE_SCORE = "foreground-score", "core-score"
"""Arrays of the store: score of foreground, and of core alone, percent, uint8, 0 in the background; there may be
none."""
GROWN = ("grown-0", "grown-1")
"""Arrays of the store that hold the labels after a round of growth; every chunk alternates between them."""


class Store(Protocol):
    """Named arrays that all have the shape of one volume; on disk as a rule. Workers share it by pickling it.

    A store that reads into arrays on a GPU gets such arrays to write.

    Tasks that run at the same time write disjoint boxes, and never read an array where another one writes it.
    """

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make sure that ``name`` is there. What was written stays; where nothing was, it is not read."""

    def read(self, name: str, box: Box) -> Any:
        """Return the values of ``name`` in ``box``, a numpy or a CuPy array."""

    def write(self, name: str, box: Box, values: Any) -> None:
        """Set the values of ``name`` in ``box``, always the whole box of a chunk."""


class MemoryStore:
    """Arrays in memory; threads can share it, processes cannot."""

    def __init__(self, shape: Zyx) -> None:
        self.shape = shape
        self.arrays: dict[str, NDArray[Any]] = {}

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make ``name`` an array of zeros, unless it is there."""
        if name not in self.arrays:
            self.arrays[name] = np.zeros(self.shape, dtype)

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Return the values of ``name`` in ``box``, as a view, which is not to be changed."""
        return self.arrays[name][box.slices]

    def write(self, name: str, box: Box, values: NDArray[Any]) -> None:
        """Set the values of ``name`` in ``box``."""
        self.arrays[name][box.slices] = values


@dataclass(frozen=True)
class DeviceStore:
    """A store whose arrays are on a device while a task has them."""

    store: Store
    device: Device

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make sure that ``name`` is there."""
        self.store.create(name, dtype)

    def read(self, name: str, box: Box) -> Any:
        """Return the values of ``name`` in ``box`` as an array of the device."""
        self.device.start()
        return self.device.upload(self.store.read(name, box))

    def write(self, name: str, box: Box, values: Any) -> None:
        """Set the values of ``name`` in ``box``."""
        self.store.write(name, box, self.device.download(values))


def read_ids(store: Store, chunk_labels: Sequence[ChunkLabels], box: Box, dtype: DTypeLike = np.int64) -> NDArray[Any]:
    """Read ids of the volume, of ``dtype``, in ``box``; 0 where no chunk lies."""
    out = np.zeros(box.shape, dtype)
    for chunk in chunk_labels:
        here = chunk.box.intersect(box)
        if here.size:
            relabel(asnumpy(store.read(chunk.source, here)), chunk.ids, out[here.relative_to(box).slices])
    return out


class LabelsTarget(Protocol):
    """Where labels on the source grid go, box by box in any order."""

    def write(self, box: Box, labels: NDArray[Any]) -> None:
        """Set the labels of ``box``, uint32."""


class LabelLevels(LabelsTarget, Protocol):
    """Labels on the source grid at one or more resolutions, finest first."""

    @property
    def levels(self) -> int:
        """Number of resolutions."""

    def boxes(self, level: int) -> Sequence[Box]:
        """Boxes that tile a level, each to be written whole."""

    def coarsen(self, level: int, box: Box) -> None:
        """Fill a box of a level from the level before it."""

    def read(self, box: Box) -> NDArray[Any]:
        """Read labels of the finest level."""


class LabelsInMemory:
    """Labels on the source grid as one array."""

    levels = 1

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.array = np.zeros(shape, np.uint32)

    def boxes(self, level: int) -> Sequence[Box]:
        """Tile the array."""
        z, y, x = self.array.shape
        return ChunkGrid((z, y, x), WORK_SHARD).boxes

    def write(self, box: Box, labels: NDArray[Any]) -> None:
        """Set the labels of ``box``."""
        self.array[box.slices] = labels

    def coarsen(self, level: int, box: Box) -> None:
        """Do nothing: there is one level."""

    def read(self, box: Box) -> NDArray[Any]:
        """View the labels of ``box``."""
        return self.array[box.slices]


class Rows(Protocol):
    """Where finished rows go."""

    def add(self, rows: ParticleTable, first_index: NDArray[np.int64]) -> None:
        """Keep rows; ``first_index`` are the raster indices of their first voxels, (n,)."""

    def finish(self, id_map: NDArray[Any], look: Look | None = None) -> SampleTable:
        """Give the particles their final ids, ``id_map[id]``, and scores, and the rows their order."""


class RowsInMemory:
    """Rows of a scan that fits into memory with all its particles."""

    table: ParticleTable
    """After :meth:`finish`."""

    def __init__(self) -> None:
        self._rows: list[ParticleTable] = []

    def add(self, rows: ParticleTable, first_index: NDArray[np.int64]) -> None:
        """Keep rows."""
        self._rows.append(rows)

    def finish(self, id_map: NDArray[Any], look: Look | None = None) -> ParticleTable:
        """Put the rows together, as :attr:`table`."""
        self.table = with_scores(relabelled(joined(self._rows), id_map), look)
        self._rows.clear()
        return self.table


@dataclass(frozen=True, kw_only=True)
class RunStorage:
    """Where a run keeps what it makes."""

    store: Store
    """Working arrays on the normalized grid."""
    labels: LabelLevels
    rows: Callable[[int], Rows]
    """Makes the place for the rows of the table; it is told how many there are at most."""
    journal: Journal | None = None
    """Finished tasks; without it a run cannot be resumed."""
    pictures: bool = False
    """Whether planes are to be kept for a report while the scan is read."""
