"""Rows of the particle table on disk until all have their ids: a run's memory does not grow with its particles.

A row goes to the file of the planes that its particle begins in, so the files follow each other as the ids do. At the
end each is read, put in order and written as a row group of ``particles.parquet``, and as lines of the CSV files.

    FOLDER/rows-00000       (n,) records: the columns of a row, and its histogram
    FOLDER/contacts-00000   (m, 3) uint64: a particle, one that it touches, the faces
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.contacts import Contacts
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.measure import Look, ParticleTable, with_scores
from ps3d_rt.core.merge_scores import TypicalSolidity
from ps3d_rt.core.rows import relabelled
from ps3d_rt.io.csv_table import COMMA, CsvDialect
from ps3d_rt.io.stored_table import StoredTable
from ps3d_rt.io.table import write_tables

ROWS_PER_FILE = 2**16
"""About so many rows are put in order at a time; the planes of one file are never fewer than one."""

_HISTOGRAM = "gray_histogram"


class SpilledRows:
    """Rows of a scan whose particles need not fit into memory.

    Args:
        folder: for the rows until :meth:`finish`; emptied first: a run that goes on gives all rows again.
        output: gets the table.
        shape: of the scan, voxels z, y, x.
        most: particles, at most.
        dialect: of the CSV files.
    """

    def __init__(self, folder: Path, output: Path, shape: Zyx, most: int, dialect: CsvDialect = COMMA) -> None:
        self._folder, self._output, self._dialect = folder, output, dialect
        self._depth, self._plane = shape[0], shape[1] * shape[2]
        self._files = min(-(-max(most, 1) // ROWS_PER_FILE), shape[0])
        self._like: ParticleTable | None = None
        self._counts: type[np.unsignedinteger[Any]] = np.uint32
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, rows: ParticleTable, first_index: NDArray[np.int64]) -> None:
        """Write rows behind those of the same planes.

        Raises:
            OSError: if the disk is full.
        """
        if self._like is None:
            self._like = rows.take(np.arange(0))
        if rows.gray_histogram is not None and rows.gray_histogram.dtype == np.uint64:
            self._counts = np.uint64
        file = first_index // self._plane * self._files // self._depth
        records = _records(rows)
        sides = np.stack([side.astype(np.uint64) for side in rows.contact_pairs.sides(rows.label)], axis=1)
        touching = file[np.searchsorted(rows.label, sides[:, 0])]
        for number in np.unique(file).tolist():
            _append(self._folder / f"rows-{number:05d}", records[file == number])
            _append(self._folder / f"contacts-{number:05d}", sides[touching == number])

    def finish(self, id_map: NDArray[Any], look: Look | None = None) -> StoredTable:
        """Write ``particles.parquet`` and the CSV files, and remove the rows."""
        write_tables(self._tables(id_map, look), self._output, overwrite=True, dialect=self._dialect)
        shutil.rmtree(self._folder)
        return StoredTable(self._output)

    def _tables(self, id_map: NDArray[Any], look: Look | None) -> Iterator[ParticleTable]:
        if self._like is None:
            raise ValueError("no rows were added; a volume has at least one part.")
        like = self._like
        there = [n for n in range(self._files) if (self._folder / f"rows-{n:05d}").exists()]
        typical = TypicalSolidity.of(self._records(like, number)["solidity"] for number in there)
        for number in there:
            yield with_scores(relabelled(self._table(like, number), id_map), look, typical)
        if not there:
            yield with_scores(like)

    def _records(self, like: ParticleTable, number: int) -> NDArray[Any]:
        return np.fromfile(self._folder / f"rows-{number:05d}", _records(like).dtype)

    def _table(self, like: ParticleTable, number: int) -> ParticleTable:
        records = self._records(like, number)
        sides = np.fromfile(self._folder / f"contacts-{number:05d}", np.uint64).reshape(-1, 3)
        columns = {name: records[name] for name in like.columns()}
        own = np.sort(records["label"])
        return ParticleTable(
            **columns,
            contact_pairs=Contacts.from_sides(sides[:, 0], sides[:, 1], sides[:, 2].astype(np.int64), own),
            gray_histogram=None if like.gray_histogram is None else records[_HISTOGRAM].astype(self._counts),
            gray_bins=like.gray_bins,
        )


def _records(rows: ParticleTable) -> NDArray[Any]:
    """Put the columns side by side."""
    columns = rows.columns()
    kinds: list[Any] = [(name, column.dtype) for name, column in columns.items()]
    if rows.gray_histogram is not None:
        # Wide enough for any particle: rows of all sizes share a file.
        kinds.append((_HISTOGRAM, np.uint64, rows.gray_histogram.shape[1:]))
        columns = columns | {_HISTOGRAM: rows.gray_histogram}
    records = np.empty(len(rows), kinds)
    for name, column in columns.items():
        records[name] = column
    return records


def _append(path: Path, values: NDArray[Any]) -> None:
    with path.open("ab") as file:
        file.write(values.tobytes())
