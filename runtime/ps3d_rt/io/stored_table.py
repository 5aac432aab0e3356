"""The particle table of an output, read a column at a time: 10^7 particles have 4 GB of columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.io.table import checked_parquet, table_of


@final
class StoredTable:
    """A :class:`ps3d_rt.core.sample_table.SampleTable` on disk: every use of a column reads it.

    Args:
        path: ``particles.parquet``, or the folder it is in.

    Raises:
        InputError: if the file is missing, is not parquet, or lacks a column.
    """

    label: NDArray[np.uint64]
    volume_voxels: NDArray[np.int64]
    volume_mm3: NDArray[np.float64]
    equivalent_diameter_mm: NDArray[np.float64]
    sphericity: NDArray[np.float64]
    axis_middle_mm: NDArray[np.float64]
    axis_minor_mm: NDArray[np.float64]
    elongation: NDArray[np.float64]
    flatness: NDArray[np.float64]
    touches_edge: NDArray[np.bool_]
    gray_mean: NDArray[np.float64] | None
    merged_score: NDArray[np.float64] | None
    split_score: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None

    def __init__(self, path: str | Path) -> None:
        self._path, self._schema, self._rows = checked_parquet(path)

    def __len__(self) -> int:
        return self._rows

    def __getattr__(self, name: str) -> Any:
        """Read a column; one that the table may have and has not is None."""
        if name not in ParticleTable.__dataclass_fields__:
            raise AttributeError(name)
        if name not in self._schema.names:
            return None
        return np.asarray(parquet.read_table(self._path, columns=[name])[name].to_numpy())

    def take(self, rows: NDArray[Any]) -> ParticleTable:
        """Read some rows; of the contacts, those of these rows."""
        order = np.argsort(rows, kind="stable")
        found: list[pa.Table] = []
        first = 0
        with parquet.ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                stop = first + file.metadata.row_group(group).num_rows
                here = rows[order][(rows[order] >= first) & (rows[order] < stop)] - first
                if here.size or not found:
                    found.append(file.read_row_group(group).take(here))
                first = stop
        return table_of(pa.concat_tables(found).take(np.argsort(order)))
